"""Reliability bins: sums that are exact, mergeable, and enough for every binned calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError, MeasureError
from suite.metrics.calibration.inputs import FloatArray, IndexArray, checked_events
from suite.metrics.stats.intervals import quantile_of_level

BINNING = "equal-width; (lo, hi]; 0 in the first bin, 1 in the last"
"""Convention of the bins; stored with every number that rests on them."""

_BLOCK = 8192
"""Events summed before the sum is set aside: one running float64 sum of 4e7 equal terms would drift."""


def bin_index(confidence: FloatArray, bins: int) -> IndexArray:
    """Return the bin 0..bins-1 of confidences in [0, 1], any shape, by the convention `BINNING`.

    Edges are the float64 numbers k / bins. Raises MeasureError unless `bins` >= 1.
    """
    if bins < 1:
        raise MeasureError(f"got {bins} bins; expected at least 1, such as 15.")
    flat = confidence.ravel()
    scaled = flat * bins
    index = np.ceil(scaled).astype(np.int64) - 1
    # The product rounds, so that next to an edge only a comparison with the edge itself decides.
    near = np.flatnonzero(np.abs(scaled - np.rint(scaled)) < 1e-9)
    index[near] = np.searchsorted(np.arange(bins + 1) / bins, flat[near], side="left") - 1
    return np.maximum(index, 0).reshape(confidence.shape)


def _block_sums(keys: IndexArray, values: FloatArray, bins: int) -> FloatArray:
    starts = range(0, keys.size, _BLOCK)
    parts = [np.bincount(keys[s : s + _BLOCK], values[s : s + _BLOCK], bins) for s in starts]
    # Contiguous rows are summed pairwise by numpy, columns one after the other.
    return np.asarray(np.ascontiguousarray(np.stack(parts, axis=1)).sum(axis=1))


@dataclass(frozen=True)
class DebiasedSquare:
    """A debiased squared calibration error with its interval.

    Attributes:
        value: the untruncated estimate, below zero about half the time where calibration is perfect; None where
            no bin has two samples.
        lo, hi: ends of the interval, None with the value.
        singletons: bins of one sample; they have no variance estimate and contribute nothing.
    """

    value: float | None
    lo: float | None
    hi: float | None
    singletons: int


def _score_interval(value: float, level: float, fixed: float, slope: float) -> tuple[float, float]:
    """Return all t with (value - t)^2 <= z^2 (fixed + slope * max(t, 0))."""
    z = quantile_of_level(level)
    half = z * np.sqrt(fixed)
    lo, hi = value - half, value + half
    centre = value + z * z * slope / 2
    root = z * np.sqrt(max(0.0, z * z * slope * slope / 4 + fixed + slope * value))
    return float(lo if lo < 0 else centre - root), float(hi if hi < 0 else centre + root)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Counts and sums per bin of confidence; adding two gives that of both data sets.

    Attributes:
        counts: (bins,) int64 number of events.
        confidence_sums: (bins,) float64 sums of confidence.
        correct_sums: (bins,) float64 sums of correctness.
    """

    counts: IndexArray
    confidence_sums: FloatArray
    correct_sums: FloatArray

    def __post_init__(self) -> None:
        """Copy the arrays and lock the copies, so that a state never changes under its owner."""
        for name, dtype in (("counts", np.int64), ("confidence_sums", np.float64), ("correct_sums", np.float64)):
            array = np.array(getattr(self, name), dtype=dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not self.counts.shape == self.confidence_sums.shape == self.correct_sums.shape or self.counts.ndim != 1:
            raise DataError("counts and sums differ in shape; expected three arrays of shape (bins,).")

    @classmethod
    def empty(cls, bins: int = 15) -> Reliability:
        """Return the state of no events, to which batches are added."""
        return cls(np.zeros(bins, np.int64), np.zeros(bins), np.zeros(bins))

    @classmethod
    def from_events(cls, confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> Reliability:
        """Return the state of (n,) confidences and (n,) correctness, both in [0, 1].

        Raises:
            DataError: a value is not finite or outside [0, 1], there are none, or the lengths differ.
        """
        first, second = checked_events(confidence, correct)
        keys = bin_index(first, bins)
        counts = np.bincount(keys, minlength=bins)
        return cls(counts, _block_sums(keys, first, bins), _block_sums(keys, second, bins))

    def __add__(self, other: Reliability) -> Reliability:
        """Return the state of both data sets; raise MeasureError where the numbers of bins differ."""
        if self.bins != other.bins:
            raise MeasureError(f"cannot add states of {self.bins} and {other.bins} bins; use the same number.")
        return Reliability(
            self.counts + other.counts,
            self.confidence_sums + other.confidence_sums,
            self.correct_sums + other.correct_sums,
        )

    @property
    def bins(self) -> int:
        """Number of bins."""
        return self.counts.size

    @property
    def n(self) -> int:
        """Number of events."""
        return int(self.counts.sum())

    @property
    def edges(self) -> FloatArray:
        """The (bins + 1,) edges of the bins."""
        return np.asarray(np.arange(self.bins + 1) / self.bins)

    @property
    def mean_confidence(self) -> FloatArray:
        """Mean confidence per bin, (bins,), NaN where the bin is empty: a diagram has nothing to draw there."""
        return self._mean(self.confidence_sums)

    @property
    def mean_correct(self) -> FloatArray:
        """Mean correctness per bin, (bins,), NaN where the bin is empty."""
        return self._mean(self.correct_sums)

    def diagram(self) -> dict[str, list[Any]]:
        """Return a reliability diagram as JSON values.

        They are the edges, and per bin the count, the mean confidence and the accuracy, None where the bin is empty.
        """
        return {
            "edges": self.edges.tolist(),
            "count": self.counts.tolist(),
            "confidence": _or_none(self.mean_confidence),
            "accuracy": _or_none(self.mean_correct),
        }

    def _mean(self, sums: FloatArray) -> FloatArray:
        means = np.full(self.bins, np.nan)
        np.divide(sums, self.counts, out=means, where=self.counts > 0)
        return means

    def _some(self) -> int:
        if self.n == 0:
            raise DataError("the reliability state holds no events; add some before reading an error from it.")
        return self.n

    def ece(self) -> float:
        """Return the plug-in expected calibration error, in [0, 1] (Guo et al. 2017); biased upwards."""
        return float(np.abs(self.correct_sums - self.confidence_sums).sum() / self._some())

    def mce(self) -> float:
        """Return the largest gap of a bin that is not empty, in [0, 1]."""
        self._some()
        return float(np.nanmax(np.abs(self.mean_correct - self.mean_confidence)))

    def debiased_square(self, level: float = 0.95) -> DebiasedSquare:
        """Return the debiased squared error of 0/1 outcomes, sum of p (gap^2 - y(1 - y)/(n - 1)) over bins.

        Formula: Broecker (2012), Kumar et al. (2019). The interval inverts a score test with the analytic variance
        sum of p^2 (2 v^2 + 4 t v) at the hypothesised error t, v being a gap's variance, plus the variance of the
        bins' sizes; unlike value +- 1.96 standard errors it covers at small n too. A bin that is all right or all
        wrong enters the variance (not the value) with y = (k + 1/2)/(n + 1).
        """
        total = self._some()
        used = self.counts >= 2
        singletons = int((self.counts == 1).sum())
        if not used.any():
            return DebiasedSquare(None, None, None, singletons)
        n, hits = self.counts[used], self.correct_sums[used]
        share, mean, smooth = n / total, hits / n, (hits + 0.5) / (n + 1)
        noise = mean * (1 - mean) / (n - 1)
        squares = (mean - self.confidence_sums[used] / n) ** 2 - noise
        value = float((share * squares).sum())
        variance = np.where(noise > 0, noise, smooth * (1 - smooth) / n)
        between = max(0.0, float((share * squares**2).sum()) - value**2) / total
        fixed = float((2 * share**2 * variance**2).sum()) + between
        slope = float(4 * (share**2 * variance).sum() / share.sum())
        return DebiasedSquare(value, *_score_interval(value, level, fixed, slope), singletons)


def _or_none(means: FloatArray) -> list[float | None]:
    return [None if np.isnan(mean) else float(mean) for mean in means]
