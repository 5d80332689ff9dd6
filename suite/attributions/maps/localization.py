"""Localization of a map with respect to the explained region, and whether its context matters.

`pointing_game` and `energy_inside` measure plausibility: whether a map lies where a person expects it. If a model uses
pixels outside the region, a faithful map scores low, and an outline of the object that ignores the model scores high.
`context_kept` is for faithfulness outside the region, which a curve over the whole image hardly shows, since deleting
the object itself removes the prediction.
"""

import torch
from torch import Tensor

from suite.attributions.maps.cells import SAME, Grid


def pointing_game(maps: Tensor, region: Tensor) -> Tensor:
    """Return the share of each map's maximal pixels that lie in the region, (n,), float64: 0 or 1 without ties.

    The pointing game of Zhang et al. 2018 (Excitation Backprop), with a tolerance of 0 pixels
    around the region. Pixels within `SAME` of the maximum are maximal, so that a constant map gets the region's share
    of the area, as a random map does on average.

    Args:
        maps: one number per pixel, (n, h, w).
        region: the explained region, (n, h, w) bool.
    """
    flat = maps.double().flatten(1)
    near = flat.abs().amax(1, keepdim=True) * SAME
    return _share((flat >= flat.amax(1, keepdim=True) - near).double(), region)


def energy_inside(maps: Tensor, region: Tensor) -> Tensor:
    """Return the sum of each map's positive values in the region over the sum of all positive ones, (n,), float64.

    The energy-based pointing game of Wang et al. 2020 (Score-CAM). A map without positive values gets the
    region's share of the area, as a constant map does, and a random map on average.

    Args:
        maps: one number per pixel, (n, h, w).
        region: the explained region, (n, h, w) bool.
    """
    positive = maps.double().flatten(1).clamp_min(0)
    no_positive = positive.amax(1, keepdim=True) == 0
    return _share(torch.where(no_positive, torch.ones_like(positive), positive), region)


def context_rows(grid: Grid, region: Tensor) -> Tensor:
    """Return which samples have a cell that the region does not touch, (m,), in order."""
    return (~_inside(grid, region).all(1)).nonzero().flatten()


def context_kept(grid: Grid, rank: Tensor, region: Tensor, *, steps: int) -> Tensor:
    """Return the kept cells while those outside the region are deleted, in the order of a map.

    A cell that overlaps the region counts as inside and is kept. Every step deletes an equal share of the sample's
    context, to the nearest cell; the last deletes all of it. The lower the curve, the more important is the context
    that the map highlights. If a model uses no context, the curves of all maps are equal.

    Args:
        grid: the cells.
        rank: the rank of each cell (m, cells), int64, 0 for the first to be deleted (`rank_cells`), of samples with a
            context (`context_rows`).
        region: their explained regions, (m, h, w) bool.
        steps: number of points after the first.

    Returns:
        bool (m, steps + 1, cells).
    """
    inside = _inside(grid, region)
    step = _step_of(rank, inside, steps)
    done = torch.arange(steps + 1, device=rank.device)
    return (step[:, None] >= done[:, None]) | inside[:, None]


def _inside(grid: Grid, region: Tensor) -> Tensor:
    """Return which cells overlap the region, bool (n, cells)."""
    return grid.pool(region) > 0


def _step_of(rank: Tensor, inside: Tensor, steps: int) -> Tensor:
    """Return the step at which each cell is deleted, (n, cells), 0..steps - 1."""
    cells = rank.shape[1]
    order = (rank + cells * inside).argsort(dim=1).argsort(dim=1)
    outside = cells - inside.sum(1, keepdim=True)
    # The deletable cells divide 0..steps equally; each is deleted in the step that contains the middle of its part.
    middle = (2 * order + 1) * steps // (2 * outside)
    return torch.where(inside, steps - 1, middle)


def _share(weights: Tensor, region: Tensor) -> Tensor:
    inside = weights * region.flatten(1)
    return (inside.sum(1) / weights.sum(1)).clamp(0, 1)
