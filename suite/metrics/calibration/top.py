"""The top label of every sample in one pass over the probabilities."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.metrics.blocks import row_blocks
from suite.metrics.calibration.inputs import BoolArray, FloatArray, IndexArray, as_labels, checked_probabilities

TOP_ELEMENTS = 2**16
"""Elements of a block in which the top labels are found; it stays in the processor's cache."""

USUAL_GAP = 5e-4
"""Distance of a row's sum from 1 up to which it is valid for sure; beyond, it is computed with more care."""


def top_labels(probabilities: NDArray[Any], labels: IndexArray) -> tuple[NDArray[Any], BoolArray]:
    """Return the largest probability of each sample, (n,), and whether it is that of the label, bool (n,).

    Of equal probabilities the lowest class index wins.

    Args:
        probabilities: (n, classes), finite.
        labels: (n,) class indices.
    """
    confidence, correct, _ = _scanned(probabilities, labels)
    return confidence, correct


def checked_top_labels(probabilities: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, BoolArray]:
    """Return `top_labels`, confidence in float64, after the checks of `checked_probabilities` and `as_labels`."""
    array = np.asarray(probabilities)
    if array.ndim != 2 or array.dtype not in (np.float32, np.float64) or array.shape[1] < 2:
        array = checked_probabilities(array)
    confidence, correct, usual = _scanned(array, as_labels(labels, *array.shape))
    if not usual:
        checked_probabilities(array)
    return confidence.astype(np.float64), correct


def _scanned(probabilities: NDArray[Any], labels: IndexArray) -> tuple[NDArray[Any], BoolArray, bool]:
    """Return what `top_labels` does, and whether all values lie in [0, 1] and all sums are close to 1, in one pass."""
    confidence, correct = np.empty(len(labels), probabilities.dtype), np.empty(len(labels), np.bool_)
    usual = True
    for rows in row_blocks(probabilities.shape, elements=TOP_ELEMENTS):
        columns = np.ascontiguousarray(probabilities[rows].T)  # reductions over the first axis use vector instructions
        confidence[rows] = best = columns.max(axis=0)
        own = columns.ravel().take(labels[rows] * best.size + np.arange(best.size))
        correct[rows] = own == best
        if np.count_nonzero(columns == best) > best.size:  # some sample has two equal maxima
            correct[rows] = columns.argmax(axis=0) == labels[rows]
        sums = columns.sum(axis=0)
        usual &= bool(columns.min() >= 0 and best.max() <= 1 and abs(sums - 1).max() < USUAL_GAP)  # false for NaN
    return confidence, correct, usual
