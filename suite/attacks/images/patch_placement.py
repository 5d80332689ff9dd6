"""Promising positions of a patch on an image, by the gradient on the clean image."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

COVERED = 1e30
"""Penalty of positions close to a chosen one, so that they come after all others."""


def best_patch_gain(pixels: Tensor, gradient: Tensor, side: int, bounds: tuple[float, float]) -> Tensor:
    """Return by how much the best patch at each corner would raise a linear loss, (n, rows, columns)."""
    low, high = bounds
    best = torch.maximum(gradient * (high - pixels), gradient * (low - pixels))
    return _summed(best, side)


def patch_gain(pixels: Tensor, gradient: Tensor, patch: Tensor) -> Tensor:
    """Return by how much a patch (c, side, side) at each corner would raise a linear loss, (n, rows, columns)."""
    # One image at a time: convolutions round differently at other batch sizes, which could change the order.
    added = torch.cat([conv2d(one[None], patch[None])[:, 0] for one in gradient])
    return added - _summed(gradient * pixels, patch.shape[-1])


def rank_corners(gain: Tensor, count: int, spacing: int) -> Tensor:
    """Return corners (row, column) in order of gain, the best first, (n, count or all, 2).

    Corners fewer than `spacing` rows and columns away from a chosen one come after all others.
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
        down, across = (rows - row[:, None, None]).abs(), (columns - column[:, None, None]).abs()
        left = left - COVERED * ((down < spacing) & (across < spacing) & (left > -COVERED / 2))
        left = left.masked_fill((down == 0) & (across == 0), -torch.inf)
    return torch.stack(chosen, dim=1) if samples else torch.zeros(0, 1, 2, dtype=torch.long, device=gain.device)


def _summed(values: Tensor, side: int) -> Tensor:
    return avg_pool2d(values.sum(dim=1, keepdim=True), side, 1)[:, 0] * side**2
