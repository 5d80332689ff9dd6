"""Share of generated samples that lie as near to a training sample as the nearest few of held-out real samples."""

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError, MeasureError
from suite.metrics.generation.features import FloatArray


def nearer_counts(held_out: ArrayLike, generated: ArrayLike) -> FloatArray:
    """Return how many generated distances lie below each held-out one in order, and below none and all, (n + 2,).

    Equal distances are as if ordered at random: of the m generated ones that equal e held-out ones, m i / (e + 1) lie
    below the i-th of these. So the expected count for samples of the held-out distribution is m i / (n + 1) for the
    i-th of n, also with ties.

    Args:
        held_out: distances of held-out samples, (n,).
        generated: distances of generated samples, (m,).

    Raises:
        DataError: there are none, or one is not finite.
    """
    real, others = (np.sort(np.asarray(values, np.float64)) for values in (held_out, generated))
    if real.ndim != 1 or others.ndim != 1 or not real.size or not others.size:
        raise DataError(f"got distances of shapes {real.shape} and {others.shape}; expected (n,) and (m,).")
    if not (np.isfinite(real).all() and np.isfinite(others).all()):
        raise DataError("a distance is not finite; drop and count such samples.")
    below = np.searchsorted(others, real)
    tied = np.searchsorted(others, real, "right") - below
    first = np.searchsorted(real, real)
    equal = np.searchsorted(real, real, "right") - first
    counts = below + tied * (np.arange(1, real.size + 1) - first) / (equal + 1)
    return np.concatenate([[0.0], counts, [float(others.size)]])


def nearer_share(counts: FloatArray, size: int, share: float) -> float:
    """Return the share of `size` generated samples below a quantile of the held-out distances.

    Its expectation is exactly `share` for samples of the held-out distribution: the i-th of n distances has the
    expected rank i / (n + 1), between which is interpolated.

    Args:
        counts: of `nearer_counts`, (n + 2,).
        size: number of generated samples.
        share: of the held-out samples that lie below the quantile, in (0, 1).
    """
    return float(np.interp(share * (len(counts) - 1), np.arange(len(counts)), counts) / size)


def nearer_interval(counts: FloatArray, size: int, share: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the share of the generator's samples below the true quantile of held-out samples.

    The quantile is not known: of n held-out samples J ~ binomial(n, share) lie below it, so that it lies between the
    J-th and the next distance. For each J, the Clopper-Pearson bounds of the share below these two are beta quantiles;
    the ends are quantiles of the mixtures over J. In simulations it covers at least as often as stated, except where
    many generated samples have one distance just below the quantile (`tests/benchmarks/coverage`).

    Args:
        counts: of `nearer_counts`, (n + 2,).
        size: number of generated samples.
        share: of the held-out samples that lie below the quantile, in (0, 1).
        level: confidence level.

    Raises:
        MeasureError: `share` or `level` is outside (0, 1).
    """
    from scipy.stats import binom

    if not (0.0 < share < 1.0 and 0.0 < level < 1.0):
        raise MeasureError(f"got share={share}, level={level}; expected both strictly between 0 and 1.")
    below = np.arange(len(counts) - 1)
    weights = binom.pmf(below, len(counts) - 2, share)
    kept = weights > 1e-9
    tail, below, weights = 0.5 - level / 2, below[kept], weights[kept] / weights[kept].sum()
    lower, upper = counts[below], counts[below + 1]
    value = nearer_share(counts, size, share)
    lo = _quantile(lower, size - lower + 1, weights, tail)
    hi = _quantile(upper + 1, size - upper, weights, 1 - tail)
    return min(lo, value), max(hi, value)


def _quantile(first: FloatArray, second: FloatArray, weights: FloatArray, probability: float) -> float:
    """Return a quantile of a mixture of beta distributions (k,); a parameter of 0 puts all mass on one end."""
    from scipy.optimize import brentq
    from scipy.special import betainc

    inner = (first > 0) & (second > 0)
    a, b, share = first[inner], second[inner], weights[inner]
    at_zero, at_one = weights[first <= 0].sum(), weights[second <= 0].sum()
    if probability <= at_zero:
        return 0.0
    if probability >= 1 - at_one:
        return 1.0
    return float(brentq(lambda x: at_zero + share @ betainc(a, b, x) - probability, 0.0, 1.0, xtol=1e-10))
