"""Selective prediction: the error when the model abstains on its least confident samples."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from suite.metrics.calibration.inputs import FloatArray, checked_events

TIES = "mean over all orders of equal confidences"
"""Convention for ties; stored with every area under the risk-coverage curve."""


IMAGINED_RANK = 1 / 3
"""Share of the samples that are more confident than the imagined one; chosen by simulation.

At 1/2 upper bounds miss too often at an accuracy of 0.5, at 0 intervals at an accuracy of 0.98 are three times as wide.
"""

_TINY = 1e-300


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
    """Return a function from weights to areas with an imagined sample.

    It takes weights (n + 1, r), that of the imagined sample last (`IMAGINED_RANK` says how confident it is), and
    returns areas (r, 2): if the imagined sample is right, and if it is wrong. Samples of equal confidence are a group,
    averaged over all orders. The mean risk within a group is summed in closed form: with N samples and E errors before
    it, m samples and e errors in it, the sum over i of (E + e i/m)/(N + i) is e + (E - e N/m)(H(N + m) - H(N)). H are
    the harmonic numbers; since weights are not whole numbers, H(x) is digamma(x + 1) up to a constant.
    """
    order = np.argsort(-confidence, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(confidence[order]) != 0])
    place = int(np.searchsorted(starts, confidence.size * IMAGINED_RANK))
    rates = wrong[order][:, None]

    def areas(weights: FloatArray) -> FloatArray:
        from scipy.special import digamma

        drawn, imagined = weights[order], weights[-1]
        sizes = np.insert(np.add.reduceat(drawn, starts, axis=0), place, imagined, axis=0)
        errors = np.add.reduceat(np.multiply(drawn, rates, out=drawn), starts, axis=0)
        errors = np.insert(errors, place, 0.0, axis=0)
        after = np.cumsum(sizes, axis=0)
        before, total = after - sizes, after[-1]
        spread = np.diff(digamma(after + 1), axis=0, prepend=digamma(1.0))
        excess = np.cumsum(errors, axis=0) - errors - errors / np.maximum(sizes, _TINY) * before
        right = errors.sum(axis=0) + np.einsum("gr,gr->r", excess, spread)
        more = imagined * (1 + spread[place + 1 :].sum(axis=0)) - before[place] * spread[place]
        return np.asarray(np.stack([right, right + more], axis=1) / total[:, None])

    return areas
