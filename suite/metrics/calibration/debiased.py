"""The debiased squared calibration error and its interval, for independent samples and for samples in groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.metrics.calibration.inputs import FloatArray, IndexArray
from suite.metrics.stats.quantiles import quantile_of_level, t_quantile

_STEPS = 60
"""Bisections until an end is exact."""


@dataclass(frozen=True)
class DebiasedSquare:
    """A debiased squared calibration error with its interval.

    Attributes:
        value: the untruncated estimate, which is negative about half the time for a perfectly calibrated model; None
            if no bin has two samples.
        lo, hi: ends of the interval; None if the value is.
        singletons: number of bins with one sample, or one group; they have no variance estimate and are left out.
    """

    value: float | None
    lo: float | None
    hi: float | None
    singletons: int


@dataclass(frozen=True, eq=False)
class Gaps:
    """Gaps between accuracy and confidence of bins.

    Attributes:
        share: (bins,) share of all samples in each bin.
        gap: (bins,) accuracy less mean confidence.
        noise: (bins,) unbiased variance of the gaps.
        covariance: (bins, bins) of the gaps for the interval; its diagonal is at least `noise`.
        units: number of independent samples, or of groups.
        singletons: number of bins with one unit, which are left out.
        grouped: whether the units are groups.
    """

    share: FloatArray
    gap: FloatArray
    noise: FloatArray
    covariance: FloatArray
    units: int
    singletons: int
    grouped: bool = False

    @classmethod
    def of_counts(cls, counts: IndexArray, confidence_sums: FloatArray, correct_sums: FloatArray) -> Gaps:
        """Build from the sums of bins, (bins,) each, that hold at least two independent samples or none."""
        used = counts >= 2
        n, hits = counts[used], correct_sums[used]
        mean = hits / n
        noise = mean * (1 - mean) / (n - 1)
        covariance = np.diag(np.maximum(noise, _cautious(hits, n, hits * (1 - mean))))
        total = int(counts.sum())
        return cls(n / total, mean - confidence_sums[used] / n, noise, covariance, total, int((counts == 1).sum()))

    @classmethod
    def of_groups(cls, keys: IndexArray, confidence: FloatArray, correct: FloatArray, groups: IndexArray) -> Gaps:
        """Build from events of samples in groups.

        Args:
            keys: (n,) the bin of each sample, from 0.
            confidence: (n,).
            correct: (n,).
            groups: (n,) the number of each sample's group, from 0.
        """
        size = int(keys.max()) + 1, int(groups.max()) + 1
        cells = keys * size[1] + groups

        def sums(values: FloatArray) -> FloatArray:
            return np.asarray(np.bincount(cells, values, size[0] * size[1]).reshape(size), np.float64)

        each = sums(np.ones(keys.size))
        inside = (each > 0).sum(axis=1)
        used, singletons = inside >= 2, int((inside == 1).sum())
        each, inside, difference = each[used], inside[used], sums(correct - confidence)[used]
        n, hits = each.sum(axis=1), sums(correct)[used].sum(axis=1)
        gap = difference.sum(axis=1) / n
        residual = difference - gap[:, None] * each
        scaled = residual / n[:, None] * np.sqrt(inside / (inside - 1))[:, None]
        covariance = scaled @ scaled.T
        noise = np.diag(covariance).copy()
        cautious = _cautious(hits, n, (residual**2).sum(axis=1), n / inside)
        np.fill_diagonal(covariance, np.maximum(noise, cautious))
        return cls(np.asarray(n / keys.size), gap, noise, covariance, size[1], singletons, True)

    def square(self, level: float) -> DebiasedSquare:
        """Return the sum of share * (gap^2 - noise) over the bins with its interval."""
        if not self.share.size:
            return DebiasedSquare(None, None, None, self.singletons)
        squares = self.gap**2 - self.noise
        value = float(self.share @ squares)
        between = max(0.0, float(self.share @ squares**2) - value**2) / self.units
        lo, hi = self._spread(squares, between).interval(value, self._quantile(level))
        return DebiasedSquare(value, lo, hi, self.singletons)

    def _quantile(self, level: float) -> float:
        return t_quantile(level, self.units - 1) if self.grouped else quantile_of_level(level)

    def _spread(self, squares: FloatArray, between: float) -> Spread:
        """Return the cumulants of the estimate, a quadratic form of normal gaps (Mathai and Provost 1992).

        The expected gaps have the observed directions and, up to a common factor, the debiased sizes. The variance of a
        gap is added to its square, so that no gap is taken to be 0.
        """
        sizes = np.sqrt(np.maximum(squares, 0) + np.diag(self.covariance))
        gaps = np.where(self.gap < 0, -sizes, sizes) / np.sqrt(self.share @ sizes**2)
        form = self.share[:, None] * self.covariance
        twice, along = form @ form, self.share * gaps
        third = 8 * float(np.einsum("ab,ba->", twice, form)), 24 * float(gaps @ twice @ along)
        return Spread(2 * float(np.trace(twice)) + between, 4 * float(gaps @ form @ along), *third)


@dataclass(frozen=True)
class Spread:
    """Variance and third cumulant of the estimate, linear in the true error t.

    Attributes:
        fixed, slope: variance at t = 0, and its growth with t.
        third, third_slope: third cumulant at t = 0, and its growth with t.
    """

    fixed: float
    slope: float
    third: float
    third_slope: float

    def interval(self, value: float, z: float) -> tuple[float, float]:
        """Return all t that a score test does not reject, whose variance belongs to the hypothesized t.

        At the lower end the quantile is that of a gamma distribution with the skewness at t, since without any
        miscalibration the estimate is a sum of squares; at the upper end the normal quantile z, which is larger.
        """
        high = z * z * self.slope / 2
        root = z * np.sqrt(max(0.0, z * z * self.slope**2 / 4 + self.fixed + self.slope * value))
        low = value - 30 * self._deviation(value), value
        for _ in range(_STEPS):
            middle = sum(low) / 2
            above = value - middle > self._deviation(middle) * self._gamma_quantile(middle, z)
            low = (middle, low[1]) if above else (low[0], middle)
        return low[0], max(0.0, value, value + high + float(root))

    def _deviation(self, t: float) -> float:
        return float(np.sqrt(self.fixed + self.slope * max(t, 0.0)))

    def _gamma_quantile(self, t: float, z: float) -> float:
        """Return the quantile of a standardized gamma distribution by the cube root (Wilson and Hilferty 1931)."""
        skewness = (self.third + self.third_slope * max(t, 0.0)) / self._deviation(t) ** 3
        return 2 / skewness * ((1 + skewness * z / 6 - skewness**2 / 36) ** 3 - 1)


def _cautious(hits: FloatArray, n: NDArray[Any], squares: FloatArray, size: FloatArray | float = 1.0) -> FloatArray:
    """Return the variance of shares (bins,) with two more samples, or groups, of either outcome.

    A bin without an error has no spread, yet the model may be wrong there. Without groups it is the variance m(1 - m)/n
    of the share m of Agresti and Coull (1998).

    Args:
        hits: (bins,) number of right samples.
        n: (bins,) number of samples.
        squares: (bins,) sum over samples, or groups, of squared differences from the mean.
        size: (bins,) samples of an average group.
    """
    more = (hits + 2 * size) / (n + 4 * size)
    added = n * size * (hits / n - more) ** 2 + 2 * size**2 * ((1 - more) ** 2 + more**2)
    return np.asarray((squares + added) / (n * (n + 4 * size)))
