"""Bootstrap intervals, reproducible from their seed; resampling runs in chunks of bounded memory."""

from collections.abc import Callable

import numpy as np

from suite.metrics.stats.interval import CONSTANT, ONE_SAMPLE, Interval
from suite.metrics.stats.quantiles import checked_level, t_quantile
from suite.metrics.stats.weights import FloatArray, WeightArray, chunk_rows, chunks, drawn_weights

REPLICATES = 1000
"""Number of resamples."""


def bootstrap(
    statistic: Callable[[WeightArray], FloatArray], n: int, *, seed: int, replicates: int = REPLICATES
) -> FloatArray:
    """Return a statistic over resamples of the Bayesian bootstrap.

    Measures with the same seed and number of samples share the weights.

    Args:
        statistic: takes weights (n, r), float32 and read-only, with mean 1, and returns (r,) values or (r, k) for k
            statistics.
        n: number of samples, or of groups.
        seed: integer >= 0.
        replicates: number of resamples.

    Returns:
        (replicates,) or (replicates, k) values; the same for the same seed on every machine.

    Raises:
        MeasureError: `n` or `replicates` is not positive.
    """
    return np.concatenate([statistic(weights) for weights in drawn_weights(n, seed, replicates)])


def by_chunk(statistic: Callable[[FloatArray], FloatArray]) -> Callable[[WeightArray], FloatArray]:
    """Return a statistic of weights (n, r) that is computed from float64 weights of a few resamples at a time."""

    def values(weights: WeightArray) -> FloatArray:
        n, replicates = weights.shape
        parts = (weights[:, part].astype(np.float64) for part in chunks(replicates, chunk_rows(n)))
        return np.concatenate([np.asarray(statistic(part), dtype=np.float64) for part in parts])

    return values


def tails(level: float, n: int | None = None) -> list[float]:
    """Return the lower and upper tail probability of a confidence level in (0, 1).

    With n, the number of samples or groups, they are those of expanded percentiles (Hesterberg 2015): a resample varies
    less than the sample by the factor sqrt((n - 1) / (n + 1)), and Student's t distribution replaces the normal one.

    Raises:
        MeasureError: `level` is outside (0, 1).
    """
    from scipy.special import ndtr

    if n is None or n < 2:
        return [0.5 - checked_level(level) / 2, 0.5 + level / 2]
    tail = float(ndtr(-t_quantile(level, n - 1) * np.sqrt((n + 1) / (n - 1))))
    return [tail, 1 - tail]


def _ends(value: float, lo: float, hi: float, n: int, method: str) -> Interval:
    """Return the interval, widened to contain the value; none if it has no width or there is one sample."""
    if n == 1:
        return Interval(None, None, ONE_SAMPLE)
    lo, hi = min(lo, value), max(hi, value)
    if hi - lo <= 1e-12 * max(abs(lo), abs(hi)):
        return Interval(None, None, CONSTANT)
    return Interval(lo, hi, method)


def percentile_interval(
    value: float, samples: FloatArray, *, n: int, level: float = 0.95, upper: FloatArray | None = None
) -> Interval:
    """Return the percentile interval, with percentiles expanded for few samples, widened to contain the value.

    Args:
        value: the estimate on all samples.
        samples: (replicates,) values of the same statistic on resamples.
        n: number of samples, or of groups; one gives no interval, since it has no spread.
        level: confidence level.
        upper: the values that give the upper end, if they are others; `samples` then gives the lower end.
    """
    lower_tail, upper_tail = tails(level, n)
    lo, hi = np.quantile(samples, lower_tail), np.quantile(samples if upper is None else upper, upper_tail)
    return _ends(value, float(lo), float(hi), n, f"bootstrap-percentile({len(samples)})")


def recentred_interval(
    value: float,
    samples: FloatArray,
    *,
    n: int,
    level: float = 0.95,
    floor: float = -np.inf,
    upper: FloatArray | None = None,
    center: float | None = None,
) -> Interval:
    """Return a bootstrap interval of the statistic's expectation at this n.

    Resampling doubles the bias of a statistic such as a binned calibration error, so that its percentiles lie above
    the value. The spread around the bootstrap mean is kept and shifted to the value; the result is cut at `floor` and
    widened to contain the value.

    Args:
        value: the estimate on all samples.
        samples: (replicates,) values of the same statistic on resamples.
        n: number of samples, or of groups.
        level: confidence level.
        floor: the lowest possible value.
        upper: the values that give the upper end, if they are others; `samples` then gives the lower end.
        center: the bootstrap mean, if it is not that of `samples`.
    """
    lower_tail, upper_tail = tails(level, n)
    shift = value - (float(samples.mean()) if center is None else center)
    lo, hi = np.quantile(samples, lower_tail), np.quantile(samples if upper is None else upper, upper_tail)
    return _ends(value, max(shift + float(lo), floor), shift + float(hi), n, f"bootstrap-recentred({len(samples)})")
