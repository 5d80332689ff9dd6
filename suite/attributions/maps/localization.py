"""Where a map lies, for what is explained in a region: inside it, and whether the context it points at matters.

`pointing_game` and `energy_inside` measure plausibility: whether a map lies where a person expects it. A model may
well rest on what is outside, and a map that is faithful then scores low, while a map of the object's outline that asked
no model scores high. `context_curve` measures faithfulness, on what a curve over the whole image hardly shows: deleting
the object itself removes what is explained, whatever else the model uses.
"""

import torch
from torch import Tensor

from suite.attributions.maps.cells import SAME, Grid
from suite.attributions.maps.curves import perturbation_curve
from suite.attributions.maps.explained import Explained


def pointing_game(maps: Tensor, region: Tensor) -> Tensor:
    """Return the share of each map's maximal pixels that lie in the region, (n,), float64: 0 or 1 but for ties.

    The pointing game of Zhang et al. 2018 (Excitation Backprop), without a margin: the tolerance around the region is
    0 pixels. Pixels within `SAME` of the maximum are maximal, so that a constant map gets the region's share of the
    area, as chance does.

    Args:
        maps: one number per pixel, (n, h, w).
        region: what is explained, (n, h, w) bool.
    """
    flat = maps.double().flatten(1)
    near = flat.abs().amax(1, keepdim=True) * SAME
    return _share((flat >= flat.amax(1, keepdim=True) - near).double(), region)


def energy_inside(maps: Tensor, region: Tensor) -> Tensor:
    """Return the sum of each map's positive values in the region over the sum of all positive ones, (n,), float64.

    The energy-based pointing game of Wang et al. 2020 (Score-CAM). A map without a positive value says nothing; it
    gets the region's share of the area, which is what a constant map, and chance on average, get.

    Args:
        maps: one number per pixel, (n, h, w).
        region: what is explained, (n, h, w) bool.
    """
    positive = maps.double().flatten(1).clamp_min(0)
    silent = positive.amax(1, keepdim=True) == 0
    return _share(torch.where(silent, torch.ones_like(positive), positive), region)


def context_rows(grid: Grid, region: Tensor) -> Tensor:
    """Return which samples have a cell that the region does not touch, (m,), in order."""
    return (~_inside(grid, region).all(1)).nonzero().flatten()


def context_curve(explained: Explained, grid: Grid, rank: Tensor, end: Tensor, *, steps: int) -> Tensor:
    """Follow the score while cells that the region does not touch are deleted, in the order of a map.

    A cell that lies partly in the region counts as inside and stays as it is. Every step deletes an equal share of the
    sample's context, to the nearest cell; the last has deleted all of it. The lower the curve, the more the context
    that the map points at mattered. Where a model uses no context, the curves of all maps are equal.

    Args:
        explained: the samples, with their region.
        grid: the cells.
        rank: the rank of each cell (n, cells), int64, 0 for the first to be deleted (`rank_cells`).
        end: what deleted pixels become, images (n, c, h, w).
        steps: points after the first.

    Returns:
        Scores (m, steps + 1), float64, of the samples `context_rows`; the others have nothing to delete.
    """
    assert explained.region is not None  # noqa: S101  # without a region there is no context to ask for
    rows = context_rows(grid, explained.region)
    inside = _inside(grid, explained.region)[rows]
    inputs = explained.inputs[rows]
    # Cells inside go last, and what replaces them is themselves.
    kept = torch.where(grid.spread(inside).unsqueeze(1), inputs, end[rows])
    step = grid.spread(_step_of(rank[rows], inside, steps))

    def score(images: Tensor, which: Tensor) -> Tensor:
        return explained.rate(images, rows[which])

    return perturbation_curve(score, inputs, kept, step, steps=steps, batch_size=explained.batch_size)


def _inside(grid: Grid, region: Tensor) -> Tensor:
    return grid.pool(region) > 0


def _step_of(rank: Tensor, inside: Tensor, steps: int) -> Tensor:
    """Return the step before which each cell is deleted, (n, cells), 0..steps - 1; samples differ in their cells."""
    cells = rank.shape[1]
    order = (rank + cells * inside).argsort(dim=1).argsort(dim=1)
    outside = cells - inside.sum(1, keepdim=True)
    # A cell fills an equal part of the way; it goes at the end of the step in which the middle of its part lies.
    middle = (2 * order + 1) * steps // (2 * outside)
    return torch.where(inside, steps - 1, middle)


def _share(weights: Tensor, region: Tensor) -> Tensor:
    inside = weights * region.flatten(1)
    return (inside.sum(1) / weights.sum(1)).clamp(0, 1)
