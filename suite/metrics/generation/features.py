"""Checked features."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError

FloatArray = NDArray[np.float64]


def as_features(name: str, values: ArrayLike) -> FloatArray:
    """Return features as float64 (n, d).

    Raises:
        DataError: another shape, no samples, or a value that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"{name}: got features of shape {array.shape}; expected (n, d) with n and d of at least 1.")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).any(axis=1).sum())
        raise DataError(
            f"{name}: {bad} of {len(array)} samples have features that are not finite; drop and count them."
        )
    return array


def as_pair(
    first: ArrayLike, second: ArrayLike, least: int = 1, names: tuple[str, str] = ("real", "generated")
) -> tuple[FloatArray, FloatArray]:
    """Return two sets of features as float64, (n, d) and (m, d).

    Raises:
        DataError: as `as_features`, or they differ in d, or one has fewer than `least` samples.
    """
    one, other = as_features(names[0], first), as_features(names[1], second)
    if one.shape[1] != other.shape[1] or min(len(one), len(other)) < least:
        raise DataError(
            f"got features {one.shape} and {other.shape}; expected the same d and at least {least} samples of each."
        )
    return one, other
