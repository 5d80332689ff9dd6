"""The fifteen common corruptions at five severities, and one function that applies any of them.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations" (ICLR 2019),
define them for images of 224 pixels. Their constants are used here for every image of at least 32 pixels; for smaller
images, lengths in pixels shrink in proportion (`suite.corruptions.filters.length_scale`).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from suite.attacks.rng import as_seeds
from suite.corruptions import blur, digital, noise, weather
from suite.errors import SpecError, UnknownNameError, did_you_mean

Corruption = Callable[[Tensor, int, Tensor], Tensor]
"""Takes levels (n, c, h, w) in 0..255, a severity from 1 to 5 and one seed per sample; returns levels, which may lie
outside 0..255."""

COMMON: Mapping[str, Corruption] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            noise.gaussian_noise,
            noise.shot_noise,
            noise.impulse_noise,
            blur.defocus_blur,
            blur.glass_blur,
            blur.motion_blur,
            blur.zoom_blur,
            weather.snow,
            weather.frost,
            weather.fog,
            weather.brightness,
            digital.contrast,
            digital.elastic_transform,
            digital.pixelate,
            digital.jpeg_compression,
        )
    }
)
"""The corruptions by name, in the order of the paper."""

SEVERITIES = (1, 2, 3, 4, 5)
"""The severities, from mild to severe."""

CHUNK = 2**18
"""Pixel values that are corrupted at a time on a CPU, so that they fit into its cache; no result depends on it."""


def corrupt(pixels: Tensor, name: str, severity: int, seeds: Sequence[int]) -> Tensor:
    """Return corrupted copies of images; each depends on its own image and seed only, not on the batch.

    Args:
        pixels: (n, c, h, w) in [0, 1], one channel or three, of any size.
        name: one of `COMMON`.
        severity: 1 to 5; 0 leaves images unchanged.
        seeds: one per image.

    Returns:
        Images of the same shape, device and type in [0, 1], truncated to 8-bit levels like those of ImageNet-C.

    Raises:
        UnknownNameError: there is no such corruption.
        SpecError: the severity, the shape or the number of seeds is wrong.
    """
    corruption = checked(name, severity)
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or 0 in pixels.shape[2:] or len(seeds) != len(pixels):
        raise SpecError(
            f"got pixels of shape {tuple(pixels.shape)} and {len(seeds)} seeds; expected (n, c, h, w) with one or "
            "three channels, and one seed per image."
        )
    if severity == 0 or not len(pixels):
        return pixels.clone()
    size = max(1, CHUNK // pixels[0].numel()) if pixels.device.type == "cpu" else len(pixels)
    numbers = as_seeds(seeds, pixels.device)
    corrupted = torch.empty_like(pixels, memory_format=torch.contiguous_format)
    for start in range(0, len(pixels), size):
        part = slice(start, start + size)
        _write_levels(corruption(pixels[part].float() * 255, severity, numbers[part]), corrupted[part])
    return corrupted


def checked(name: str, severity: int) -> Corruption:
    """Return the corruption with a name, and check the severity.

    Raises:
        UnknownNameError: there is no such corruption.
        SpecError: the severity is not an integer from 0 to 5.
    """
    if name not in COMMON:
        raise UnknownNameError(f"There is no corruption {name!r}.{did_you_mean(name, COMMON)}")
    if type(severity) is not int or severity not in (0, *SEVERITIES):
        raise SpecError(f"severity={severity!r}; expected an integer from 1 (mild) to 5, or 0 for no corruption.")
    return COMMON[name]


def _write_levels(levels: Tensor, out: Tensor) -> None:
    """Write levels as pixels in [0, 1], truncated to integers with a tolerance for rounding errors."""
    whole = levels.add_(1e-3).clamp_(0, 255).floor_()
    if out.dtype == whole.dtype:
        torch.mul(whole, 1 / 255, out=out)
    else:
        out.copy_(whole.mul_(1 / 255))
