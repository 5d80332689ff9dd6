"""Features, checked: a wrong one must not become a number."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError

FloatArray = NDArray[np.float64]


def as_features(name: str, values: ArrayLike) -> FloatArray:
    """Return features as float64 (n, d).

    Raises:
        DataError: another shape, none, or not all finite.
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
