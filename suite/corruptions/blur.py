"""Blur: defocus, frosted glass, motion and zoom; constants as in ImageNet-C (see `suite.corruptions.noise`)."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from suite.corruptions import draws
from suite.corruptions.filters import gaussian_blur, gaussian_weights, length_scale, line_blur, padded, separable

DISKS = ((3, 0.1, 1.0), (4, 0.5, 1.0), (6, 0.5, 1.0), (8, 0.5, 1.01298), (10, 0.5, 1.01079))
"""Radius of the disk and standard deviation of the blur of its edge, in pixels, and the sum of its weights. If the disk
fills the reference's kernel, its blurred edge is folded back, which makes the image slightly brighter."""

GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
"""Standard deviation of the blur, largest displacement of a pixel, number of iterations."""

MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
"""Radius and standard deviation of the motion blur in pixels."""

ZOOMS = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
"""End and step of the zoom factors, which start at 1."""


def defocus_blur(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Convolve with a disk whose edge is smoothed, like a lens out of focus.

    Each row of the disk is a difference of two cumulative sums, so the cost is linear in the radius.
    """
    radius, sigma, gain = DISKS[severity - 1]
    scaled = max(1.0, radius * length_scale(levels))
    whole = int(scaled)
    height, width = levels.shape[-2:]
    surrounded = padded(levels, (whole, whole, whole, whole), "mirror")
    sums = functional.pad(surrounded.cumsum(dim=-1), (1, 0))
    total, count = torch.zeros_like(levels), 0
    for row in range(-whole, whole + 1):
        half = math.isqrt(int(scaled**2 - row**2))
        line = sums[..., whole + row : whole + row + height, :]
        total.add_(line[..., whole + half + 1 : whole + half + 1 + width])
        total.sub_(line[..., whole - half : whole - half + width])
        count += 2 * half + 1
    weights = gaussian_weights(sigma, 1 if radius <= 8 else 2)
    total.mul_(gain / count)
    return separable(total, weights, weights, "mirror") if max(weights) < 1 else total


def glass_blur(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Blur, displace pixels at random, and blur again, like frosted glass."""
    scale = length_scale(levels)
    sigma, distance, iterations = GLASS[severity - 1]
    blurred = gaussian_blur(levels, sigma * scale).add_(1e-3).floor_()
    height, width = levels.shape[-2:]
    origin = torch.arange(height * width, device=levels.device).expand(len(levels), -1)
    for iteration in range(iterations):
        origin = origin.gather(1, displaced(seeds, iteration, (height, width), max(1, round(distance * scale))))
    moved = blurred.flatten(2).gather(2, origin[:, None].expand(-1, levels.shape[1], -1))
    return gaussian_blur(moved.reshape(levels.shape), sigma * scale)


def displaced(seeds: Tensor, iteration: int, size: tuple[int, int], distance: int) -> Tensor:
    """Return the index of the pixel whose value each pixel takes in one iteration, (n, h * w).

    The reference visits the pixels from the last to the first. Each takes the current value of a random neighbor: the
    neighbor's new value if it was visited before, its old one otherwise. (The reference means to swap the two, but
    assigns overlapping views of an array, which copies.) Chains of new values are resolved by pointer doubling.
    """
    height, width = size
    index = torch.arange(height * width, device=seeds.device)
    source = (index + height * width).repeat(len(seeds), 1)  # entries of at least h * w are old values
    rows, columns = height - 2 * distance, width - 2 * distance
    if rows <= 0 or columns <= 0:
        return source - height * width
    steps = draws.uniform(seeds, iteration, (2, rows, columns)).mul_(2 * distance).long().sub_(distance)
    here = index.reshape(height, width)[distance + 1 : distance + 1 + rows, distance + 1 : distance + 1 + columns]
    there = here + steps[:, 0] * width + steps[:, 1]
    new = there > here
    source[:, here.flatten()] = torch.where(new, there, there + height * width).flatten(1)
    while bool((source < height * width).any()):
        followed = source.gather(1, source.clamp(max=height * width - 1))
        source = torch.where(source < height * width, followed, source)
    return source - height * width


def motion_blur(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Blur along a line at a random angle within 45 degrees of the horizontal, like a moving camera."""
    radius, sigma = (length * length_scale(levels) for length in MOTION[severity - 1])
    angles = draws.uniform(seeds, 0, (1,)).mul_(90).sub_(45).flatten().tolist()
    return line_blur(levels, max(1, round(radius)), sigma, angles)


def zoom_blur(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Average the image with enlargements of its center, like a camera that moves forward.

    All planes of the batch are processed as channels in channels-last order, which vectorizes the interpolation.
    """
    height, width = levels.shape[-2:]
    planes = levels.reshape(1, -1, height, width).contiguous(memory_format=torch.channels_last)
    total = planes.clone(memory_format=torch.preserve_format)
    factors = np.arange(1, *ZOOMS[severity - 1]).tolist()
    for factor in factors:
        total.add_(enlarged(planes, factor)[..., :height, :width])
    return total.div_(len(factors) + 1).reshape(levels.shape)


def enlarged(levels: Tensor, factor: float) -> Tensor:
    """Return the center of images, enlarged by bilinear interpolation to at least the image size."""
    sides = [math.ceil(side / factor) for side in levels.shape[-2:]]
    top, left = ((side - small) // 2 for side, small in zip(levels.shape[-2:], sides, strict=True))
    return stretched(levels[..., top : top + sides[0], left : left + sides[1]], factor)


def stretched(levels: Tensor, factor: float) -> Tensor:
    """Return images with sides scaled by a factor and rounded, by bilinear interpolation with aligned corners."""
    size = [round(side * factor) for side in levels.shape[-2:]]
    return functional.interpolate(levels, size=size, mode="bilinear", align_corners=True)
