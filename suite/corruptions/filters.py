"""Filters that several corruptions share, and the rule for small images."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Border = Literal["edge", "mirror", "half"]
"""What lies beyond the border: the edge pixel again, the image mirrored in the edge pixel (c b | a b c), or mirrored
half a pixel beyond it (b a | a b c)."""

SMALLEST = 32
"""Side of the smallest image, in pixels, for which ImageNet-C's package takes its constants."""


def length_scale(levels: Tensor) -> float:
    """Return what lengths in pixels are multiplied by: 1 from 32 pixels on, in proportion to the smaller side below.

    The reference has the same radii for images of every size and refuses those below 32 pixels; there a blur of
    10 pixels would leave nothing of a digit of 8.
    """
    return min(1.0, min(levels.shape[-2:]) / SMALLEST)


def padded(levels: Tensor, margins: tuple[int, int, int, int], border: Border) -> Tensor:
    """Return images with margins (left, right, top, bottom) filled from within, for any size of image and margin."""
    left, right, top, bottom = margins
    height, width = levels.shape[-2:]
    if border == "edge":
        return functional.pad(levels, margins, mode="replicate")
    if border == "mirror" and max(left, right) < width and max(top, bottom) < height:
        return functional.pad(levels, margins, mode="reflect")
    if top or bottom:
        rows = _inside(torch.arange(-top, height + bottom, device=levels.device), height, border)
        levels = levels.index_select(-2, rows)
    if left or right:
        columns = _inside(torch.arange(-left, width + right, device=levels.device), width, border)
        levels = levels.index_select(-1, columns)
    return levels


def _inside(places: Tensor, size: int, border: Border) -> Tensor:
    """Return the pixel that stands for each place on a line of pixels."""
    period = max(1, 2 * size - 2) if border == "mirror" else 2 * size
    folded = places % period
    return torch.minimum(folded, (period if border == "mirror" else period - 1) - folded).clamp_(min=0)


def gaussian_weights(sigma: float, radius: int) -> list[float]:
    """Return 2 * radius + 1 weights of sum 1; a sigma of 0 is no blur."""
    if sigma <= 0:
        return [0.0] * radius + [1.0] + [0.0] * radius
    weights = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-radius, radius + 1)]
    return [weight / sum(weights) for weight in weights]


def separable(levels: Tensor, rows: Sequence[float], columns: Sequence[float], border: Border) -> Tensor:
    """Return images filtered along their columns with `rows` and along their rows with `columns`, odd in number."""
    height, width = levels.shape[-2:]
    tall = padded(levels, (0, 0, len(rows) // 2, len(rows) // 2), border) if len(rows) > 1 else levels
    upright = _weighted([tall[..., k : k + height, :] for k in range(len(rows))], rows)
    wide = padded(upright, (len(columns) // 2, len(columns) // 2, 0, 0), border) if len(columns) > 1 else upright
    return _weighted([wide[..., k : k + width] for k in range(len(columns))], columns)


def gaussian_blur(levels: Tensor, sigma: float, border: Border = "edge", reach: float = 4.0) -> Tensor:
    """Return images blurred by a normal distribution of sigma pixels, cut at `reach` sigmas."""
    weights = gaussian_weights(sigma, int(reach * sigma + 0.5))
    return separable(levels, weights, weights, border)


def _weighted(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total.add_(part, alpha=weight)
    return total


def line_blur(levels: Tensor, radius: int, sigma: float, degrees: Sequence[float]) -> Tensor:
    """Return images smeared to one side along a line, each at its own angle.

    The weights fall off as one half of a normal distribution over 2 * radius + 1 steps of one pixel; every step is
    rounded to whole pixels, and the edge pixels go on beyond the border.
    """
    steps = 2 * radius + 1
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(steps)]
    total = sum(weights)
    smeared = torch.empty_like(levels)
    for row, angle in enumerate(degrees):
        down, right = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        shifts: dict[tuple[int, int], float] = {}
        for step, weight in enumerate(weights):
            place = math.ceil(step * down - 0.5), math.ceil(step * right - 0.5)
            shifts[place] = shifts.get(place, 0.0) + weight / total
        smeared[row] = _shifted_sum(levels[row : row + 1], shifts)[0]
    return smeared


def _shifted_sum(levels: Tensor, shifts: dict[tuple[int, int], float]) -> Tensor:
    height, width = levels.shape[-2:]
    downs, rights = zip(*shifts, strict=True)
    top, left = max(0, -min(downs)), max(0, -min(rights))
    source = padded(levels, (left, max(0, *rights), top, max(0, *downs)), "edge")
    views = [source[..., top + y : top + y + height, left + x : left + x + width] for y, x in shifts]
    return _weighted(views, list(shifts.values()))
