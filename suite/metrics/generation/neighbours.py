"""Realism by neighbours: whether samples lie where real ones do, and real ones where samples do.

Round every sample lies a ball that reaches to its k-th nearest fellow; the union of these balls stands for the
manifold of a set (Kynkäänniemi et al. 2019; density and coverage: Naeem et al. 2020).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from suite.errors import DataError
from suite.metrics.generation.features import FloatArray, as_features

BLOCK = 512
"""Samples whose distances are held at once."""

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Neighbours:
    """What neighbours say of each sample.

    Attributes:
        realistic: generated samples that lie in the ball of a real one, bool (m,); their share is the precision.
        recalled: real samples that lie in the ball of a generated one, bool (n,); their share is the recall.
        density: in how many balls of real samples a generated one lies, over k, (m,); the mean may exceed 1.
        covered: real samples whose ball holds a generated one, bool (n,); their share is the coverage.
    """

    realistic: BoolArray
    recalled: BoolArray
    density: FloatArray
    covered: BoolArray


def compared(real: ArrayLike, generated: ArrayLike, *, k: int = 3, dense: int = 5) -> Neighbours:
    """Compare two sets of features (n, d) and (m, d).

    Args:
        real: features (n, d).
        generated: features (m, d).
        k: neighbours of precision and recall.
        dense: neighbours of density and coverage.

    Raises:
        DataError: features are not finite, differ in d, or are too few to have so many neighbours.
    """
    first, second = as_features("real", real), as_features("generated", generated)
    if first.shape[1] != second.shape[1]:
        raise DataError(f"got features of {first.shape[1]} and {second.shape[1]} dimensions; expected the same.")
    near, own, wide = radii(first, k), radii(second, k), radii(first, dense)
    distances = cdist(first, second)
    inside = distances <= wide[:, None]
    return Neighbours(
        (distances <= near[:, None]).any(axis=0),
        (distances <= own[None]).any(axis=1),
        inside.sum(axis=0) / dense,
        inside.any(axis=1),
    )


def radii(features: ArrayLike, k: int) -> FloatArray:
    """Return the distance from each sample to its k-th nearest fellow, (n,); 0 among k equal ones.

    Raises:
        DataError: features are not finite, or there are fewer than k + 1.
    """
    points = as_features("features", features)
    if k < 1 or len(points) <= k:
        raise DataError(f"got {len(points)} samples; {k} neighbours of each need at least {max(k, 1) + 1}.")
    blocks = (cdist(points[start : start + BLOCK], points) for start in range(0, len(points), BLOCK))
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for block in blocks])  # place 0 is the sample itself


def nearest(features: ArrayLike, others: ArrayLike) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the place of the nearest of some others (n, d) for each sample (m, d), and its distance, both (m,).

    Raises:
        DataError: features are not finite, or differ in d.
    """
    points, pool = as_features("features", features), as_features("others", others)
    if points.shape[1] != pool.shape[1]:
        raise DataError(f"got features of {points.shape[1]} and {pool.shape[1]} dimensions; expected the same.")
    lengths, places = (pool * pool).sum(axis=1), []
    for start in range(0, len(points), BLOCK):
        places.append((lengths - 2 * points[start : start + BLOCK] @ pool.T).argmin(axis=1))
    place = np.concatenate(places)
    return place, np.sqrt(((points - pool[place]) ** 2).sum(axis=1))  # anew: equal samples are at distance 0
