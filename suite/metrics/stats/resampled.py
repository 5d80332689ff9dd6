"""Measures that are not means over samples, as functions of how often each sample was drawn, and their bootstrap."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.errors import MeasureError
from suite.metrics.stats.bootstrap import bootstrap_counts, by_chunk, percentile_interval, recentred_interval
from suite.types import Measure

Array = npt.NDArray[Any]

Statistic = Callable[[Array | None], Array]
"""Function from the counts of r resamples (r, n), how often each sample was drawn, to values (r,), NaN if undefined;
None draws each sample once."""

REPLICATES = 400
"""Number of resamples; fewer than for means, since a statistic is computed anew for each."""

NOTHING = "no sample has anything to detect"
"""The reason of an undefined measure that gives no other."""


def drawn(counts: Array | None, n: int) -> Array:
    """Return counts (r, n) unchanged, or ones (1, n) for None."""
    return np.ones((1, n)) if counts is None else counts


def checked_counts(counts: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float64]:
    """Return resample counts (r, n) as float64, or ones (1, n) for None.

    Raises:
        MeasureError: the shape is not (r, n), or a count is not a whole number >= 0.
    """
    array = drawn(None if counts is None else np.asarray(counts, dtype=np.float64), n)
    if array.ndim != 2 or array.shape[1] != n:
        raise MeasureError(f"counts: got shape {array.shape}; expected (resamples, {n}), one column per sample.")
    if not (np.isfinite(array).all() and (array >= 0).all() and (array == np.rint(array)).all()):
        raise MeasureError("counts: got a value that is not a whole number >= 0; expected how often each was drawn.")
    return array


def ratio(part: Array, whole: Array) -> Array:
    """Return part / whole with broadcasting; NaN where the whole is not positive."""
    out = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def mean_defined(values: Array, axes: int = 1) -> Array:
    """Return the mean of the values that are not NaN over the last axes; NaN if all are."""
    last = tuple(range(-axes, 0))
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=last), known.sum(axis=last).astype(np.float64))


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
    """Return the mean of several statistics of the same samples, resampled together."""
    return lambda counts: np.asarray(np.mean([statistic(counts) for statistic in statistics], axis=0))


def auroc(scores: Array, positive: Array) -> Statistic:
    """Return the area under the ROC curve of scores (n,), given which samples are positive, bool (n,).

    It is the Mann-Whitney statistic divided by the number of pairs, ties counting half; NaN if a class has no sample.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)  # first of each run of equal scores

    def value(counts: Array | None) -> Array:
        weights = drawn(counts, len(scores))
        above, below = (
            np.add.reduceat(weights[:, order] * side[order], starts, axis=1) for side in (positive, ~positive)
        )
        beaten = below.cumsum(axis=1) - below / 2
        return ratio((above * beaten).sum(axis=1), above.sum(axis=1) * below.sum(axis=1))

    return value


def resampled(
    metric: str, statistic: Statistic, n: int, *, seed: int, recentred: bool = False, level: float = 0.95, **fields: Any
) -> Measure:
    """Return a measure of n samples with its bootstrap interval.

    Args:
        metric: name of the measure.
        statistic: its values on resamples; resamples in which it is undefined are left out.
        n: number of samples.
        seed: of the resampling.
        recentred: shift the interval to the value, for statistics whose bias doubles under resampling.
        level: confidence level.
        fields: ``why``, the reason that is stored if the measure is undefined; ``ceiling``, the upper bound of a
            recentred measure, 1 by default (its lower bound is 0); and further fields of `Measure`.
    """

    def column(counts: Array | None) -> Array:
        return statistic(counts)[:, None]

    return resampled_together([{"metric": metric, **fields}], column, n, seed=seed, recentred=recentred, level=level)[0]


def resampled_together(
    measures: Sequence[Mapping[str, Any]], statistic: Statistic, n: int, *, seed: int, recentred: bool, level: float
) -> list[Measure]:
    """Return k measures of n samples with their bootstrap intervals, from one pass over the resamples.

    Args:
        measures: for each its name as ``metric``, and the fields of `resampled`.
        statistic: values of all k on resamples, (r, k).
        n: number of samples.
        seed: of the resampling.
        recentred: as in `resampled`.
        level: confidence level.
    """
    values, draws = statistic(None)[0], np.empty((0, len(measures)))
    if np.isfinite(values).any():
        of_counts = by_chunk(lambda counts: statistic(counts.T))
        draws = bootstrap_counts(of_counts, n, seed=seed, replicates=REPLICATES)
    triples = zip(values.tolist(), draws.T, measures, strict=True)
    return [_measure(value, column, n, recentred, {**fields, "level": level}) for value, column, fields in triples]


def _measure(value: float, draws: Array, n: int, recentred: bool, fields: dict[str, Any]) -> Measure:
    """Return a measure from its value, NaN if undefined, and its values on resamples."""
    metric, why, ceiling = fields.pop("metric"), fields.pop("why", NOTHING), fields.pop("ceiling", 1.0)
    if not np.isfinite(value):
        return Measure(metric, None, None, None, n, "none", **{**fields, "reason": why})
    draws = draws[np.isfinite(draws)]
    if not recentred:
        return percentile_interval(value, draws, n=n, level=fields["level"]).measure(metric, value, n, **fields)
    interval = recentred_interval(value, draws, n=n, level=fields["level"], floor=0.0)
    highest = None if interval.hi is None else max(value, min(interval.hi, ceiling))
    return replace(interval, hi=highest).measure(metric, value, n, **fields)
