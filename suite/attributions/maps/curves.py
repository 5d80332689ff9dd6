"""Deletion and insertion curves (Petsiuk et al. 2018, RISE): which cells of an image are replaced at each point."""

import torch
from torch import Tensor

from suite.errors import MeasureError


def replaced_cells(rank: Tensor, steps: int) -> Tensor:
    """Return which cells are replaced at each point of a curve, in the order of their rank.

    Every step replaces the same number of cells, up to rounding: none at the first point, all at the last.

    Args:
        rank: the rank of each cell (n, cells), int64, 0 for the first to be replaced (`rank_cells`).
        steps: number of points after the first, at most the number of cells.

    Returns:
        bool (n, steps + 1, cells). Deletion keeps the others; insertion keeps these.

    Raises:
        MeasureError: more steps than cells.
    """
    cells = rank.shape[1]
    if not 1 <= steps <= cells:
        raise MeasureError(
            f"got steps={steps} for an image of {cells} cells; expected 1 to {cells}. "
            "Take fewer steps, or smaller cells."
        )
    count = torch.arange(steps + 1, device=rank.device) * cells // steps
    return rank[:, None] < count[:, None]


def curve_area(curve: Tensor) -> Tensor:
    """Return the area under curves (n, steps + 1) by the trapezoid rule, divided by the number of steps, (n,).

    Lies between the smallest and the largest score. Lower is better for deletion, higher for insertion.
    """
    return (curve.sum(1) - (curve[:, 0] + curve[:, -1]) / 2) / (curve.shape[1] - 1)
