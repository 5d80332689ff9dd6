"""What one image contributes to the calibration of its pixels: sums of fixed size, however large the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.metrics.calibration.bins import bin_index
from suite.metrics.calibration.inputs import Predictions
from suite.metrics.calibration.scores import one_vs_rest_errors
from suite.metrics.segmentation.arrays import IGNORED, BoolArray, FloatArray, IndexArray

REGIONS = ("pooled", "foreground", "boundary")
"""All pixels that count; those whose truth or prediction is not class 0; those near a border of the truth."""

_BLOCK = 8192
"""Pixels widened to float64 at a time: it bounds the memory, and how long one running sum gets."""


@dataclass(frozen=True, eq=False)
class PixelSums:
    """Counts and sums over the pixels of an image that count; adding two gives that of both.

    Attributes:
        counts: (regions, bins) int64 number of pixels per region and bin of confidence.
        confidence: (regions, bins) float64 sums of confidence.
        correct: (regions, bins) int64 number of right pixels.
        classwise: (classes, bins) float64 sums of probability less one-hot truth, by the class's own bin.
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
        """Return the sums of no pixels."""
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
        band: the pixels of the boundary, bool (h, w).
        bins: number of bins.

    Raises:
        DataError: a pixel that counts has a probability that is not finite or outside [0, 1], or a sum that is not 1.
    """
    classes = len(probabilities)
    planes, labels, near = probabilities.reshape(classes, -1), truth.ravel(), band.ravel()
    total = PixelSums.empty(classes, bins)
    for start in range(0, labels.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        valid = labels[block] != IGNORED
        if valid.any():
            # compress keeps the pixels of a class side by side, which halves the time of what follows.
            chosen = planes[:, block].compress(valid, axis=1).T
            known = Predictions.from_probabilities(chosen, labels[block][valid])
            total += _block_sums(known, near[block][valid], bins)
    return total


def _block_sums(known: Predictions, near: BoolArray, bins: int) -> PixelSums:
    confidence, said = known.confidence, known.probabilities.argmax(axis=1)
    right = said == known.labels
    keys = bin_index(confidence, bins)
    inside = (slice(None), (known.labels != 0) | (said != 0), near)
    errors = one_vs_rest_errors(known.probabilities, known.labels)
    possible = np.isfinite(known.log_likelihood)
    return PixelSums(
        np.stack([np.bincount(keys[rows], minlength=bins) for rows in inside]),
        np.stack([np.bincount(keys[rows], confidence[rows], bins) for rows in inside]),
        np.stack([np.bincount(keys[rows][right[rows]], minlength=bins) for rows in inside]),
        _classwise(known.probabilities, errors, bins),
        -float(known.log_likelihood[possible].sum()),
        float(np.vdot(errors, errors)),
        int((~possible).sum()),
    )


def _classwise(probabilities: FloatArray, errors: FloatArray, bins: int) -> FloatArray:
    """Return the errors (pixels, classes) summed per class and bin of probability, (classes, bins).

    Nearly all of a softmax lies in the first bin: only what is above it is binned, and the rest is the difference.
    """
    classes = errors.shape[1]
    pixels, columns = np.nonzero(probabilities > 1 / bins)
    keys = columns * bins + bin_index(probabilities[pixels, columns], bins)
    upper = np.bincount(keys, errors[pixels, columns], classes * bins)
    sums = upper.astype(np.float64).reshape(classes, bins)  # nothing to count is an integer to numpy, even if weighted
    sums[:, 0] += np.ones(len(errors)) @ errors - sums.sum(axis=1)
    return sums
