"""Validation of images, texts and labels, shared by all kinds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from suite.data.text import LONGEST, codes
from suite.errors import DataError
from suite.escaping import escaped_name
from suite.kinds.base import Array


def image(value: Any) -> Array:
    """Return an image as (channels, height, width) in uint8 or float32.

    Raises:
        DataError: not an image, or pixel values outside the range of their type.
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


def text(value: Any) -> tuple[Array, tuple[str, ...]]:
    """Return a text as code points, int32 (length,), and a sentence if it was truncated.

    Raises:
        DataError: not a text, or only whitespace.
    """
    points = codes(value)
    if not value.strip():
        raise DataError(f"a text of {len(value)} spaces and nothing else; there is nothing to read")
    if len(points) <= LONGEST:
        return points, ()
    return points[:LONGEST], (f"cut to its first {LONGEST:,} of {len(points):,} characters",)


def label(value: Any, classes: Sequence[str] | None) -> str | int:
    """Return a label as a class name, or as an index if the class names are declared.

    Raises:
        DataError: the class is unknown.
    """
    if isinstance(value, str):
        if escaped_name(value) != value:
            raise DataError(f"the class name {value!r} holds control characters or surrogates; rename it")
        if classes is not None and value not in classes:
            raise DataError(f"the class {value!r} is not one of {', '.join(classes[:12])}")
        return value
    is_index = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_index or classes is None or not 0 <= int(value) < len(classes):
        expected = "a class name" if classes is None else f"a class name or an index from 0 to {len(classes) - 1}"
        raise DataError(f"the label {value!r}; expected {expected}")
    return int(value)
