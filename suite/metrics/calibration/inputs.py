"""Checked inputs of calibration measures, converted to float64 before any arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


def as_float64(name: str, values: ArrayLike, *, ndim: int) -> FloatArray:
    """Return float16, float32 or float64 values (or whole numbers) as float64, which holds each exactly.

    Raises:
        DataError: another dtype, another number of dimensions, no values, or one that is not finite.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(f"{name}: got dtype {array.dtype}; expected float16, float32 or float64.")
    if array.ndim != ndim or array.size == 0:
        raise DataError(f"{name}: got shape {array.shape}; expected {ndim} dimension(s) and at least one value.")
    wide = array.astype(np.float64)
    if not np.isfinite(wide).all():
        count = int((~np.isfinite(wide)).sum())
        raise DataError(f"{name}: {count} of {wide.size} values are not finite; find the samples that produce them.")
    return wide


def in_unit_interval(name: str, values: ArrayLike, *, ndim: int) -> FloatArray:
    """Return values as float64 after checking that all lie in [0, 1].

    Raises:
        DataError: as `as_float64`, or a value lies outside [0, 1].
    """
    array = as_float64(name, values, ndim=ndim)
    if array.min() < 0 or array.max() > 1:
        raise DataError(
            f"{name}: got values in [{array.min():.6g}, {array.max():.6g}]; expected [0, 1]. "
            "Apply softmax or sigmoid to logits first."
        )
    return array


def checked_events(confidence: ArrayLike, correct: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return (n,) confidences and (n,) correctness, both in [0, 1], as float64.

    Raises:
        DataError: a value is not finite or outside [0, 1], there are none, or the lengths differ.
    """
    first = in_unit_interval("confidence", confidence, ndim=1)
    second = in_unit_interval("correct", correct, ndim=1)
    if first.size != second.size:
        raise DataError(f"got {first.size} confidences and {second.size} outcomes; expected one outcome for each.")
    return first, second


def as_labels(labels: ArrayLike, n: int, classes: int) -> IndexArray:
    """Return (n,) class indices in 0..classes-1 as int64.

    Raises:
        DataError: they are not integers, not `n` of them, or one is outside the range.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "iu" or array.shape != (n,):
        raise DataError(f"labels: got {array.dtype} of shape {array.shape}; expected ({n},) integer class indices.")
    if int(array.min()) < 0 or int(array.max()) >= classes:
        raise DataError(
            f"labels: got indices in {array.min()}..{array.max()}; expected 0..{classes - 1}. "
            "Drop ignored samples and check the order of the classes."
        )
    return array.astype(np.int64)


def as_logits(logits: ArrayLike) -> FloatArray:
    """Return (n, classes) finite logits as float64; raise DataError for anything else or fewer than two classes."""
    wide = as_float64("logits", logits, ndim=2)
    if wide.shape[1] < 2:
        raise DataError(_too_few_classes("logits", wide.shape[1]))
    return wide


def as_probabilities(probabilities: ArrayLike) -> FloatArray:
    """Return (n, classes) probabilities as float64, not renormalized.

    Raises:
        DataError: fewer than two classes, a value outside [0, 1], or a row whose sum differs from 1 by more than
            rounding (5e-3 for float16, 1e-3 otherwise, since float32 rows may come from float16 arithmetic).
    """
    wide = in_unit_interval("probabilities", probabilities, ndim=2)
    if wide.shape[1] < 2:
        raise DataError(_too_few_classes("probabilities", wide.shape[1]))
    slack = 5e-3 if np.asarray(probabilities).dtype == np.float16 else 1e-3
    gap = float(np.abs(wide.sum(axis=1) - 1.0).max())
    if gap > slack:
        raise DataError(f"probabilities: a row's sum is {gap:.3g} away from 1; expected softmax over the last axis.")
    return wide


def _too_few_classes(name: str, classes: int) -> str:
    return (
        f"{name}: got {classes} class; calibration is about the confidence in a choice, so that a task needs at least "
        "two classes. Declare both in the task, for example classes=('no', 'yes')."
    )


def log_softmax(logits: FloatArray) -> FloatArray:
    """Return log-probabilities (n, classes) of float64 logits, without overflow for any finite logit."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Predictions:
    """Checked probabilities of n samples with their labels.

    Attributes:
        probabilities: (n, classes) float64.
        labels: (n,) int64 class indices.
        log_likelihood: (n,) float64 log-probability of the label, -inf where the probability is exactly 0.
    """

    probabilities: FloatArray
    labels: IndexArray
    log_likelihood: FloatArray

    @classmethod
    def from_logits(cls, logits: ArrayLike, labels: ArrayLike) -> Predictions:
        """Build from logits (n, classes); raise DataError if they or the labels are invalid."""
        wide = as_logits(logits)
        index = as_labels(labels, *wide.shape)
        logs = log_softmax(wide)
        return cls(np.exp(logs), index, logs[np.arange(index.size), index])

    @classmethod
    def from_probabilities(cls, probabilities: ArrayLike, labels: ArrayLike) -> Predictions:
        """Build from probabilities (n, classes); raise DataError if they or the labels are invalid."""
        wide = as_probabilities(probabilities)
        index = as_labels(labels, *wide.shape)
        with np.errstate(divide="ignore"):
            return cls(wide, index, np.log(wide[np.arange(index.size), index]))

    @property
    def confidence(self) -> FloatArray:
        """The top-label probability, (n,)."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the top label is the true one, (n,); of equal probabilities the lowest class index wins."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)

    def one_vs_rest_errors(self) -> FloatArray:
        """Return probability minus one-hot label, (n, classes)."""
        errors = self.probabilities.copy()
        errors[np.arange(self.labels.size), self.labels] -= 1.0
        return errors
