"""A paired permutation test between two models: which model made which predictions is swapped at random.

If two models are equally good, it makes no difference which of them made the predictions for a sample. The test swaps
the predictions of the two models on a random half of the samples, again and again, and counts how often the metric
differs at least as much as it did before (Fisher 1935; Good 2005, section 3.2). Any metric can be tested, because it is
computed anew after each swap. Samples of one group are swapped together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from suite.errors import MeasureError
from suite.metrics.stats.clusters import Groups, group_codes
from suite.metrics.stats.resampled import Statistic
from suite.metrics.stats.weights import FloatArray

SWAPS = 999
"""Number of random swaps of a pair, at least."""

EXACT = 12
"""Up to this number of samples or groups all swaps are computed."""

ENOUGH = 20
"""A pair is not swapped further once this many swaps gave a difference as large as the measured one."""

_TOGETHER = 100
"""Swaps computed at once."""


@dataclass(frozen=True)
class SwapTest:
    """The result of a test.

    Attributes:
        p: two-sided p value in (0, 1].
        error: standard deviation of the difference if the models are equal, over the swaps.
    """

    p: float
    error: float


def swap_test(
    statistic: Statistic, n: int, *, groups: Groups | None = None, seed: int = 0, swaps: int = SWAPS
) -> SwapTest:
    """Test whether a metric differs between two models on the same samples.

    The p value is exact: under exchangeable predictions P(p <= alpha) <= alpha. For random swaps it is
    (1 + hits) / (1 + swaps), hits being the swaps with a difference at least as large as the measured one (Phipson and
    Smyth 2010). A pair that gets `ENOUGH` hits early has the p value `ENOUGH` / swaps so far (Besag and Clifford 1991).

    Args:
        statistic: the metric as a function of counts (r, 2n): n samples of one model, then the same of the other.
        n: number of samples.
        groups: the number of each sample's group, (n,); None if samples are independent.
        seed: of the random swaps.
        swaps: number of random swaps, at most.

    Raises:
        MeasureError: the metric is undefined for one of the models.
    """
    codes = group_codes(groups, n)
    units = n if codes is None else int(codes.max()) + 1
    measured = _differences(statistic, np.zeros((1, n)))[0]
    if not np.isfinite(measured):
        raise MeasureError("the metric is undefined for one of two models, so that they cannot be compared")
    drawn: list[FloatArray] = []
    hits = total = 0
    for swapped in _patterns(units, seed, swaps):
        drawn.append(_differences(statistic, swapped if codes is None else swapped[:, codes]))
        reached = np.cumsum(_as_large(drawn[-1], measured)) + hits
        if units > EXACT and reached[-1] >= ENOUGH:
            p = ENOUGH / (total + int(np.argmax(reached >= ENOUGH)) + 1)
            return SwapTest(p, _spread(drawn))
        hits, total = int(reached[-1]), total + len(swapped)
    p = hits / total if units <= EXACT else (1 + hits) / (1 + total)
    return SwapTest(p, _spread(drawn))


def swaps_needed(pairs: int, alpha: float) -> int:
    """Return how many swaps let Holm's adjustment over some pairs reach half of `alpha`."""
    return max(SWAPS, int(np.ceil(2 * pairs / alpha)) - 1)


def least_p(units: int) -> float:
    """Return the lowest possible p value for a number of samples or groups, whatever the number of swaps."""
    return 2.0 ** (1 - units)


def _patterns(units: int, seed: int, swaps: int) -> Iterator[FloatArray]:
    """Yield which units are swapped, 0 or 1, (r, units): all patterns for few units, else random ones.

    A pattern and its complement differ in the sign only, so that the first unit stays.
    """
    if units <= EXACT:
        numbers = np.arange(2 ** (units - 1))
        yield (numbers[:, None] >> np.arange(units)[::-1] & 1).astype(np.float64)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, swaps, _TOGETHER):
        yield rng.integers(0, 2, (min(_TOGETHER, swaps - start), units)).astype(np.float64)


def _differences(statistic: Statistic, swapped: FloatArray) -> FloatArray:
    """Return first minus second model's metric after swaps (r, n), (r,)."""
    first, second = np.hstack([1 - swapped, swapped]), np.hstack([swapped, 1 - swapped])
    values = np.asarray(statistic(np.vstack([first, second])), np.float64)
    return np.asarray(np.subtract(*np.split(values, 2)))


def _as_large(differences: FloatArray, measured: float) -> FloatArray:
    """Return which differences are as large as the measured one up to rounding; undefined ones count as large."""
    slack = 1e-9 * max(abs(measured), float(np.nanmax(np.abs(differences), initial=0.0)))
    return np.asarray(~(np.abs(differences) < abs(measured) - slack))


def _spread(drawn: list[FloatArray]) -> float:
    return float(np.sqrt(np.nanmean(np.concatenate(drawn) ** 2)))
