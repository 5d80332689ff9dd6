"""Checked inputs of calibration measures, converted to float64 before any arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.blocks import row_blocks

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def checked_numbers(name: str, values: ArrayLike, *, ndim: int) -> NDArray[Any]:
    """Return float16, float32 or float64 values (or whole numbers) as an array, without a copy.

    Raises:
        DataError: another dtype, another number of dimensions, no values, or one that is not finite.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(f"{name}: got dtype {array.dtype}; expected float16, float32 or float64.")
    if array.ndim != ndim or array.size == 0:
        raise DataError(f"{name}: got shape {array.shape}; expected {ndim} dimension(s) and at least one value.")
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):  # both are NaN if a value is
        count = int((~np.isfinite(array)).sum())
        raise DataError(f"{name}: {count} of {array.size} values are not finite; find the samples that produce them.")
    return array


def in_unit_interval(name: str, values: ArrayLike, *, ndim: int) -> NDArray[Any]:
    """Return values after checking that all lie in [0, 1], without a copy.

    Raises:
        DataError: as `checked_numbers`, or a value lies outside [0, 1].
    """
    array = checked_numbers(name, values, ndim=ndim)
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        raise DataError(
            f"{name}: got values in [{low:.6g}, {high:.6g}]; expected [0, 1]. Apply softmax or sigmoid to logits first."
        )
    return array


def checked_events(confidence: ArrayLike, correct: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return (n,) confidences and (n,) correctness, both in [0, 1], as float64.

    Raises:
        DataError: a value is not finite or outside [0, 1], there are none, or the lengths differ.
    """
    first = in_unit_interval("confidence", confidence, ndim=1).astype(np.float64)
    second = in_unit_interval("correct", correct, ndim=1).astype(np.float64)
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


def checked_logits(logits: ArrayLike) -> NDArray[Any]:
    """Return (n, classes) finite logits without a copy; raise DataError for anything else or fewer than two classes."""
    array = checked_numbers("logits", logits, ndim=2)
    if array.shape[1] < 2:
        raise DataError(_too_few_classes("logits", array.shape[1]))
    return array


def checked_probabilities(probabilities: ArrayLike) -> NDArray[Any]:
    """Return (n, classes) probabilities without a copy, not renormalized.

    Raises:
        DataError: fewer than two classes, a value outside [0, 1], or a row whose sum differs from 1 by more than
            rounding (5e-3 for float16, 1e-3 otherwise, since float32 rows may come from float16 arithmetic).
    """
    array = in_unit_interval("probabilities", probabilities, ndim=2)
    if array.shape[1] < 2:
        raise DataError(_too_few_classes("probabilities", array.shape[1]))
    slack = 5e-3 if array.dtype == np.float16 else 1e-3
    gap = max(_largest_gap(array[rows]) for rows in row_blocks(array.shape))
    if gap > slack:
        raise DataError(f"probabilities: a row's sum is {gap:.3g} away from 1; expected softmax over the last axis.")
    return array


def _largest_gap(rows: NDArray[Any]) -> float:
    """Return the largest distance from 1 of the sum of a row, to well below the slack of rounding."""
    wide = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
    sums = wide @ np.ones(rows.shape[1], wide.dtype)
    return float(max(sums.max() - 1.0, 1.0 - sums.min()))


def as_probabilities(probabilities: ArrayLike) -> FloatArray:
    """Return checked probabilities as float64."""
    return checked_probabilities(probabilities).astype(np.float64)


def _too_few_classes(name: str, classes: int) -> str:
    return (
        f"{name}: got {classes} class; calibration is about the confidence in a choice, so that a task needs at least "
        "two classes. Declare both in the task, for example classes=('no', 'yes')."
    )


def log_softmax(logits: FloatArray) -> FloatArray:
    """Return log-probabilities (n, classes) of float64 logits, without overflow for any finite logit."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
