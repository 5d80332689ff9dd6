"""What all kinds ask of an image."""

from typing import Any

import numpy as np

from suite.errors import DataError
from suite.kinds.base import Array


def image(value: Any) -> Array:
    """Return an image as (channels, height, width) in uint8 or float32.

    Raises:
        DataError: not an image, or pixels outside the range of their type.
    """
    pixels = np.asarray(value)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise DataError(f"an image of shape {pixels.shape}; expected (height, width) or (channels, height, width)")
    if pixels.shape[0] not in (1, 3, 4) and pixels.shape[-1] in (1, 3, 4):
        raise DataError(f"an image of shape {pixels.shape} has its channels last; expected (channels, height, width)")
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"pixels of type {pixels.dtype}; expected uint8 in 0..255 or floating point in 0..1")
    if not np.isfinite(pixels).all():
        raise DataError(f"{int((~np.isfinite(pixels)).sum())} pixels are NaN or infinite")
    if pixels.min() < 0 or pixels.max() > 1:
        raise DataError(f"pixels from {pixels.min():g} to {pixels.max():g}; expected 0..1 (divide 8-bit values by 255)")
    return pixels.astype(np.float32)
