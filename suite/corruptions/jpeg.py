"""The effect of JPEG on an image without writing a file: color conversion, 8x8 DCT and quantization, and back, batched.

These are the lossy steps of ITU-T T.81 (1992) with the tables of its annex K, scaled by quality as in the Independent
JPEG Group's library, with chroma subsampled by 2 in both directions, and that library's rounding and smooth chroma
upsampling. Lossless coding is left out. A decoder may differ by one level if its integer DCT rounds differently.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 8
"""Side of a block in pixels."""

TIE = 1e-4
"""Tolerance for rounding halves away from zero. They are common, because the mean of a block is a sum over 8, and
float32 may yield values just below them."""

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantization steps of luminance at quality 50 (T.81, table K.1)."""

CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Quantization steps of both chroma channels at quality 50 (T.81, table K.2)."""


def round_trip(levels: Tensor, quality: int) -> Tensor:
    """Return images (n, c, h, w) in 0..255 after JPEG compression with a quality from 1 to 100, in whole levels.

    One channel is luminance; three are red, green and blue.
    """
    whole = levels.round().clamp_(0, 255)
    if levels.shape[1] == 1:
        return _coded(whole, scaled(LUMINANCE, quality))
    height, width = levels.shape[-2:]
    luma, chroma = _to_luma_chroma(whole)
    luma = _coded(luma, scaled(LUMINANCE, quality))
    small = _coded(_halved(chroma), scaled(CHROMINANCE, quality))[..., : -(-height // 2), : -(-width // 2)]
    large = functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    return _to_rgb(luma, large[..., :height, :width].round_())


def scaled(table: tuple[tuple[int, ...], ...], quality: int) -> tuple[int, ...]:
    """Return the 64 quantization steps at a quality from 1 to 100."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(255, max(1, (step * percent + 50) // 100)) for row in table for step in row)


def _to_luma_chroma(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Return whole levels of luminance (n, 1, h, w) and of blue- and red-difference chroma (n, 2, h, w)."""
    red, green, blue = rgb.unbind(dim=1)
    luma = (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    chroma = torch.stack(((blue - luma).mul_(0.5 / 0.886), (red - luma).mul_(0.5 / 0.701)), dim=1)
    return luma.round_()[:, None], chroma.add_(128).round_().clamp_(max=255)


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    cb, cr = chroma.sub_(128).unbind(dim=1)
    y = luma[:, 0]
    red = y.add(cr, alpha=1.402)
    green = y.add(cb, alpha=-0.344136).add_(cr, alpha=-0.714136)
    blue = y.add(cb, alpha=1.772)
    return torch.stack((red, green, blue), dim=1).round_().clamp_(0, 255)


def _halved(chroma: Tensor) -> Tensor:
    """Return means of 2x2 pixels; halves are rounded down and up in alternating columns."""
    height, width = chroma.shape[-2:]
    even = functional.pad(chroma, (0, -width % (2 * BLOCK), 0, height % 2), mode="replicate")
    means = functional.avg_pool2d(even, 2)
    bias = torch.tensor([0.25, 0.5], device=chroma.device, dtype=chroma.dtype).repeat(means.shape[-1] // 2)
    return means.add_(bias).floor_()


def _coded(planes: Tensor, steps: tuple[int, ...]) -> Tensor:
    """Return planes (n, p, h, w) in whole levels after quantization of the DCT of every block."""
    height, width = planes.shape[-2:]
    right, bottom = -width % BLOCK, -height % BLOCK
    whole = functional.pad(planes, (0, right, 0, bottom), mode="replicate") if right or bottom else planes
    blocks = whole.reshape(*planes.shape[:2], whole.shape[2] // BLOCK, BLOCK, -1, BLOCK).transpose(3, 4)
    forward, inverse = _transforms(steps, planes.device, planes.dtype)
    coefficients = blocks.reshape(-1, BLOCK**2).sub(128).matmul(forward)
    quantized = coefficients.abs().add_(0.5 + TIE).floor_().copysign_(coefficients)
    restored = quantized.matmul(inverse).add_(128).round_().clamp_(0, 255).reshape(blocks.shape)
    return restored.transpose(3, 4).reshape(whole.shape)[..., :height, :width]


@functools.lru_cache(maxsize=16)
def _transforms(steps: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the DCT of a flattened block divided by the quantization steps, and its inverse: (64, 64) each."""
    indices = torch.arange(BLOCK, dtype=torch.float64)
    cosines = torch.cos((2 * indices[None] + 1) * indices[:, None] * math.pi / (2 * BLOCK)) / 2
    cosines[0] /= math.sqrt(2)
    both = torch.kron(cosines, cosines)
    sizes = torch.tensor(steps, dtype=torch.float64)
    forward, inverse = (both / sizes[:, None]).T, both * sizes[:, None]
    return forward.to(device, dtype).contiguous(), inverse.to(device, dtype).contiguous()
