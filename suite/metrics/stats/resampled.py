"""Measures that are more than a mean over samples: each is a function of how often every sample was drawn."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.metrics.stats.bootstrap import bootstrap, percentile_interval, recentred_interval, resample_counts
from suite.types import Measure

Array = npt.NDArray[Any]

Statistic = Callable[[Array | None], Array]
"""How often each sample was drawn in each of r resamples, (r, n), or None for once each, to values (r,); NaN where a
value is undefined."""

REPLICATES = 400
"""Resamples of samples where a measure is not a mean over them: each of them is counted anew."""


def drawn(counts: Array | None, n: int) -> Array:
    """Return counts (r, n) as they are, and once each of n samples for None, (1, n)."""
    return np.ones((1, n)) if counts is None else counts


def ratio(part: Array, whole: Array) -> Array:
    """Return part / whole as they broadcast; NaN where the whole is not above 0."""
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def average(values: Array) -> Statistic:
    """Return the mean of values (n,)."""
    return sums_ratio(values, np.ones(len(values)))


def sums_ratio(part: Array, whole: Array) -> Statistic:
    """Return the sum of parts (n,) over the sum of wholes (n,)."""

    def value(counts: Array | None) -> Array:
        weights = drawn(counts, len(part))
        return ratio(weights @ part, weights @ whole)

    return value


def mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """Return the mean of several measures of the same samples, resampled together."""
    return lambda counts: np.asarray(np.mean([statistic(counts) for statistic in statistics], axis=0))


def auroc(scores: Array, positive: Array) -> Statistic:
    """Return the area under the ROC curve of scores (n,), given which samples are positive, bool (n,).

    It is the statistic of Mann and Whitney over the number of pairs, ties counting half; NaN without a sample of either
    side.
    """
    order = np.argsort(scores, kind="stable")
    firsts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)  # where a new score begins

    def value(counts: Array | None) -> Array:
        weights = drawn(counts, len(scores))
        above, below = (
            np.add.reduceat(weights[:, order] * side[order], firsts, axis=1) for side in (positive, ~positive)
        )
        beaten = below.cumsum(axis=1) - below / 2
        return ratio((above * beaten).sum(axis=1), above.sum(axis=1) * below.sum(axis=1))

    return value


def resampled(
    metric: str,
    statistic: Statistic,
    n: int,
    *,
    seed: int,
    why: str = "no sample has anything to find",
    recentred: bool = False,
    ceiling: float = 1.0,
    **fields: Any,
) -> Measure:
    """Return a measure of n samples with the interval of its bootstrap over samples.

    Args:
        metric: its name.
        statistic: of resamples; those in which it is undefined are left out.
        n: number of samples.
        seed: of the resampling.
        why: the reason why it is undefined, where it is.
        recentred: move the interval to the value, as a statistic needs whose bias resampling repeats.
        ceiling: what a recentred measure, never below 0, is at most.
        fields: of `Measure`.
    """
    value = float(statistic(None)[0])
    if not np.isfinite(value):
        return Measure(metric, None, None, None, n, "none", **{**fields, "reason": why})

    def of_indices(indices: Array) -> Array:
        return statistic(resample_counts(indices).T)

    draws = bootstrap(of_indices, n, seed=seed, replicates=REPLICATES)
    draws = draws[np.isfinite(draws)]
    if not recentred:
        interval = percentile_interval(value, draws, n=n)
        return Measure(metric, value, interval.lo, interval.hi, n, interval.method, **fields)
    interval = recentred_interval(value, draws, n=n, floor=0.0)
    highest = None if interval.hi is None else max(value, min(interval.hi, ceiling))
    return Measure(metric, value, interval.lo, highest, n, interval.method, **fields)
