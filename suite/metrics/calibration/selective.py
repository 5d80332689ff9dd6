"""Selective prediction: the error when the model abstains on its least confident samples."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from suite.metrics.calibration.inputs import FloatArray, checked_events

TIES = "mean over all orders of equal confidences"
"""Convention for ties; stored with every area under the risk-coverage curve."""


def _groups(confidence: FloatArray, wrong: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sizes and errors of the groups of equal confidence, the most confident first."""
    _, inverse = np.unique(-confidence, return_inverse=True)
    return np.bincount(inverse).astype(np.float64), np.bincount(inverse, wrong).astype(np.float64)


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> FloatArray:
    """Return the expected risk, (n,) in [0, 1], of keeping the 1, 2, ..., n most confident samples.

    Samples of equal confidence are averaged over all their orders, so that the order of the input does not matter.

    Raises:
        DataError: a value is not finite or outside [0, 1], there are none, or the lengths differ.
    """
    first, second = checked_events(confidence, correct)
    sizes, errors = _groups(first, 1.0 - second)
    whole = sizes.astype(np.int64)
    kept = np.arange(1, first.size + 1)
    before = np.repeat(np.cumsum(sizes) - sizes, whole)
    errors_before = np.repeat(np.cumsum(errors) - errors, whole)
    expected = errors_before + np.repeat(errors / sizes, whole) * (kept - before)
    return np.asarray(expected / kept)


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Return the area under the risk-coverage curve, in [0, 1], lower is better.

    It is the mean risk over all n coverages (Geifman et al. 2019), ties averaged. Raises as `risk_coverage`.
    """
    return float(risk_coverage(confidence, correct).mean())


def aurc_of_counts(confidence: FloatArray, wrong: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return a function from resample counts (n, r) to the areas of the r resamples.

    A sample drawn twice is tied with itself. The mean risk within a group is summed in closed form: with N samples
    and E errors before it, m samples and e errors in it, the sum over i of (E + e i/m)/(N + i) is
    e + (E - e N/m)(H(N + m) - H(N)), H being the harmonic numbers.
    """
    order = np.argsort(-confidence, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(confidence[order]) != 0])
    rates = wrong[order][:, None]
    n = confidence.size
    harmonic = np.r_[0.0, np.cumsum(1.0 / np.arange(1, n + 1))]

    def areas(counts: FloatArray) -> FloatArray:
        drawn = counts[order]
        sizes = np.add.reduceat(drawn, starts, axis=0)
        errors = np.add.reduceat(np.multiply(drawn, rates, out=drawn), starts, axis=0)
        after = np.cumsum(sizes, axis=0)
        errors_before = np.cumsum(errors, axis=0) - errors
        before = after - sizes
        spread = harmonic[after.astype(np.int64)] - harmonic[before.astype(np.int64)]
        excess = errors_before - errors / np.maximum(sizes, 1.0) * before
        return np.asarray((errors.sum(axis=0) + np.einsum("gr,gr->r", excess, spread)) / n)

    return areas
