"""Means of per-sample values and their intervals."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError, MeasureError
from suite.metrics.stats.bootstrap import REPLICATES, bootstrap
from suite.metrics.stats.clusters import Groups, group_codes, influences
from suite.metrics.stats.interval import CONSTANT, ONE_GROUP, ONE_SAMPLE, Interval, finite_values
from suite.metrics.stats.quantiles import t_quantile
from suite.metrics.stats.weights import FloatArray
from suite.types import Measure

Bounds = tuple[float | None, float | None]
"""The lowest and the highest possible value; None if there is none."""

BOUNDED = f"bootstrap-bounded({REPLICATES})"
"""The method of an end towards a bound."""


def mean_measure(
    metric: str,
    values: ArrayLike,
    *,
    seed: int,
    bounds: Bounds | None = None,
    groups: Groups | None = None,
    level: float = 0.95,
    **measure_fields: Any,
) -> Measure:
    """Return the mean of per-sample values with its interval.

    Few samples say little about rare large values, so the ends depend on what is possible. Towards a bound the end is
    Gaffke's (`bounded_end`); towards an open side it is Hall's (`skewed_end`). One value, or equal values without a
    bound, have no interval. For binary outcomes use `rate`.

    Args:
        metric: name of the measure.
        values: (n,) finite numbers.
        seed: integer >= 0.
        bounds: the lowest and the highest possible value.
        groups: the number of each sample's group, (n,); None if samples are independent.
        level: confidence level.
        measure_fields: further fields of `Measure`, such as ``unit`` or ``params``.

    Raises:
        DataError: there are no values, or one is not finite.
        MeasureError: a value is outside the bounds.
    """
    array = finite_values(metric, values)
    limits = _checked_bounds(metric, array, bounds)
    codes = group_codes(groups, array.size)
    interval = mean_interval(array, codes, limits, seed, level)
    count = None if codes is None else int(codes.max()) + 1
    return interval.measure(metric, float(array.mean()), array.size, level=level, groups=count, **measure_fields)


def _checked_bounds(metric: str, values: FloatArray, bounds: Bounds | None) -> Bounds:
    lo, hi = bounds or (None, None)
    slack = 1e-6 * max(1.0, float(np.abs(values).max()))
    if (lo is not None and values.min() < lo - slack) or (hi is not None and values.max() > hi + slack):
        raise MeasureError(
            f"{metric}: got values from {values.min():g} to {values.max():g}; expected them within the declared bounds "
            f"{bounds}. Correct the bounds of the metric."
        )
    return lo, hi


def mean_interval(values: FloatArray, groups: Groups | None, bounds: Bounds, seed: int, level: float) -> Interval:
    """Return the interval of the mean of values (n,), whose groups are numbers without gaps; see `mean_measure`."""
    value, units = float(values.mean()), influences(values, np.ones(values.size), groups)
    if units.size == 1:
        return Interval(None, None, ONE_SAMPLE if groups is None else ONE_GROUP)
    if np.ptp(units) <= 1e-12 * np.abs(units).max() and None in bounds:
        return Interval(None, None, CONSTANT)
    ends, methods = [], []
    for bound, tail in zip(bounds, (0.5 - level / 2, 0.5 + level / 2), strict=True):
        if bound is None:
            ends.append(skewed_end(units, tail))
            methods.append("skewness-adjusted t")
        else:
            ends.append(bounded_end(values, bound, tail, seed, groups))
            methods.append(BOUNDED)
    lo, hi = ends
    lo, hi = (lo if bounds[0] is None else max(lo, bounds[0])), (hi if bounds[1] is None else min(hi, bounds[1]))
    return Interval(min(lo, value), max(hi, value), " and ".join(dict.fromkeys(methods)))


def bounded_end(values: FloatArray, bound: float, tail: float, seed: int, groups: Groups | None = None) -> float:
    """Return an end of the interval of a mean on the side of a bound of the values.

    It is a quantile of the mean in the Bayesian bootstrap with one more sample at the bound (Gaffke 2005;
    Learned-Miller and Thomas 2020). For values 0 and 1 it is the Clopper-Pearson end, up to the error of resampling.
    With groups these are drawn as a whole, and one more group of average size is at the bound.

    Args:
        values: (n,) values.
        bound: lowest possible value for a lower end, highest for an upper end.
        tail: probability of the quantile, such as 0.025 for the lower end at a level of 0.95.
        seed: of the resampling.
        groups: the number of each value's group, (n,), without gaps.
    """
    sums, sizes = values, np.ones(values.size)
    if groups is not None:
        sums, sizes = (np.asarray(np.bincount(groups, one), np.float64) for one in (values, sizes))
    parts = np.stack([sums, sizes]).astype(np.float32)
    part, whole = bootstrap(lambda weights: (parts @ weights).T.astype(np.float64), sums.size, seed=seed).T
    added = np.random.default_rng([seed, 1]).standard_exponential(len(part)) * float(sizes.mean())
    return float(np.quantile((part + added * bound) / (whole + added), tail))


def skewed_end(values: FloatArray, tail: float) -> float:
    """Return an end of the interval of a mean by a t statistic that is corrected for skewness (Hall 1992).

    Args:
        values: (n,) values, not all equal.
        tail: probability, such as 0.025 for the lower end at a level of 0.95.
    """
    n, mean = values.size, float(values.mean())
    centered = values - mean
    spread = float(np.sqrt((centered**2).mean()))
    skewness = float((centered**3).mean()) / spread**3
    root, error = np.sqrt(n), float(values.std(ddof=1)) / np.sqrt(n)
    t = np.copysign(t_quantile(abs(1 - 2 * tail), n - 1), tail - 0.5)
    if abs(skewness) < 1e-6:
        return float(mean + t * error)
    # Hall's monotone cubic g(u) = u + a u^2 + a^2 u^3 / 3 + a / 2, a = skewness / (3 root), inverted.
    a = skewness / (3 * root)
    return float(mean - error * (np.cbrt(1 + 3 * a * (-t - a / 2)) - 1) / a)


def paired_difference(
    a: ArrayLike, b: ArrayLike, *, seed: int, bounds: Bounds | None = None, groups: Groups | None = None,
    level: float = 0.95,
) -> tuple[float, float | None, float | None]:  # fmt: skip
    """Return mean(a) - mean(b) and its interval, for values of two models on the same samples.

    Differences of pairs remove the variance that the models share. Without an interval the ends are None; arguments as
    in `mean_measure`, bounds being those of a difference.

    Raises:
        DataError: the arrays differ in length, have fewer than two values, or hold one that is not finite.
    """
    left, right = finite_values("a", a), finite_values("b", b)
    if left.size != right.size or left.size < 2:
        raise DataError(
            f"got {left.size} and {right.size} values; expected the same samples, at least two, in the same order."
        )
    measure = mean_measure("difference", left - right, seed=seed, bounds=bounds, groups=groups, level=level)
    return float((left - right).mean()), measure.lo, measure.hi
