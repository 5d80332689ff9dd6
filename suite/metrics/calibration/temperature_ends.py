"""How well samples determine a fitted temperature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.metrics.calibration.inputs import FloatArray
from suite.metrics.calibration.scaling import HIGHEST, LOWEST, Fitting
from suite.metrics.stats.bootstrap import bootstrap, tails
from suite.metrics.stats.clusters import Groups, group_codes
from suite.metrics.stats.weights import WeightArray

TAILS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Tail probabilities at which the ends of intervals are stored; others are interpolated."""

_OFFSETS = np.array([0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6.5, 8, 11, 15])
"""Inverse temperatures at which the gradient is computed, in standard errors of the logarithm from the fitted one."""

_SEED = 0


def temperature_ends(
    logits: ArrayLike, labels: ArrayLike, temperature: float, groups: Groups | None = None
) -> dict[str, list[float]]:
    """Return the ends of one-sided intervals of a fitted temperature, as JSON values.

    A temperature solves mean(g) = 0, g being the expected logit less the label's. Each end is a quantile of its
    solutions in the Bayesian bootstrap with one imagined sample, whose g is the highest or the lowest conceivable
    (Gaffke's bound of a mean, inverted): the model may be wrong more often, or more confidently, than it was seen to
    be. So it holds for few errors, and for a model that no temperature calibrates.

    Args:
        logits: (n, classes) that the temperature was fitted on.
        labels: (n,) class indices.
        temperature: the fitted value.
        groups: the number of each sample's group, (n,); None if samples are independent.

    Returns:
        ``tails``, and for each of them the lower end ``lo`` and the upper end ``hi``.

    Raises:
        DataError: logits, labels or groups are invalid.
    """
    fitting = Fitting.of(logits, labels)
    codes = group_codes(groups, fitting.target.size)
    betas = _betas(fitting, 1.0 / temperature)
    gradients, margin = _gradients(fitting, betas)
    imagined = np.stack([np.maximum(gradients.max(axis=0), margin), gradients.min(axis=0)])
    units = gradients if codes is None else _sums(gradients, codes)
    scale = len(gradients) / len(units)
    low, high = bootstrap(_roots(units, scale * imagined, betas), len(units) + 1, seed=_SEED).T
    wanted = [tails(1 - 2 * tail, None if codes is None else len(units))[0] if tail < 0.5 else tail for tail in TAILS]
    ends = 1 / np.quantile(high, 1 - np.array(wanted)), 1 / np.quantile(low, wanted)
    return {"tails": list(TAILS), "lo": ends[0].tolist(), "hi": ends[1].tolist()}


def temperature_interval(
    temperature: float, ends: Mapping[str, Sequence[float]], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a temperature at a level from its stored ends, interpolated over normal quantiles."""
    from scipy.special import ndtri

    tail, known = ndtri(0.5 - level / 2), ndtri(np.asarray(ends["tails"]))
    lo, hi = (float(np.exp(np.interp(tail, known, np.log(ends[name])))) for name in ("lo", "hi"))
    return max(LOWEST, min(lo, temperature)), min(HIGHEST, max(hi, temperature))  # exp(log(x)) may be above x


def _betas(fitting: Fitting, beta: float) -> FloatArray:
    """Return increasing inverse temperatures around the fitted one."""
    gradients, slopes = fitting.rows(_gradient(np.array([beta])))[:2]
    error = np.sqrt(((gradients[:, 0] - fitting.target) ** 2).mean() / len(slopes)) / slopes.mean() / beta
    steps = np.concatenate([-_OFFSETS[:0:-1], _OFFSETS]) * error
    return np.unique(np.clip(beta * np.exp(np.clip(steps, -10, 10)), 1 / HIGHEST, 1 / LOWEST))


def _gradient(betas: FloatArray) -> Callable[[FloatArray], tuple[FloatArray, ...]]:
    """Return a function of logits less their row maximum, (rows, classes).

    It returns the expected logits (rows, betas), their variance at the last inverse temperature, (rows,), and the
    second largest logits, (rows,).
    """

    def reduced(shifted: FloatArray) -> tuple[FloatArray, ...]:
        expected = np.empty((len(shifted), len(betas)))
        for column, beta in enumerate(betas):
            weights = np.exp(beta * shifted)
            total = weights.sum(axis=1)
            expected[:, column] = np.einsum("nk,nk->n", weights, shifted) / total
        square = np.einsum("nk,nk,nk->n", weights, shifted, shifted) / total
        return expected, square - expected[:, -1] ** 2, np.partition(shifted, -2, axis=1)[:, -2]

    return reduced


def _gradients(fitting: Fitting, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return g (n, betas), and the median (betas,) of what it would be if a sample's second class were right."""
    expected, _, second = fitting.rows(_gradient(betas))
    return expected - fitting.target[:, None], np.median(expected - second[:, None], axis=0)


def _sums(values: FloatArray, groups: Groups) -> FloatArray:
    """Return the sums of values (n, k) over groups, (groups, k)."""
    return np.stack([np.bincount(groups, column) for column in values.T], axis=1).astype(np.float64)


def _roots(units: FloatArray, imagined: FloatArray, betas: FloatArray) -> Callable[[WeightArray], FloatArray]:
    """Return a function from weights (units + 1, r) to the solutions (r, 2) with either imagined value (2, betas)."""
    logs = np.log(betas)

    def roots(weights: WeightArray) -> FloatArray:
        sums = weights[:-1].T @ units.astype(np.float32)
        return np.stack([_crossing(logs, sums + weights[-1][:, None] * one) for one in imagined], axis=1)

    return roots


def _crossing(logs: FloatArray, sums: NDArray[np.floating[Any]]) -> FloatArray:
    """Return exp of where each row of increasing values (r, betas) crosses 0, the end of the range if it does not."""
    after = (sums < 0).sum(axis=1)
    right = np.clip(after, 1, len(logs) - 1)
    rows = np.arange(len(sums))
    below, above = sums[rows, right - 1], sums[rows, right]
    share = below / np.where(below == above, 1.0, below - above)
    inside = logs[right - 1] + share * (logs[right] - logs[right - 1])
    inside = np.where(after == 0, -np.log(HIGHEST), np.where(after == len(logs), -np.log(LOWEST), inside))
    return np.asarray(np.exp(inside))
