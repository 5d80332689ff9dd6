"""Digital: contrast, elastic, pixelate and JPEG; constants as in ImageNet-C (see `suite.corruptions.noise`)."""

import torch
from torch import Tensor
from torch.nn import functional

from suite.corruptions import draws
from suite.corruptions.filters import gaussian_weights, separable
from suite.corruptions.jpeg import round_trip

CONTRASTS = (0.4, 0.3, 0.2, 0.1, 0.05)
"""Share of the contrast that remains."""

STRETCHES = (12.5, 16.25, 21.25, 25.0, 30.0)
"""Factors of the smoothed displacements."""

SHARES = (0.6, 0.5, 0.4, 0.3, 0.25)
"""Share of the pixels that remains along each side."""

QUALITIES = (25, 18, 15, 10, 7)
"""JPEG quality."""


def contrast(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Pull every channel towards its mean."""
    share = CONTRASTS[severity - 1]
    means = levels.mean(dim=(2, 3), keepdim=True)
    return (levels * share).add_(means * (1 - share))


def elastic_transform(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Displace pixels by a smooth random field (Simard, Steinkraus and Platt 2003) in proportion to the image size."""
    height, width = levels.shape[-2:]
    largest = 0.005 * height
    moves = draws.uniform(seeds, 0, (2, height, width)).mul_(2 * largest).sub_(largest)
    down, right = (gaussian_weights(0.01 * side, int(0.03 * side + 0.5)) for side in (height, width))
    moves = separable(moves, down, right, "half").mul_(STRETCHES[severity - 1])
    # Pixel centers lie at (2 * index + 1) / side - 1 in the coordinates of grid_sample, which run from edge to edge.
    rows = torch.arange(height, device=levels.device)[:, None].add(moves[:, 0]).mul_(2).add_(1).div_(height).sub_(1)
    columns = torch.arange(width, device=levels.device).add(moves[:, 1]).mul_(2).add_(1).div_(width).sub_(1)
    grid = torch.stack((columns, rows), dim=3)
    return functional.grid_sample(levels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def pixelate(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Downscale by box averages, and upscale by nearest neighbor."""
    height, width = levels.shape[-2:]
    share = SHARES[severity - 1]
    narrow = boxes(levels, max(1, int(width * share)), -1).add_(0.5).floor_()
    small = boxes(narrow, max(1, int(height * share)), -2).add_(0.5).floor_()
    rows, columns = (_nearest(side, small.shape[dim]).to(levels.device) for side, dim in ((height, -2), (width, -1)))
    return small.index_select(-1, columns).index_select(-2, rows)


def boxes(levels: Tensor, count: int, dim: int) -> Tensor:
    """Return means of `count` equal boxes along a dimension; a pixel belongs to the box that contains its center."""
    size = levels.shape[dim]
    edges = (torch.arange(count + 1, dtype=torch.float64) * (size / count) + 0.5).long()
    first, length = edges[:-1], edges[1:] - edges[:-1]
    total = levels.index_select(dim, first.to(levels.device))
    shape = [count if axis == dim % levels.ndim else 1 for axis in range(levels.ndim)]
    for step in range(1, int(length.max())):
        part = levels.index_select(dim, (first + step).clamp_(max=size - 1).to(levels.device))
        inside = (length > step).reshape(shape).to(levels)
        total.addcmul_(part, inside)
    return total.div_(length.reshape(shape).to(levels))


def _nearest(size: int, count: int) -> Tensor:
    """Return the index of the box, of `count`, that contains each of `size` pixel centers, by Pillow's running sum."""
    steps = torch.full((size,), count / size, dtype=torch.float64)
    steps[0] /= 2
    return steps.cumsum(dim=0).long().clamp_(max=count - 1)


def jpeg_compression(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Return the image after JPEG compression at low quality."""
    return round_trip(levels, QUALITIES[severity - 1])
