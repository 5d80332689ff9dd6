"""Textures that are laid over an image: the plasma fractal of fog, and ice."""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from suite.corruptions import draws

WIBBLE = 100.0
"""Amplitude of the first octave of plasma; its scale is arbitrary, because the result is scaled to 0..1."""

ICE = (
    ((78, 149, 166), (27, 16, 15)),
    ((201, 205, 214), (21, 22, 23)),
    ((201, 205, 214), (21, 22, 23)),
    ((138, 153, 165), (28, 28, 30)),
    ((112, 123, 135), (44, 43, 42)),
)
"""Mean and standard deviation of red, green and blue in the five frost photographs of the reference."""

OCTAVES = ((1, 0.30), (2, 0.14), (4, 0.10), (8, 0.06), (16, 0.07), (32, 0.08), (64, 0.25))
"""Size in pixels and share of the variance of each octave of ice, which approximate the autocorrelation of those
photographs."""

ICE_SIDE = 512
"""Side of an ice texture in pixels; it is enlarged for larger images."""


def plasma(seeds: Tensor, side: int, decay: float) -> Tensor:
    """Return periodic plasma fractals (n, s, s) in 0..1, s the smallest power of two that is at least `side`.

    They are made by the diamond-square algorithm (Fournier, Fussell and Carpenter 1982). Each octave halves the grid
    spacing: the center of four corners is their mean plus noise, then the center of each edge is the mean of its four
    neighbors plus noise. The amplitude falls by the square of `decay` per octave, because the reference applies it
    twice.
    """
    octaves = max(1, math.ceil(math.log2(max(2, side))))
    noise = draws.uniform(seeds, 0, (4**octaves - 1,)).mul_(2).sub_(1)
    corners = noise.new_zeros(len(seeds), 1, 1)
    amplitude, used = WIBBLE**2, 0
    for octave in range(octaves):
        width = 2**octave
        fresh = noise[:, used : used + 3 * width**2].mul_(amplitude).reshape(-1, 3, width, width)
        used += 3 * width**2
        corners = _refined(corners, fresh)
        amplitude /= decay**2
    low, high = corners.amin(dim=(1, 2), keepdim=True), corners.amax(dim=(1, 2), keepdim=True)
    return corners.sub_(low).div_((high - low).clamp_(min=1e-12))


def _refined(corners: Tensor, noise: Tensor) -> Tensor:
    """Return a grid (n, w, w) refined to (n, 2w, 2w) with noise (n, 3, w, w)."""
    row_sums, column_sums = corners + corners.roll(-1, 2), corners + corners.roll(-1, 1)
    middle = (row_sums + row_sums.roll(-1, 1)).mul_(0.25).add_(noise[:, 0])
    across = row_sums.add_(middle).add_(middle.roll(1, 1)).mul_(0.25).add_(noise[:, 1])
    down = column_sums.add_(middle).add_(middle.roll(1, 2)).mul_(0.25).add_(noise[:, 2])
    count, width = corners.shape[:2]
    grid = corners.new_empty(count, width, 2, width, 2)
    grid[:, :, 0, :, 0], grid[:, :, 0, :, 1], grid[:, :, 1, :, 0], grid[:, :, 1, :, 1] = corners, across, down, middle
    return grid.reshape(count, 2 * width, 2 * width)


def frosted(picks: Tensor, shape: Sequence[int], scale: float) -> Tensor:
    """Return levels of ice (n, *shape) from three numbers in (0, 1) per sample: the texture and the position in it.

    Args:
        picks: (n, 3).
        shape: channels, height and width.
        scale: factor of lengths (`filters.length_scale`); small images show a downscaled texture.
    """
    channels, height, width = shape
    step = max(1, round(1 / scale))
    factor = max(1.0, 1.1 * max(height, width) * step / ICE_SIDE)
    rows, columns = (max(1, int(size * step / factor)) for size in (height, width))
    textures = _textures(channels, picks.device)
    overlay = picks.new_empty((len(picks), *shape))
    for row, (which, down, right) in enumerate(picks.tolist()):
        top, left = int(down * (ICE_SIDE - rows + 1)), int(right * (ICE_SIDE - columns + 1))
        ice = textures[int(which * len(ICE)), :, top : top + rows, left : left + columns]
        overlay[row] = (
            ice[:, ::step, ::step]
            if factor == 1
            else functional.interpolate(ice[None], size=(height, width), mode="bilinear")[0]
        )
    return overlay


@functools.lru_cache(maxsize=4)
def _textures(channels: int, device: torch.device) -> Tensor:
    """Return the five textures, (5, channels, side, side) in 0..255; they are the same in every process."""
    ice = torch.stack([_ice(number, *colors) for number, colors in enumerate(ICE)])
    return (ice if channels > 1 else ice.mean(dim=1, keepdim=True)).to(device)


def _ice(number: int, means: Sequence[float], deviations: Sequence[float]) -> Tensor:
    """Return one texture: octaves of smooth noise, folded at every scale into ridges that look like ice needles."""
    field = torch.zeros(1, 1, ICE_SIDE, ICE_SIDE)
    for octave, (size, share) in enumerate(OCTAVES):
        cells = draws.normal(torch.tensor([number]), octave, (1, ICE_SIDE // size + 1, ICE_SIDE // size + 1))
        smooth = functional.interpolate(cells, size=(ICE_SIDE, ICE_SIDE), mode="bilinear", align_corners=True)
        ridges = smooth.abs().neg_() if size > 1 else smooth
        field += math.sqrt(share) * (ridges - ridges.mean()) / ridges.std()
    field = (field - field.mean()) / field.std()
    channels = [field[0, 0] * deviation + mean for mean, deviation in zip(means, deviations, strict=True)]
    return torch.stack(channels).clamp_(0, 255)
