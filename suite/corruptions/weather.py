"""Weather: snow, frost, fog and brightness; constants as in ImageNet-C (see `suite.corruptions.noise`)."""

import math

import torch
from torch import Tensor

from suite.corruptions import draws
from suite.corruptions.blur import stretched
from suite.corruptions.filters import length_scale, line_blur
from suite.corruptions.textures import frosted, plasma

SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
"""Mean and standard deviation of the flakes, their size, the threshold of visibility, radius and standard deviation of
their motion blur, and weight of the image that is not whitened."""

FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
"""Weights of the image and of the frost."""

FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
"""Weight of the fog, and decay of its roughness from octave to octave."""

BRIGHTER = (0.1, 0.2, 0.3, 0.4, 0.5)
"""What is added to V in the HSV color space."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""


def snow(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Whiten the image and add two layers of snowflakes; the second one is the first rotated by 180 degrees."""
    kept = SNOW[severity - 1][-1]
    flakes = snowflakes(levels, severity, seeds)
    whitened = grey(levels).mul_(1.5).add_(0.5 * 255)
    whitened = torch.maximum(levels, whitened).mul_(1 - kept)
    return whitened.add_(levels, alpha=kept).add_(flakes + flakes.flip(-1, -2))


def snowflakes(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Return one layer of snowflakes, whole levels (n, 1, h, w) in 0..255, on the device of the images."""
    mean, deviation, size, threshold, radius, sigma, _ = SNOW[severity - 1]
    height, width = levels.shape[-2:]
    scale = length_scale(levels)
    size = max(1.0, size * scale)
    sides = [math.ceil(side / size) for side in (height, width)]
    field = draws.normal(seeds, 0, (1, *sides)).mul_(deviation).add_(mean)
    flakes = stretched(field, size)
    flakes = flakes.masked_fill(flakes < threshold, 0).clamp_(0, 1)
    angles = draws.uniform(seeds, 1, (1,)).mul_(90).sub_(135).flatten().tolist()
    falling = line_blur(flakes, max(1, round(radius * scale)), sigma * scale, angles)
    return falling[..., :height, :width].mul(255).round_()


def frost(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Lay ice over the image: a random crop of one of five textures.

    The reference uses photographs of frozen windows, which we may not redistribute. Our textures are noise with the
    mean and standard deviation of each color channel and approximately the autocorrelation of those photographs.
    Severities are similar, but accuracies differ from the reference's by more than for other corruptions.
    """
    image_weight, ice_weight = FROST[severity - 1]
    picks = draws.uniform(seeds, 0, (3,))
    overlay = frosted(picks, levels.shape[1:], length_scale(levels))
    return overlay.mul_(ice_weight).add_(levels, alpha=image_weight)


def fog(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Add a plasma fractal and rescale to the brightest value of the image."""
    weight, decay = FOG[severity - 1]
    height, width = levels.shape[-2:]
    cloud = plasma(seeds, max(height, width), decay)[:, None, :height, :width]
    brightest = levels.amax(dim=(1, 2, 3), keepdim=True)
    scale = brightest / (brightest + 255 * weight)
    return (levels * scale).add_(cloud.mul_(255 * weight * scale))


def brightness(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Raise V in the HSV color space: the largest channel grows, and the others in proportion."""
    value = levels.amax(dim=1, keepdim=True)
    raised = (value + 255 * BRIGHTER[severity - 1]).clamp_(max=255)
    return torch.where(value > 0, levels * (raised / value.clamp(min=1e-6)), raised)


def grey(levels: Tensor) -> Tensor:
    """Return images in grayscale, (n, 1, h, w)."""
    if levels.shape[1] == 1:
        return levels.clone()
    red, green, blue = LUMA
    return (levels[:, :1] * red).add_(levels[:, 1:2], alpha=green).add_(levels[:, 2:], alpha=blue)
