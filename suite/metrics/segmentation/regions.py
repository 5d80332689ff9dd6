"""Regions of an image that are evaluated separately."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.segmentation.arrays import IGNORED, BoolArray, as_class_map


def covered(truth: ArrayLike, mask: ArrayLike) -> NDArray[Any]:
    """Return a truth (n, h, w) whose pixels under the mask are ignored, such as those covered by an adversarial patch.

    Raises:
        DataError: truth is not (n, h, w) class indices, or the mask is not boolean of that shape.
    """
    classes, masked = as_class_map("truth", truth), np.asarray(mask)
    if masked.dtype != np.bool_ or masked.shape != classes.shape:
        raise DataError(f"mask: got {masked.dtype} of shape {masked.shape}; expected bool of shape {classes.shape}.")
    return np.where(masked, np.asarray(IGNORED, dtype=classes.dtype), classes)


def boundary(truth: ArrayLike, width: int = 2) -> BoolArray:
    """Return which pixels lie near a border between classes of the truth, bool (n, h, w).

    A pixel lies near a border if the square of side 2 width + 1 around it contains a pixel of another class. Ignored
    pixels have no class: they are not in the band, and do not put their neighbors into it. Where the truth separates
    classes by a seam of ignored pixels, as in Pascal VOC, only a band wider than the seam contains any pixel.

    Args:
        truth: class indices (n, h, w), 255 ignored.
        width: number of pixels on either side of the border, at least 1.

    Raises:
        DataError: truth is not (n, h, w) class indices, or the width is below 1.
    """
    classes = as_class_map("truth", truth)
    if width < 1:
        raise DataError(f"got a band of width {width}; expected at least 1 pixel on either side of the border.")
    valid = classes != IGNORED
    # Ignored pixels get an index that is never the extreme.
    high = _extreme_around(np.where(valid, classes, 0), width, np.maximum)
    low = _extreme_around(classes, width, np.minimum)
    return np.asarray((high != low) & valid)


def _extreme_around(values: NDArray[Any], width: int, extreme: Callable[..., NDArray[Any]]) -> NDArray[Any]:
    """Return the largest or smallest value in the square around each pixel, clipped at the image's edge."""
    for axis in (1, 2):
        for _ in range(width):
            rows = np.moveaxis(values, axis, 0)
            result = rows.copy()
            result[1:] = extreme(result[1:], rows[:-1])
            result[:-1] = extreme(result[:-1], rows[1:])
            values = np.moveaxis(result, 0, axis)
    return values
