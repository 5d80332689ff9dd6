"""Calibration sums of one image, of a size that does not depend on the size of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.metrics.calibration.bins import bin_index
from suite.metrics.calibration.inputs import Predictions
from suite.metrics.segmentation.arrays import IGNORED, BoolArray, FloatArray, IndexArray

REGIONS = ("pooled", "foreground", "boundary")
"""All pixels that are not ignored; those whose truth or prediction is not class 0; those near a class border."""

_BLOCK = 8192
"""Pixels converted to float64 at a time; it bounds the memory and the length of one running sum."""


@dataclass(frozen=True, eq=False)
class PixelSums:
    """Counts and sums over the valid pixels of an image; two can be added.

    Attributes:
        counts: (regions, bins) int64 number of pixels per region and bin of confidence.
        confidence: (regions, bins) float64 sums of confidence.
        correct: (regions, bins) int64 number of correct pixels.
        classwise: (classes, bins) float64 sums of probability minus one-hot truth, by bin of that probability.
        nll: sum of the negative log-likelihood in nats, over pixels whose label has a probability above 0.
        brier: sum of the squared error over classes.
        impossible: number of pixels whose label has probability exactly 0.
    """

    counts: IndexArray
    confidence: FloatArray
    correct: IndexArray
    classwise: FloatArray
    nll: float
    brier: float
    impossible: int

    @classmethod
    def empty(cls, classes: int, bins: int) -> PixelSums:
        """Return the sums over no pixels."""
        regions = len(REGIONS), bins
        none = np.zeros(regions, np.int64)
        return cls(none, np.zeros(regions), none, np.zeros((classes, bins)), 0.0, 0.0, 0)

    def __add__(self, other: PixelSums) -> PixelSums:
        return PixelSums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


def image_sums(probabilities: NDArray[Any], truth: NDArray[Any], band: BoolArray, bins: int) -> PixelSums:
    """Return the sums of one image.

    Args:
        probabilities: (classes, h, w).
        truth: class indices (h, w), 255 ignored.
        band: the pixels near a class border, bool (h, w).
        bins: number of bins.

    Raises:
        DataError: a valid pixel has a probability that is not finite or outside [0, 1], or a sum other than 1.
    """
    classes = len(probabilities)
    planes, labels, near = probabilities.reshape(classes, -1), truth.ravel(), band.ravel()
    total = PixelSums.empty(classes, bins)
    for start in range(0, labels.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        valid = labels[block] != IGNORED
        if valid.any():
            # compress keeps the pixels of a class contiguous, which halves the time of the sums.
            chosen = planes[:, block].compress(valid, axis=1).T
            predictions = Predictions.from_probabilities(chosen, labels[block][valid])
            total += _block_sums(predictions, near[block][valid], bins)
    return total


def _block_sums(predictions: Predictions, near: BoolArray, bins: int) -> PixelSums:
    confidence, predicted = predictions.confidence, predictions.probabilities.argmax(axis=1)
    correct = predicted == predictions.labels
    keys = bin_index(confidence, bins)
    inside = (slice(None), (predictions.labels != 0) | (predicted != 0), near)
    errors = predictions.one_vs_rest_errors()
    possible = np.isfinite(predictions.log_likelihood)
    return PixelSums(
        np.stack([np.bincount(keys[rows], minlength=bins) for rows in inside]),
        np.stack([np.bincount(keys[rows], confidence[rows], bins) for rows in inside]),
        np.stack([np.bincount(keys[rows][correct[rows]], minlength=bins) for rows in inside]),
        _classwise(predictions.probabilities, errors, bins),
        -float(predictions.log_likelihood[possible].sum()),
        float(np.vdot(errors, errors)),
        int((~possible).sum()),
    )


def _classwise(probabilities: FloatArray, errors: FloatArray, bins: int) -> FloatArray:
    """Return the errors (pixels, classes) summed per class and bin of probability, (classes, bins).

    Nearly all entries of a softmax lie in the first bin: only the others are binned, and the first is the difference.
    """
    classes = errors.shape[1]
    pixels, columns = np.nonzero(probabilities > 1 / bins)
    keys = columns * bins + bin_index(probabilities[pixels, columns], bins)
    upper = np.bincount(keys, errors[pixels, columns], classes * bins)
    sums = upper.astype(np.float64).reshape(classes, bins)  # bincount of an empty array is int64 even with weights
    sums[:, 0] += np.ones(len(errors)) @ errors - sums.sum(axis=1)
    return sums
