"""Parts of an image on which pixels are counted apart."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.segmentation.arrays import IGNORED, BoolArray, as_class_map


def covered(truth: ArrayLike, mask: ArrayLike) -> NDArray[Any]:
    """Return a truth (n, h, w) whose pixels under the mask are ignored, such as those behind an adversarial patch.

    Raises:
        DataError: truth is not (n, h, w) class indices, or the mask is not boolean of that shape.
    """
    classes, hidden = as_class_map("truth", truth), np.asarray(mask)
    if hidden.dtype != np.bool_ or hidden.shape != classes.shape:
        raise DataError(f"mask: got {hidden.dtype} of shape {hidden.shape}; expected bool of shape {classes.shape}.")
    return np.where(hidden, np.asarray(IGNORED, dtype=classes.dtype), classes)


def boundary(truth: ArrayLike, width: int = 2) -> BoolArray:
    """Return which pixels lie near a border between classes of the truth, bool (n, h, w).

    A pixel lies there if the square of side 2 width + 1 around it holds a pixel of another class. An ignored pixel is
    of no class: it is not in the band, and what is next to it is not for that reason. So where the truth parts the
    classes by a seam of ignored pixels, as that of Pascal VOC does, only a band wider than the seam holds any pixel.

    Args:
        truth: class indices (n, h, w), 255 ignored.
        width: pixels on either side of the border, at least 1.

    Raises:
        DataError: truth is not (n, h, w) class indices, or the width is below 1.
    """
    classes = as_class_map("truth", truth)
    if width < 1:
        raise DataError(f"got a band of width {width}; expected at least 1 pixel on either side of the border.")
    valid = classes != IGNORED
    # In each search ignored pixels get the index that never wins it.
    high = _extreme_around(np.where(valid, classes, 0), width, np.maximum)
    low = _extreme_around(classes, width, np.minimum)
    return np.asarray((high != low) & valid)


def _extreme_around(values: NDArray[Any], width: int, extreme: Callable[..., NDArray[Any]]) -> NDArray[Any]:
    """Return the largest or least value in the square around each pixel, cut at the image's edge."""
    for axis in (1, 2):
        for _ in range(width):
            lines = np.moveaxis(values, axis, 0)
            wider = lines.copy()
            wider[1:] = extreme(wider[1:], lines[:-1])
            wider[:-1] = extreme(wider[:-1], lines[1:])
            values = np.moveaxis(wider, 0, axis)
    return values
