"""Images drawn again: how often a resample holds each, and sums over what they hold."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from suite.errors import MeasureError
from suite.metrics.detection.arrays import FloatArray, IndexArray
from suite.metrics.stats import ratio


def draws(counts: ArrayLike | None, images: int) -> FloatArray:
    """Return how often each image was drawn, (n, r), from counts (r, n), or once each, (n, 1), from None.

    Raises:
        MeasureError: the shape is not (r, n), or a count is no whole number >= 0.
    """
    if counts is None:
        return np.ones((images, 1))
    array = np.asarray(counts, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != images:
        raise MeasureError(f"got counts of shape {array.shape}; expected (resamples, {images} images).")
    if not (np.isfinite(array).all() and (array >= 0).all() and (array == np.rint(array)).all()):
        raise MeasureError("counts hold a number that is no whole number >= 0; give how often each image was drawn.")
    return np.ascontiguousarray(array.T)


def totals(keys: IndexArray, values: ArrayLike, size: int, image: IndexArray, drawn: FloatArray) -> FloatArray:
    """Return the sums of values by key under each resample, (size, r).

    Args:
        keys: (k,) what a value is summed into, 0..size-1.
        values: (k,) numbers, or one for all.
        size: number of keys.
        image: (k,) the image that each value belongs to.
        drawn: (n, r) how often each image was drawn.
    """
    numbers = np.broadcast_to(np.asarray(values, dtype=np.float64), keys.shape)
    return np.asarray(sparse.csr_array((numbers, (keys, image)), shape=(size, len(drawn))) @ drawn)


def mean_defined(values: FloatArray, axes: int = 1) -> FloatArray:
    """Return the mean over the last axes of what is not NaN; NaN where all is."""
    last = tuple(range(-axes, 0))
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=last), known.sum(axis=last).astype(np.float64))
