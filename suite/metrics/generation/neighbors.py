"""Precision, recall, density and coverage of generated samples from nearest neighbors.

The manifold of a set is estimated by the union of balls around its samples, each with the distance to the k-th nearest
neighbor as radius (Kynkäänniemi et al. 2019; density and coverage: Naeem et al. 2020).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.generation.features import FloatArray, as_features, as_pair

BLOCK = 512
"""Samples whose distances are computed at once."""

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Neighbors:
    """Manifold membership of each sample.

    Attributes:
        realistic: generated samples in the ball of a real one, bool (m,); their share is the precision.
        recalled: real samples in the ball of a generated one, bool (n,); their share is the recall.
        density: number of balls of real samples that contain the generated one, over k, (m,); may exceed 1.
        covered: real samples whose ball contains a generated one, bool (n,); their share is the coverage.
        covered_error: standard error of the coverage, see `coverage_error`; NaN with fewer than k + 2 real samples.
    """

    realistic: BoolArray
    recalled: BoolArray
    density: FloatArray
    covered: BoolArray
    covered_error: float


def compared(real: ArrayLike, generated: ArrayLike, *, k: int = 3, dense: int = 5) -> Neighbors:
    """Compare two sets of features (n, d) and (m, d).

    Args:
        real: features (n, d).
        generated: features (m, d).
        k: neighbors of precision and recall.
        dense: neighbors of density and coverage.

    Raises:
        DataError: features are not finite, differ in d, or have too few samples for that many neighbors.
    """
    first, second = as_pair(real, generated)
    from scipy.spatial.distance import cdist

    near, own, wide = radii(first, k), radii(second, k), radii(first, dense)
    distances = cdist(first, second)
    inside = distances <= wide[:, None]
    return Neighbors(
        (distances <= near[:, None]).any(axis=0),
        (distances <= own[None]).any(axis=1),
        inside.sum(axis=0) / dense,
        inside.any(axis=1),
        coverage_error(first, distances.min(axis=1), dense) if len(first) > dense + 1 else float("nan"),
    )


def coverage_error(real: ArrayLike, reach: ArrayLike, k: int) -> float:
    """Return the standard error of the coverage when real samples are drawn anew, by the jackknife.

    Whether a real sample is covered depends on its neighbors, so that outcomes are not independent. Without one sample,
    those that have it among their k nearest neighbors have the distance to the next one as radius. The jackknife is not
    too small on average (Efron and Stein 1981); in simulations its variance is 1.7 to 2.5 times the true one.

    Args:
        real: features (n, d).
        reach: distance from each real sample to the nearest generated one, (n,).
        k: neighbors.

    Raises:
        DataError: features are not finite, or there are fewer than k + 2.
    """
    from scipy.spatial.distance import cdist

    points, reach, wider = as_features("real", real), np.asarray(reach, np.float64), radii(real, k + 1)
    n, own = len(points), radii(points, k)
    covered = reach <= own
    gained = ((reach <= wider) & ~covered).astype(np.float64)
    others = np.zeros(n)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        neighbor = cdist(points[rows], points) <= own[rows, None]
        neighbor[np.arange(len(neighbor)), np.arange(start, start + len(neighbor))] = False
        others += gained[rows] @ neighbor
    left = (covered.sum() - covered + others) / (n - 1)
    return float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))


def radii(features: ArrayLike, k: int) -> FloatArray:
    """Return the distance from each sample to its k-th nearest neighbor, (n,); 0 if k others are equal to it.

    Raises:
        DataError: features are not finite, or there are fewer than k + 1.
    """
    from scipy.spatial.distance import cdist

    points = as_features("features", features)
    if k < 1 or len(points) <= k:
        raise DataError(f"got {len(points)} samples and k={k}; expected k >= 1 and at least k + 1 samples.")
    blocks = (cdist(points[start : start + BLOCK], points) for start in range(0, len(points), BLOCK))
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for block in blocks])  # index 0 is the sample itself


def nearest(features: ArrayLike, others: ArrayLike) -> tuple[NDArray[np.int64], FloatArray]:
    """Return for each sample (m, d) the index of the nearest of others (n, d), and its distance, both (m,).

    Raises:
        DataError: features are not finite, or differ in d.
    """
    points, pool = as_pair(features, others, names=("features", "others"))
    squares = (pool * pool).sum(axis=1)
    blocks = (points[start : start + BLOCK] for start in range(0, len(points), BLOCK))
    index = np.concatenate([(squares - 2 * block @ pool.T).argmin(axis=1) for block in blocks])
    # The distance is computed from the differences, so that it is exactly 0 between equal samples.
    return index, np.sqrt(((points - pool[index]) ** 2).sum(axis=1))
