"""Paired tests between models on the same samples: exact McNemar, Holm, and the minimum detectable effect."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError
from suite.metrics.stats.intervals import as_outcomes

FloatArray = NDArray[np.float64]


def _counts(name: str, counts: ArrayLike) -> FloatArray:
    array = np.asarray(counts)
    if array.dtype.kind not in "iu" or (array.size and int(array.min()) < 0):
        raise DataError(f"{name}: got {array.dtype} counts or negative ones; expected integers >= 0.")
    return array.astype(np.float64)


def mcnemar_exact(b: ArrayLike, c: ArrayLike) -> FloatArray:
    """Return two-sided exact McNemar p values, each min(1, 2 P(Binomial(b + c, 1/2) <= min(b, c))).

    Args:
        b: number of samples that only the first model classified correctly; integers of any shape.
        c: number that only the second classified correctly; the same shape.

    Returns:
        p values in (0, 1] of that shape; 1 where the models never disagree.

    Raises:
        DataError: the counts are not integers >= 0, or differ in shape.
    """
    from scipy.special import betainc

    first, second = _counts("b", b), _counts("c", c)
    if first.shape != second.shape:
        raise DataError(f"got b of shape {first.shape} and c of shape {second.shape}; expected the same shape.")
    fewer, total = np.minimum(first, second), first + second
    # P(Binomial(t, 1/2) <= k) is a regularized incomplete beta function, which is fast on arrays.
    tail = betainc(np.maximum(total - fewer, 1.0), fewer + 1.0, 0.5)
    return np.asarray(np.where(total == 0, 1.0, np.minimum(1.0, 2.0 * tail)), dtype=np.float64)


def paired_p_values(outcomes: ArrayLike) -> FloatArray:
    """Return exact McNemar p values between all pairs of models.

    Args:
        outcomes: (models, samples) booleans, the same samples in the same order for every model.

    Returns:
        (models, models) p values: symmetric, 1 on the diagonal, not yet adjusted for the number of pairs.

    Raises:
        DataError: the array is empty, not two-dimensional or not boolean.
    """
    right = as_outcomes("outcomes", outcomes)
    if right.ndim != 2:
        raise DataError(f"got outcomes of shape {right.shape}; expected (models, samples).")
    # float32 represents whole numbers exactly up to 2^24 only.
    ones: NDArray[np.floating] = right.astype(np.float32 if right.shape[1] < 2**24 else np.float64)
    only_row = (ones @ (1 - ones).T).astype(np.int64)
    return mcnemar_exact(only_row, only_row.T)


def holm(p_values: ArrayLike) -> FloatArray:
    """Return Holm's step-down adjusted p values, in [0, 1], in the order given.

    Raises:
        DataError: the p values are not a (m,) array of numbers in [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not bool(((p >= 0) & (p <= 1)).all()):
        raise DataError(f"got p values of shape {p.shape}; expected (m,) numbers in [0, 1] without NaN.")
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def holm_matrix(p_values: ArrayLike) -> FloatArray:
    """Return a symmetric (m, m) matrix of p values adjusted by Holm over its m(m-1)/2 pairs; the diagonal is 1.

    Raises:
        DataError: the matrix is not square and symmetric, or holds a number outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 2 or p.shape[0] != p.shape[1] or not np.array_equal(p, p.T):
        raise DataError(f"got p values of shape {p.shape}; expected a symmetric (models, models) matrix without NaN.")
    rows, columns = np.triu_indices(p.shape[0], k=1)
    adjusted = np.ones_like(p)
    adjusted[rows, columns] = adjusted[columns, rows] = holm(p[rows, columns])
    return adjusted


def _power(gap: float, counts: FloatArray, weights: FloatArray, critical: FloatArray, share: float) -> float:
    """Return the power at an accuracy gap: the chance that either tail of the binomial test rejects."""
    from scipy.stats import binom

    wins = min(1.0, 0.5 + gap / (2.0 * share))
    rejected = binom.cdf(critical, counts, 1.0 - wins) + binom.cdf(critical, counts, wins)
    return float(np.dot(weights, rejected))


def minimum_detectable_effect(n: int, discordance: float, *, power: float = 0.8, level: float = 0.95) -> float | None:
    """Return the smallest true accuracy gap that the exact McNemar test detects with a given power.

    The number of discordant pairs is Binomial(n, discordance); the power is summed over it exactly.

    Args:
        n: number of samples.
        discordance: share of samples, in (0, 1], that exactly one of the two models classifies correctly.
        power: wanted probability of detection, in (0, 1).
        level: 1 - size of the test.

    Returns:
        A gap in (0, discordance], or None if even the largest possible gap (= discordance) is detected too rarely.

    Raises:
        MeasureError: an argument is outside its range.
    """
    if n < 1 or not 0 < discordance <= 1 or not 0 < power < 1 or not 0 < level < 1:
        raise MeasureError(
            f"got n={n}, discordance={discordance}, power={power}, level={level}; "
            "expected n >= 1, discordance in (0, 1], power and level in (0, 1)."
        )
    # scipy.stats takes most of a second to import, and leaderboards without ties do not need it.
    from scipy.stats import binom

    counts = np.arange(binom.ppf(1e-12, n, discordance), binom.isf(1e-12, n, discordance) + 1)
    weights = binom.pmf(counts, n, discordance)
    critical = binom.ppf((1 - level) / 2, counts, 0.5)
    critical -= 2 * binom.cdf(critical, counts, 0.5) > 1 - level
    low, high = 0.0, discordance
    if _power(high, counts, weights, critical, discordance) < power:
        return None
    while high - low > 1e-9:
        middle = (low + high) / 2
        enough = _power(middle, counts, weights, critical, discordance) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high
