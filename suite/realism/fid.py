"""The Frechet distance of two sets of features (FID, Heusel et al. 2017): that of Gaussians of their moments."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError
from suite.realism.features import FloatArray, as_features


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
    return _between(_moments(first, np.ones(len(first))), _moments(second, np.ones(len(second))))


def frechet_of_counts(
    real: FloatArray, generated: FloatArray, real_counts: FloatArray, generated_counts: FloatArray
) -> FloatArray:
    """Return the same of r resamples of both sets, (r,), from how often each sample was drawn, (n, r) and (m, r)."""
    pairs = zip(real_counts.T, generated_counts.T, strict=True)
    return np.array([_between(_moments(real, one), _moments(generated, other)) for one, other in pairs])


def _moments(features: FloatArray, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean (d,) and the unbiased covariance (d, d) of features that occur several times."""
    total = counts.sum()
    mean = counts @ features / total
    centred = features - mean
    return mean, np.asarray((centred * counts[:, None]).T @ centred / (total - 1))


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
