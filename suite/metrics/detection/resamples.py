"""Resampled images: how often each is drawn, and sums over their detections or true boxes."""

import numpy as np
from numpy.typing import ArrayLike

from suite.metrics.detection.arrays import FloatArray, IndexArray
from suite.metrics.stats.resampled import checked_counts


def draws(counts: ArrayLike | None, images: int) -> FloatArray:
    """Return how often each image was drawn, (n, r), from counts (r, n), or ones (n, 1) from None.

    Raises:
        MeasureError: the shape is not (r, n), or a count is not a whole number >= 0.
    """
    return np.ascontiguousarray(checked_counts(counts, images).T)


def totals(keys: IndexArray, values: ArrayLike, size: int, image: IndexArray, drawn: FloatArray) -> FloatArray:
    """Return the sums of values by key under each resample, (size, r).

    Args:
        keys: (k,) index of the sum that each value belongs to, 0..size-1.
        values: (k,) numbers, or one for all.
        size: number of keys.
        image: (k,) the image that each value belongs to.
        drawn: (n, r) how often each image was drawn.
    """
    from scipy import sparse

    numbers = np.broadcast_to(np.asarray(values, dtype=np.float64), keys.shape)
    return np.asarray(sparse.csr_array((numbers, (keys, image)), shape=(size, len(drawn))) @ drawn)
