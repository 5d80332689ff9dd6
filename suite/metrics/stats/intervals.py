"""Rates of binary outcomes and their Wilson intervals."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError
from suite.types import Measure


def quantile_of_level(level: float) -> float:
    """Return the two-sided standard normal quantile of a confidence level in (0, 1), 1.96 for 0.95.

    Raises:
        MeasureError: `level` is outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise MeasureError(f"level is {level}; expected a number strictly between 0 and 1, such as 0.95.")
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion, inside [0, 1].

    Formula: Wilson (1927), without continuity correction.

    Raises:
        MeasureError: `n` is not positive, `successes` is outside 0..n, or `level` is outside (0, 1).
    """
    if n <= 0 or not 0 <= successes <= n:
        raise MeasureError(f"got {successes} successes of n={n}; expected n >= 1 and 0 <= successes <= n.")
    z = quantile_of_level(level)
    share = successes / n
    shrink = 1.0 + z * z / n
    center = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n))
    # Here the exact ends are 0 and 1; rounding must not exclude the value by 1e-18.
    lo = 0.0 if successes == 0 else max(0.0, center - half)
    hi = 1.0 if successes == n else min(1.0, center + half)
    return lo, hi


def as_outcomes(name: str, outcomes: ArrayLike) -> NDArray[np.bool_]:
    """Return outcomes of any shape as booleans.

    Raises:
        DataError: there are none, or one is neither boolean nor exactly 0 or 1.
    """
    array = np.asarray(outcomes)
    if array.size == 0:
        raise DataError(f"{name}: got no outcomes; expected at least one. Check that the task has usable samples.")
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not bool(((array == 0) | (array == 1)).all()):
            raise DataError(f"{name}: got outcomes other than true and false; threshold them before counting.")
        array = array.astype(np.bool_)
    return array


def rate(metric: str, outcomes: ArrayLike, *, level: float = 0.95, **measure_fields: Any) -> Measure:
    """Return the share of true outcomes, in [0, 1], with its Wilson interval.

    Args:
        metric: name of the measure.
        outcomes: (n,) booleans; a sample without an outcome is false, so that it counts in the denominator.
        level: confidence level of the interval.
        measure_fields: further fields of `Measure`, such as ``params`` or ``n_failed``.

    Raises:
        DataError: there are no outcomes, they are not one-dimensional, or not boolean.
    """
    hits = as_outcomes(metric, outcomes)
    if hits.ndim != 1:
        raise DataError(f"{metric}: got outcomes of shape {hits.shape}; expected (n,), one per sample.")
    successes, n = int(hits.sum()), hits.size
    lo, hi = wilson(successes, n, level)
    return Measure(metric, successes / n, lo, hi, n, "wilson", level, **measure_fields)
