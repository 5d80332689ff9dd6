"""Measures that are not means over samples, as functions of the weights of samples, and their bootstrap."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.errors import MeasureError
from suite.metrics.stats.bootstrap import bootstrap, by_chunk, percentile_interval, recentred_interval
from suite.metrics.stats.clusters import Groups, group_codes
from suite.types import Measure

Array = npt.NDArray[Any]

Statistic = Callable[[Array | None], Array]
"""Function from the weights of samples in r resamples (r, n), real numbers >= 0 of any sum, to values (r,), NaN if
undefined; None gives each sample the weight 1."""

REPLICATES = 600
"""Number of resamples; fewer than for means, since a statistic is computed anew for each."""

NOTHING = "no sample has anything to detect"
"""The reason of an undefined measure that gives no other."""


@dataclass(frozen=True)
class Added:
    """Samples that are imagined beside the real ones: the worst and the best conceivable.

    Samples that were not seen may differ from all that were: with no error among 50 samples, 3 of 50 may be wrong. Each
    end of an interval therefore comes from resamples in which imagined samples take part, as in the Clopper-Pearson
    interval of a rate, whose ends are quantiles of a rate with one more success and with one more failure. A statistic
    of n samples is then a function of weights (r, n + e), those of the e imagined samples last.

    Attributes:
        low: expected weights of the imagined samples for the lower end, (e,) >= 0; usually with sum 1.
        high: those for the upper end, (e,).
    """

    low: Array
    high: Array


WORST_AND_BEST = Added(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
"""The weights of the worst conceivable sample and the best one, in this order."""


def drawn(counts: Array | None, n: int) -> Array:
    """Return weights (r, n) unchanged, or ones (1, n) for None."""
    return np.ones((1, n)) if counts is None else counts


def checked_counts(counts: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float64]:
    """Return weights of samples (r, n) as float64, or ones (1, n) for None.

    Raises:
        MeasureError: the shape is not (r, n), or a weight is not a finite number >= 0.
    """
    array = drawn(None if counts is None else np.asarray(counts, dtype=np.float64), n)
    if array.ndim != 2 or array.shape[1] != n:
        raise MeasureError(f"weights: got shape {array.shape}; expected (resamples, {n}), one column per sample.")
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise MeasureError("weights: got a value that is not a finite number >= 0; expected a weight per sample.")
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


def resampled(metric: str, statistic: Statistic, n: int, *, seed: int, level: float = 0.95, **fields: Any) -> Measure:
    """Return a measure of n samples with its bootstrap interval.

    Args:
        metric: name of the measure.
        statistic: its values on resamples; resamples in which it is undefined are left out.
        n: number of samples.
        seed: of the resampling.
        level: confidence level.
        fields: ``groups``, the number of each sample's group (n,), which are drawn as a whole; ``added``, imagined
            samples, see `Added`; ``recentred``, true to shift the interval to the value, for statistics whose bias
            doubles under resampling; ``why``, the reason that is stored if the measure is undefined; ``ceiling``, the
            upper bound of a recentred measure, 1 by default (its lower bound is 0); and further fields of `Measure`.
    """
    options = {name: fields.pop(name) for name in ("groups", "added", "recentred") if name in fields}

    def column(counts: Array | None) -> Array:
        return statistic(counts)[:, None]

    return resampled_together([{"metric": metric, **fields}], column, n, seed=seed, level=level, **options)[0]


def resampled_together(
    measures: Sequence[Mapping[str, Any]],
    statistic: Statistic,
    n: int,
    *,
    seed: int,
    level: float,
    recentred: bool = False,
    groups: Groups | None = None,
    added: Added | None = None,
) -> list[Measure]:
    """Return k measures of n samples with their bootstrap intervals, from one pass over the resamples.

    Args:
        measures: for each its name as ``metric``, and the fields of `resampled`.
        statistic: values of all k on resamples, (r, k).
        n: number of samples.
        seed: of the resampling.
        level: confidence level.
        recentred: as in `resampled`.
        groups: as in `resampled`.
        added: as in `resampled`.
    """
    codes = group_codes(groups, n)
    units = n if codes is None else int(codes.max()) + 1
    weights = None if added is None else np.r_[np.ones(n), np.zeros(len(added.low))][None]
    values = statistic(weights)[0]
    ends = [np.empty((0, len(measures)))] * 3
    if np.isfinite(values).any():
        ends = _replicates(statistic, units, seed, codes, added, recentred)
    common = {"level": level, "groups": None if codes is None else units}
    columns = zip(values.tolist(), *(end.T for end in ends), measures, strict=True)
    return [_measure(value, draws, (n, units), recentred, {**common, **fields}) for value, *draws, fields in columns]


def _replicates(
    statistic: Statistic, units: int, seed: int, codes: Groups | None, added: Added | None, recentred: bool
) -> list[Array]:
    """Return values on resamples (replicates, k) for the lower end, the upper end, and without imagined samples."""

    def values(expected: Array | None) -> Array:
        imagined = None if added is None or expected is None else _imagined(expected, seed)
        done = 0

        def of_weights(weights: Array) -> Array:
            nonlocal done
            drawn = weights if codes is None else weights[codes]
            if imagined is not None:
                # A group that was not seen weighs as much as an average one.
                part = imagined[:, done : done + weights.shape[1]] * (len(drawn) / units)
                drawn, done = np.concatenate([drawn, part]), done + weights.shape[1]
            return statistic(drawn.T)

        return bootstrap(by_chunk(of_weights), units, seed=seed, replicates=REPLICATES)

    if added is None:
        return [values(None)] * 3
    low, high = values(added.low), values(added.high)
    return [low, high, values(np.zeros(len(added.low))) if recentred else low]


def _imagined(expected: Array, seed: int) -> Array:
    """Return gamma-distributed weights with these means (e,), (e, `REPLICATES`); exponential for a mean of 1."""
    generator = np.random.default_rng([seed, 1])
    return generator.standard_gamma(np.asarray(expected, float)[:, None], (len(expected), REPLICATES))


def _measure(
    value: float, draws: Sequence[Array], n: tuple[int, int], recentred: bool, fields: dict[str, Any]
) -> Measure:
    """Return a measure from its value, NaN if undefined, and its values on resamples; n of samples and of units."""
    metric, why, ceiling = fields.pop("metric"), fields.pop("why", NOTHING), fields.pop("ceiling", 1.0)
    samples, units = n
    if not np.isfinite(value):
        return Measure(metric, None, None, None, samples, "none", **{**fields, "reason": why})
    lower, upper, plain = (one[np.isfinite(one)] for one in draws)
    level = fields["level"]
    if not recentred:
        return percentile_interval(value, lower, n=units, level=level, upper=upper).measure(
            metric, value, samples, **fields
        )
    interval = recentred_interval(
        value, lower, n=units, level=level, floor=0.0, upper=upper, center=float(plain.mean())
    )
    highest = None if interval.hi is None else max(value, min(interval.hi, ceiling))
    return replace(interval, hi=highest).measure(metric, value, samples, **fields)
