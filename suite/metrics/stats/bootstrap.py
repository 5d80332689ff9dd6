"""Bootstrap intervals, reproducible from their seed; resampling runs in chunks of bounded memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError, MeasureError
from suite.metrics.stats.counts import (
    CountArray,
    FloatArray,
    IndexArray,
    chunk_rows,
    chunks,
    drawn_counts,
    drawn_indices,
)
from suite.types import Measure


@dataclass(frozen=True)
class Interval:
    """The ends of an interval, None if there is none, and the method that gave it."""

    lo: float | None
    hi: float | None
    method: str

    def measure(self, metric: str, value: float, n: int, **fields: Any) -> Measure:
        """Return a measure of n samples with this interval and further fields of `Measure`."""
        return Measure(metric, value, self.lo, self.hi, n, self.method, **fields)


def finite_values(name: str, values: ArrayLike) -> FloatArray:
    """Return values as a (n,) float64 array.

    Raises:
        DataError: they are empty, not one-dimensional, or not all finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"{name}: got values of shape {array.shape}; expected (n,) with n >= 1.")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise DataError(f"{name}: {count} of {array.size} values are not finite; drop them and count them as failed.")
    return array


def bootstrap(
    statistic: Callable[[IndexArray], FloatArray], n: int, *, seed: int, replicates: int = 1000
) -> FloatArray:
    """Return a statistic over resamples with replacement of `n` samples.

    Args:
        statistic: takes indices (r, n), one resample a row, and returns (r,) values or (r, k) for k statistics.
        n: number of samples.
        seed: integer >= 0.
        replicates: number of resamples.

    Returns:
        (replicates,) or (replicates, k) values; the same for the same seed on every machine.

    Raises:
        MeasureError: `n` or `replicates` is not positive.
    """
    parts = [np.asarray(statistic(indices), dtype=np.float64) for indices in drawn_indices(n, seed, replicates)]
    return np.concatenate(parts)


def bootstrap_counts(
    statistic: Callable[[CountArray], FloatArray], n: int, *, seed: int, replicates: int = 1000
) -> FloatArray:
    """Return a statistic over the resamples of `bootstrap`, as a function of how often each sample was drawn.

    Measures with the same seed and number of samples share the draws.

    Args:
        statistic: takes counts (n, r), uint8 and read-only, and returns (r,) values or (r, k) for k statistics.
        n: number of samples.
        seed: integer >= 0.
        replicates: number of resamples.

    Returns:
        (replicates,) or (replicates, k) values.

    Raises:
        MeasureError: `n` or `replicates` is not positive.
    """
    return np.concatenate([statistic(counts) for counts in drawn_counts(n, seed, replicates)])


def by_chunk(statistic: Callable[[FloatArray], FloatArray]) -> Callable[[CountArray], FloatArray]:
    """Return a statistic of counts (n, r) that is computed from float64 counts of a few resamples at a time."""

    def values(counts: CountArray) -> FloatArray:
        n, replicates = counts.shape
        parts = (counts[:, part].astype(np.float64) for part in chunks(replicates, chunk_rows(n)))
        return np.concatenate([np.asarray(statistic(part), dtype=np.float64) for part in parts])

    return values


def _degenerate(value: float, samples: FloatArray, n: int) -> Interval | None:
    if n == 1:
        return Interval(None, None, "none(one sample)")
    if np.ptp(samples) <= 1e-12 * np.abs(samples).max():
        return Interval(value, value, "degenerate(constant under resampling)")
    return None


def tails(level: float) -> list[float]:
    """Return the lower and upper tail probability of a confidence level in (0, 1).

    Raises:
        MeasureError: `level` is outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise MeasureError(f"level is {level}; expected a number strictly between 0 and 1, such as 0.95.")
    return [0.5 - level / 2, 0.5 + level / 2]


def percentile_interval(value: float, samples: FloatArray, *, n: int, level: float = 0.95) -> Interval:
    """Return the percentile bootstrap interval, widened to contain the value.

    Args:
        value: the estimate on all samples.
        samples: (replicates,) values of the same statistic on resamples.
        n: number of samples; one sample gives no interval, since it has no spread.
        level: confidence level.
    """
    ends = tails(level)
    if degenerate := _degenerate(value, samples, n):
        return degenerate
    lo, hi = np.quantile(samples, ends)
    return Interval(min(float(lo), value), max(float(hi), value), f"bootstrap-percentile({len(samples)})")


def recentred_interval(
    value: float, samples: FloatArray, *, n: int, level: float = 0.95, floor: float = -np.inf
) -> Interval:
    """Return a bootstrap interval of the statistic's expectation at this n.

    Resampling doubles the bias of a statistic such as a binned calibration error, so that its percentiles lie above
    the value. The spread around the bootstrap mean is kept and shifted to the value; the result is cut at `floor` and
    widened to contain the value.
    """
    ends = tails(level)
    if degenerate := _degenerate(value, samples, n):
        return degenerate
    lo, hi = value + np.quantile(samples, ends) - samples.mean()
    return Interval(min(max(float(lo), floor), value), max(float(hi), value), f"bootstrap-recentred({len(samples)})")


def _mean_replicates(values: FloatArray, seed: int, replicates: int) -> FloatArray:
    return bootstrap(lambda indices: values[indices].mean(axis=1), values.size, seed=seed, replicates=replicates)


def mean_measure(
    metric: str,
    values: ArrayLike,
    *,
    seed: int,
    replicates: int = 1000,
    level: float = 0.95,
    **measure_fields: Any,
) -> Measure:
    """Return the mean of per-sample values with its percentile bootstrap interval.

    One value has no interval (lo and hi are None). Equal values give lo = hi = value, and the method says so. For
    binary outcomes use `rate`, whose interval never has width 0.

    Args:
        metric: name of the measure.
        values: (n,) finite numbers.
        seed: integer >= 0.
        replicates: number of resamples.
        level: confidence level.
        measure_fields: further fields of `Measure`, such as ``unit`` or ``params``.

    Raises:
        DataError: there are no values, or one is not finite.
    """
    array = finite_values(metric, values)
    value = float(array.mean())
    if array.size > 1 and np.ptp(array) == 0:
        interval = Interval(value, value, "degenerate(constant sample)")
    else:
        samples = _mean_replicates(array, seed, replicates)
        interval = percentile_interval(value, samples, n=array.size, level=level)
    return interval.measure(metric, value, array.size, level=level, **measure_fields)


def paired_bootstrap_difference(
    a: ArrayLike, b: ArrayLike, *, seed: int, replicates: int = 1000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return mean(a) - mean(b) and its percentile interval, for values of two models on the same samples.

    Resampling whole pairs removes the variance that the models share. Constant differences give
    lo = hi = difference.

    Raises:
        DataError: the arrays differ in length, have fewer than two values, or hold one that is not finite.
    """
    left, right = finite_values("a", a), finite_values("b", b)
    if left.size != right.size or left.size < 2:
        raise DataError(
            f"got {left.size} and {right.size} values; expected the same samples, at least two, in the same order."
        )
    difference = left - right
    value = float(difference.mean())
    lo, hi = np.quantile(_mean_replicates(difference, seed, replicates), tails(level))
    return value, min(float(lo), value), max(float(hi), value)
