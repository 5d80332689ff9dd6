"""Where on an image a patch promises most, judged by the gradient on the clean image."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

COVERED = 1e30
"""Taken off a place that lies close to one already chosen, so that it comes after all others but before none."""


def gain_of_best(pixels: Tensor, gradient: Tensor, side: int, bounds: tuple[float, float]) -> Tensor:
    """Return by how much the best patch at every corner would raise a linear loss, (n, rows, columns)."""
    low, high = bounds
    best = torch.maximum(gradient * (high - pixels), gradient * (low - pixels))
    return _summed(best, side)


def gain_of(pixels: Tensor, gradient: Tensor, patch: Tensor) -> Tensor:
    """Return by how much this patch (c, side, side) at every corner would raise a linear loss, (n, rows, columns)."""
    # One image at a time: convolutions of other batch sizes round otherwise, and the order of places would follow.
    added = torch.cat([conv2d(one[None], patch[None])[:, 0] for one in gradient])
    return added - _summed(gradient * pixels, patch.shape[-1])


def ranked(gain: Tensor, count: int, spacing: int) -> Tensor:
    """Return corners by gain, the best first, (n, count or all, 2).

    Corners that lie fewer than `spacing` rows and columns from a chosen one come after all others.
    """
    samples, height, width = gain.shape
    left = torch.where(torch.isfinite(gain), gain, 0.0).double()
    rows = torch.arange(height, device=gain.device)[:, None]
    columns = torch.arange(width, device=gain.device)[None]
    chosen = []
    for _ in range(min(count, height * width)):
        best = left.flatten(1).argmax(dim=1)
        row, column = best // width, best % width
        chosen.append(torch.stack([row, column], dim=1))
        off, across = (rows - row[:, None, None]).abs(), (columns - column[:, None, None]).abs()
        left = left - COVERED * ((off < spacing) & (across < spacing) & (left > -COVERED / 2))
        left = left.masked_fill((off == 0) & (across == 0), -torch.inf)
    return torch.stack(chosen, dim=1) if samples else torch.zeros(0, 1, 2, dtype=torch.long, device=gain.device)


def _summed(values: Tensor, side: int) -> Tensor:
    return avg_pool2d(values.sum(dim=1, keepdim=True), side, 1)[:, 0] * side**2
