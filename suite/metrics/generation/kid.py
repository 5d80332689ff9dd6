"""Unbiased kernel distance of two sets of features (KID, Binkowski et al. 2018)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError
from suite.metrics.generation.features import FloatArray, as_pair
from suite.metrics.stats.quantiles import t_quantile

SUBSET = 1000
"""Samples of each set in one subset."""

FEWEST, FEWEST_INTERVAL = 4, 50
"""Fewest samples of each set for an estimate with a standard error, and for an interval: one-sided bounds of 10 samples
miss twice as often as stated."""

REPLICATES = 400
"""Number of resamples."""

KERNEL = "((x . y) / d + 1)^3"
"""The kernel, in words."""

Kernels = tuple[FloatArray, FloatArray, FloatArray]
"""Kernels within each of two sets, with zeros on the diagonal, and across them."""


@dataclass(frozen=True)
class Discrepancy:
    """A squared maximum mean discrepancy.

    Attributes:
        value: the unbiased estimate, which may be negative.
        error: its standard error.
        subsets: number of disjoint subsets that are averaged.
        size: samples of each set in a subset.
    """

    value: float
    error: float
    subsets: int
    size: int


def kernel_distance(real: ArrayLike, generated: ArrayLike, *, seed: int, size: int = SUBSET) -> Discrepancy:
    """Return the squared maximum mean discrepancy under the cubic kernel, a mean over disjoint subsets.

    For equal distributions the estimate is degenerate, and the jackknife overestimates its error.

    Args:
        real: features (n, d).
        generated: features (m, d); of the larger set a random subset is used.
        seed: of the order in which subsets are drawn.
        size: samples of each set in a subset at most.

    Raises:
        DataError: features are not finite, differ in d, or are fewer than `FEWEST`.
    """
    subsets = _subsets(real, generated, seed, size)
    size = len(subsets[0][0])
    value, error = _averaged(subsets, [(np.ones((size, 1)), np.ones((size, 1)))] * len(subsets))
    return Discrepancy(float(value[0]), float(error[0]), len(subsets), size)


def kernel_interval(
    real: ArrayLike, generated: ArrayLike, *, seed: int, level: float = 0.95, size: int = SUBSET
) -> tuple[float, float]:
    """Return the interval of the distance of the distributions, given as to `kernel_distance`.

    The estimate is skewed, so that a normal interval misses large distances too often. Each end is the further one of
    a bootstrap-t interval and of Student's t interval with the jackknife error, which is too wide where the
    distributions are nearly equal; there the bootstrap does not hold.

    Raises:
        DataError: as `kernel_distance`, or fewer than `FEWEST_INTERVAL` samples.
    """
    subsets, generator = _subsets(real, generated, seed, size), np.random.default_rng([seed, 1])
    size, estimate = len(subsets[0][0]), kernel_distance(real, generated, seed=seed, size=size)
    if size < FEWEST_INTERVAL:
        raise DataError(f"got {size} samples of a set; expected at least {FEWEST_INTERVAL} for an interval.")

    def drawn() -> FloatArray:
        return generator.multinomial(size, np.full(size, 1 / size), REPLICATES).T.astype(np.float64)

    values, errors = _averaged(subsets, [(drawn(), drawn()) for _ in subsets])
    tail, t = 0.5 - level / 2, t_quantile(level, len(subsets) * size - 1)
    below, above = np.quantile((values - estimate.value) / errors, [tail, 1 - tail])
    return estimate.value - max(t, above) * estimate.error, estimate.value + max(t, -below) * estimate.error


def _subsets(real: ArrayLike, generated: ArrayLike, seed: int, size: int) -> list[Kernels]:
    first, second = as_pair(real, generated, FEWEST)
    fewer = min(len(first), len(second))
    size = min(size, fewer)
    count, generator = fewer // size, np.random.default_rng(seed)
    chosen = [generator.permutation(len(part))[: count * size].reshape(count, size) for part in (first, second)]
    return [_kernels(first[one], second[other]) for one, other in zip(*chosen, strict=True)]


def _kernels(first: FloatArray, second: FloatArray) -> Kernels:
    within, other, across = (
        np.asarray((one @ two.T / one.shape[1] + 1) ** 3)
        for one, two in ((first, first), (second, second), (first, second))
    )
    for square in (within, other):
        np.fill_diagonal(square, 0.0)
    return within, other, across


def _averaged(subsets: list[Kernels], weights: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Return the mean of the estimates of subsets and its standard error, for each of r resamples, (r,)."""
    parts = [_estimates(kernels, *both) for kernels, both in zip(subsets, weights, strict=True)]
    values, variances = (np.array(part) for part in zip(*parts, strict=True))
    return values.mean(axis=0), np.asarray(np.sqrt(variances.sum(axis=0)) / len(subsets))


def _estimates(kernels: Kernels, first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the unbiased estimates under weights (n, r) of each set, and their jackknife variances, (r,).

    A sample that was drawn twice is not compared with itself.
    """
    within, other, across = kernels
    own, toward, variance = _side(within, across @ second, first)
    others, _, more = _side(other, across.T @ first, second)
    return own + others - 2 * toward, variance + more


def _side(within: FloatArray, across: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the mean kernel within a set, that across, and the variance due to this set, for each resample (r,).

    Leaving a sample out changes the estimate by the difference of its mean kernels from the average ones.
    """
    n = len(weights)
    near = within @ weights / (n - weights)
    far = across / n
    mean, toward = (weights * far).sum(axis=0) / n, (weights * near).sum(axis=0) / n
    change = 2 * (near - toward) / (n - 2) - 2 * (far - mean) / (n - 1)
    pairs = (weights * (n - weights) * near).sum(axis=0) / (n**2 - (weights**2).sum(axis=0))
    return pairs, mean, (n - 1) / n * (weights * change**2).sum(axis=0)
