"""Unbiased kernel distance of two sets of features (KID, Binkowski et al. 2018)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.metrics.generation.features import FloatArray, as_pair

SUBSET = 1000
"""Samples of each set in one subset."""

FEWEST = 4
"""Fewest samples of each set for an estimate with a standard error."""

KERNEL = "((x . y) / d + 1)^3"
"""The kernel, in words."""


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

    Args:
        real: features (n, d).
        generated: features (m, d); of the larger set a random subset is used.
        seed: of the order in which subsets are drawn.
        size: samples of each set in a subset at most.

    Raises:
        DataError: features are not finite, differ in d, or are fewer than `FEWEST`.
    """
    first, second = as_pair(real, generated, FEWEST)
    fewer = min(len(first), len(second))
    size = min(size, fewer)
    subsets = fewer // size
    generator = np.random.default_rng(seed)
    chosen = [generator.permutation(len(part))[: subsets * size].reshape(subsets, size) for part in (first, second)]
    parts = [_estimate(first[one], second[other]) for one, other in zip(*chosen, strict=True)]
    values, variances = np.array(parts).T
    return Discrepancy(float(values.mean()), float(np.sqrt(variances.sum()) / subsets), subsets, size)


def _kernel(first: FloatArray, second: FloatArray) -> FloatArray:
    return np.asarray((first @ second.T / first.shape[1] + 1) ** 3)


def _estimate(first: FloatArray, second: FloatArray) -> tuple[float, float]:
    """Return the unbiased estimate from n samples of each set, and its leave-one-out jackknife variance.

    For equal distributions the estimate is degenerate, and the jackknife overestimates its variance.
    """
    n, m = len(first), len(second)
    within, within_other, across = _kernel(first, first), _kernel(second, second), _kernel(first, second)
    for square in (within, within_other):
        np.fill_diagonal(square, 0.0)
    sums = within.sum(), within_other.sum(), across.sum()
    left = (
        _combined(sums[0] - 2 * within.sum(axis=1), sums[1], sums[2] - across.sum(axis=1), n - 1, m),
        _combined(sums[0], sums[1] - 2 * within_other.sum(axis=1), sums[2] - across.sum(axis=0), n, m - 1),
    )
    variance = sum((len(part) - 1) / len(part) * ((part - part.mean()) ** 2).sum() for part in left)
    return float(_combined(*sums, n, m)), float(variance)


def _combined(
    within: NDArray[np.float64], within_other: NDArray[np.float64], across: NDArray[np.float64], n: int, m: int
) -> NDArray[np.float64]:
    return np.asarray(within / (n * (n - 1)) + within_other / (m * (m - 1)) - 2 * across / (n * m))
