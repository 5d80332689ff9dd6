"""Rates of binary outcomes and their Clopper-Pearson intervals."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError
from suite.metrics.stats.clusters import Groups, group_codes
from suite.metrics.stats.means import mean_measure
from suite.types import Measure


def clopper_pearson(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a binomial proportion, in [0, 1].

    It inverts the exact binomial test, so that each end misses the true rate with a probability of at most
    (1 - level) / 2 at every n and every rate. Formula by beta quantiles: Clopper and Pearson 1934; Brown, Cai and
    DasGupta 2001.

    Args:
        successes: number of true outcomes, 0 <= successes <= n.
        n: number of outcomes, positive.
        level: confidence level in (0, 1).

    Raises:
        MeasureError: an argument is outside its range.
    """
    if n <= 0 or not 0 <= successes <= n or not 0.0 < level < 1.0:
        raise MeasureError(
            f"got {successes} of {n} at level {level}; expected 0 <= successes <= n, n > 0 and a level in (0, 1)."
        )
    from scipy.special import betaincinv

    tail, failures = 0.5 - level / 2, n - successes
    lo = 0.0 if successes == 0 else float(betaincinv(successes, failures + 1, tail))
    hi = 1.0 if failures == 0 else float(betaincinv(successes + 1, failures, 1 - tail))
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


def rate(
    metric: str,
    outcomes: ArrayLike,
    *,
    groups: Groups | None = None,
    seed: int = 0,
    level: float = 0.95,
    **measure_fields: Any,
) -> Measure:
    """Return the share of true outcomes, in [0, 1], with its Clopper-Pearson interval.

    Outcomes of one group are not independent. With groups the interval is that of a mean with bounds, see
    `mean_measure`, which generalizes Clopper-Pearson.

    Args:
        metric: name of the measure.
        outcomes: (n,) booleans; a sample without an outcome is false, so that it counts in the denominator.
        groups: the number of each sample's group, (n,); None if samples are independent.
        seed: of the resampling of groups.
        level: confidence level of the interval.
        measure_fields: further fields of `Measure`, such as ``params`` or ``n_failed``.

    Raises:
        DataError: there are no outcomes, they are not one-dimensional, or not boolean.
    """
    hits = as_outcomes(metric, outcomes)
    if hits.ndim != 1:
        raise DataError(f"{metric}: got outcomes of shape {hits.shape}; expected (n,), one per sample.")
    value, n = float(hits.mean()), hits.size
    codes = group_codes(groups, n)
    if codes is None:
        lo, hi = clopper_pearson(int(hits.sum()), n, level)
        return Measure(metric, value, lo, hi, n, "clopper-pearson", level, **measure_fields)
    return mean_measure(metric, hits, seed=seed, bounds=(0.0, 1.0), groups=codes, level=level, **measure_fields)
