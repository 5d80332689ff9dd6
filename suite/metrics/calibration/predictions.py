"""Predictive distributions of samples with their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.metrics.blocks import row_blocks
from suite.metrics.calibration.inputs import (
    BoolArray,
    FloatArray,
    IndexArray,
    as_labels,
    checked_logits,
    checked_probabilities,
    log_softmax,
)
from suite.metrics.calibration.top import top_labels


@dataclass(frozen=True, eq=False)
class Predictions:
    """Checked probabilities of n samples with their labels.

    Attributes:
        probabilities: (n, classes) float16, float32 or float64; converted to float64 in blocks where it is used.
        labels: (n,) int64 class indices.
        log_likelihood: (n,) float64 log-probability of the label, -inf where the probability is exactly 0.
    """

    probabilities: NDArray[Any]
    labels: IndexArray
    log_likelihood: FloatArray

    @classmethod
    def from_logits(cls, logits: ArrayLike, labels: ArrayLike) -> Predictions:
        """Build from logits (n, classes); raise DataError if they or the labels are invalid."""
        array = checked_logits(logits)
        index = as_labels(labels, *array.shape)
        probabilities, own = np.empty(array.shape), np.empty(len(array))
        for rows in row_blocks(array.shape):
            logs = log_softmax(array[rows].astype(np.float64))
            own[rows] = logs[np.arange(len(logs)), index[rows]]
            np.exp(logs, out=probabilities[rows])
        return cls(probabilities, index, own)

    @classmethod
    def from_probabilities(cls, probabilities: ArrayLike, labels: ArrayLike) -> Predictions:
        """Build from probabilities (n, classes); raise DataError if they or the labels are invalid."""
        array = checked_probabilities(probabilities)
        index = as_labels(labels, *array.shape)
        own = array[np.arange(index.size), index].astype(np.float64)
        with np.errstate(divide="ignore"):
            return cls(array, index, np.log(own))

    def top(self) -> tuple[FloatArray, BoolArray]:
        """Return confidence (n,), float64, and correctness (n,) of each sample, as `top_labels`."""
        confidence, correct = top_labels(self.probabilities, self.labels)
        return confidence.astype(np.float64), correct

    def errors_in_blocks(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield blocks of samples with their probabilities minus one-hot labels, (rows, classes) float64."""
        for rows in row_blocks(self.probabilities.shape):
            errors = self.probabilities[rows].astype(np.float64)
            errors[np.arange(len(errors)), self.labels[rows]] -= 1.0
            yield rows, errors
