"""Filters shared by several corruptions, and the rule for small images."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Border = Literal["edge", "mirror", "half"]
"""Padding: repeat the edge pixel, mirror at its center (c b | a b c), or mirror at its outer edge (b a | a b c)."""

SMALLEST = 32
"""Side of the smallest image, in pixels, for which ImageNet-C's package uses its constants."""


def length_scale(levels: Tensor) -> float:
    """Return the factor for lengths in pixels: 1 from 32 pixels on, and proportional to the shorter side below.

    The reference uses the same radii for images of every size and refuses those below 32 pixels, where a blur of 10
    pixels would erase a digit of 8 pixels.
    """
    return min(1.0, min(levels.shape[-2:]) / SMALLEST)


def padded(levels: Tensor, margins: tuple[int, int, int, int], border: Border) -> Tensor:
    """Return images padded by margins (left, right, top, bottom), for any size of image and margin."""
    left, right, top, bottom = margins
    height, width = levels.shape[-2:]
    if border == "edge":
        return functional.pad(levels, margins, mode="replicate")
    if border == "mirror" and max(left, right) < width and max(top, bottom) < height:
        return functional.pad(levels, margins, mode="reflect")
    if top or bottom:
        rows = _source_index(torch.arange(-top, height + bottom, device=levels.device), height, border)
        levels = levels.index_select(-2, rows)
    if left or right:
        columns = _source_index(torch.arange(-left, width + right, device=levels.device), width, border)
        levels = levels.index_select(-1, columns)
    return levels


def _source_index(positions: Tensor, size: int, border: Border) -> Tensor:
    """Return the index of the pixel whose value each position takes along a padded dimension."""
    period = max(1, 2 * size - 2) if border == "mirror" else 2 * size
    folded = positions % period
    return torch.minimum(folded, (period if border == "mirror" else period - 1) - folded).clamp_(min=0)


def gaussian_weights(sigma: float, radius: int) -> list[float]:
    """Return 2 * radius + 1 Gaussian weights that sum to 1; a sigma of 0 is no blur."""
    if sigma <= 0:
        return [0.0] * radius + [1.0] + [0.0] * radius
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in range(-radius, radius + 1)]
    return [weight / sum(weights) for weight in weights]


def separable(levels: Tensor, rows: Sequence[float], columns: Sequence[float], border: Border) -> Tensor:
    """Return images filtered vertically with the weights `rows` and horizontally with `columns`, both odd in number."""
    height, width = levels.shape[-2:]
    tall = padded(levels, (0, 0, len(rows) // 2, len(rows) // 2), border) if len(rows) > 1 else levels
    filtered = _weighted([tall[..., k : k + height, :] for k in range(len(rows))], rows)
    wide = padded(filtered, (len(columns) // 2, len(columns) // 2, 0, 0), border) if len(columns) > 1 else filtered
    return _weighted([wide[..., k : k + width] for k in range(len(columns))], columns)


def gaussian_blur(levels: Tensor, sigma: float, border: Border = "edge") -> Tensor:
    """Return images blurred by a Gaussian with a standard deviation of sigma pixels, truncated at 4 sigma."""
    weights = gaussian_weights(sigma, int(4.0 * sigma + 0.5))
    return separable(levels, weights, weights, border)


def _weighted(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total.add_(part, alpha=weight)
    return total


def line_blur(levels: Tensor, radius: int, sigma: float, degrees: Sequence[float]) -> Tensor:
    """Return images blurred to one side along a line, each at its own angle.

    The weights are half a Gaussian over 2 * radius + 1 steps of one pixel; each step is rounded to whole pixels, and
    edge pixels are repeated outside the image.
    """
    steps = 2 * radius + 1
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(steps)]
    total = sum(weights)
    blurred = torch.empty_like(levels)
    for row, angle in enumerate(degrees):
        down, right = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        shifts: dict[tuple[int, int], float] = {}
        for step, weight in enumerate(weights):
            shift = math.ceil(step * down - 0.5), math.ceil(step * right - 0.5)
            shifts[shift] = shifts.get(shift, 0.0) + weight / total
        blurred[row] = _shifted_sum(levels[row : row + 1], shifts)[0]
    return blurred


def _shifted_sum(levels: Tensor, shifts: dict[tuple[int, int], float]) -> Tensor:
    height, width = levels.shape[-2:]
    downs, rights = zip(*shifts, strict=True)
    top, left = max(0, -min(downs)), max(0, -min(rights))
    source = padded(levels, (left, max(0, *rights), top, max(0, *downs)), "edge")
    views = [source[..., top + y : top + y + height, left + x : left + x + width] for y, x in shifts]
    return _weighted(views, list(shifts.values()))
