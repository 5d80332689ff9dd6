"""Checked class maps."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

IGNORED = 255
"""Class index in the truth of ignored pixels, which enter no count."""


def as_class_map(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return (n, h, w) class indices of any integer dtype; raise DataError for anything else."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim != 3:
        raise DataError(f"{name}: got {array.dtype} of shape {array.shape}; expected (n, h, w) integer class indices.")
    return array


def as_truth(truth: ArrayLike, classes: int) -> NDArray[Any]:
    """Return (n, h, w) class indices in 0..classes-1, or `IGNORED`.

    Raises:
        DataError: they are not (n, h, w) integers, hold another index, or there are not 1 to 255 classes.
    """
    if not 1 <= classes <= IGNORED:
        raise DataError(f"got {classes} classes; expected 1 to {IGNORED}, since index {IGNORED} means ignored.")
    array = as_class_map("truth", truth)
    if array.size and not _all_known(array, classes):
        unknown = [int(index) for index in np.unique(array) if not 0 <= index < classes and index != IGNORED]
        raise DataError(
            f"truth: got class indices {unknown}; expected 0..{classes - 1}, or {IGNORED} for ignored pixels. "
            "Declare these classes in the task, or mark their pixels as ignored."
        )
    return array


def _all_known(array: NDArray[Any], classes: int) -> bool:
    inside = array < classes
    if array.dtype.kind == "i":
        inside &= array >= 0
    return bool((inside | (array == IGNORED)).all())
