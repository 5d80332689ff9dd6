"""The Frechet distance of two sets of features (FID, Heusel et al. 2017): that of Gaussians of their moments."""

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError
from suite.metrics.generation.features import FloatArray, as_features

GROUPS = 50
"""Groups that are left out in turn."""


def frechet_distance(real: ArrayLike, generated: ArrayLike) -> float:
    """Return the squared Frechet distance of two sets of features (n, d) and (m, d).

    Biased: the fewer samples, the higher, also between two sets of one distribution.

    Raises:
        DataError: features are not finite, differ in d, or are fewer than d + 1, so that a covariance is singular.
    """
    first, second = as_features("real", real), as_features("generated", generated)
    needed, fewer = first.shape[1] + 1, min(len(first), len(second))
    if first.shape[1] != second.shape[1] or fewer < needed:
        raise DataError(
            f"got features {first.shape}, {second.shape}; expected the same d, and at least d + 1 = {needed} of each."
        )
    return _between(_moments(first), _moments(second))


def frechet_error(real: ArrayLike, generated: ArrayLike, *, seed: int, groups: int = GROUPS) -> float:
    """Return the standard error of the distance of two sets: the jackknife of both, which leaves groups out in turn.

    It is about what simulations find where the sets differ, and half as much again where they are alike. Resampling
    with replacement finds more than twice as much with few samples, because it takes rank from their covariances.

    Args:
        real: features (n, d).
        generated: features (m, d).
        seed: of the partition into groups.
        groups: of each set; as many as it has samples where these are fewer.

    Raises:
        DataError: as `frechet_distance`, or without one of the groups.
    """
    sets = as_features("real", real), as_features("generated", generated)
    generator = np.random.default_rng(seed)
    variance = 0.0
    for side, other in (sets, sets[::-1]):
        count = min(groups, len(side))
        fixed, order = _moments(other), generator.permutation(len(side))
        rest = [np.delete(side, order[group::count], axis=0) for group in range(count)]
        if min(map(len, rest)) <= side.shape[1]:
            raise DataError(
                f"got {len(side)} samples of d = {side.shape[1]}; expected d + 1 without one of the groups."
            )
        values = np.array([_between(_moments(part), fixed) for part in rest])
        variance += (count - 1) / count * ((values - values.mean()) ** 2).sum()
    return float(np.sqrt(variance))


def _moments(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean (d,) and the unbiased covariance (d, d) of features."""
    centred = features - (mean := features.mean(axis=0))
    return mean, np.asarray(centred.T @ centred / (len(features) - 1))


def _between(first: tuple[FloatArray, FloatArray], second: tuple[FloatArray, FloatArray]) -> float:
    """Return |m - n|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2), never below 0.

    The product is symmetric, so that its root follows from eigenvalues, and rounding cannot make them complex.
    """
    (mean, spread), (other_mean, other_spread) = first, second
    values, vectors = np.linalg.eigh(spread)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ other_spread @ root).clip(0)).sum()
    distance = ((mean - other_mean) ** 2).sum() + np.trace(spread) + np.trace(other_spread) - 2 * shared
    return max(0.0, float(distance))
