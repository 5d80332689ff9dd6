"""Temperature scaling by a safeguarded Newton search in one dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.metrics.blocks import row_blocks
from suite.metrics.calibration.inputs import FloatArray, as_labels, checked_logits

LOWEST, HIGHEST = 0.01, 100.0
"""Range of temperatures searched."""

_TOLERANCE = 1e-10
_MAX_STEPS = 60


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature: divide logits by `value`.

    Attributes:
        value: T in 0.01..100.
        nll_before, nll_after: mean negative log-likelihood, in nats, of the fitting set at T = 1 and at `value`.
        gradient: derivative of the mean nll with respect to 1/T at `value`.
        steps: Newton or bisection steps taken.
        converged: whether `value` is the optimum; if not, `reason` says why.
        reason: None, or why `value` is not the optimum.
    """

    value: float
    nll_before: float
    nll_after: float
    gradient: float
    steps: int
    converged: bool
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Fitting:
    """Logits and labels to fit a temperature on; they are converted to float64 in blocks.

    Attributes:
        logits: (n, classes) as given.
        peaks: (n, 1) the largest logit of each row, float64.
        target: (n,) the logit of the label less the largest, float64.
    """

    logits: NDArray[Any]
    peaks: FloatArray
    target: FloatArray

    @classmethod
    def of(cls, logits: ArrayLike, labels: ArrayLike) -> Self:
        """Check and build; raise DataError if logits or labels are invalid."""
        array = checked_logits(logits)
        index = as_labels(labels, *array.shape)
        peaks = array.max(axis=1, keepdims=True).astype(np.float64)
        return cls(array, peaks, array[np.arange(index.size), index].astype(np.float64) - peaks[:, 0])

    def rows(self, reduced: Callable[[FloatArray], tuple[FloatArray, ...]]) -> list[FloatArray]:
        """Return per-row results, (n,) each, of a function of logits less their row maximum, (rows, classes)."""
        blocks = row_blocks(self.logits.shape)
        parts = [reduced(self.logits[rows].astype(np.float64) - self.peaks[rows]) for rows in blocks]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    @cached_property
    def spread(self) -> float:
        """The largest difference of two logits of a row."""
        (lowest,) = self.rows(lambda shifted: (shifted.min(axis=1),))
        return -float(lowest.min())

    @property
    def tolerance(self) -> float:
        """The derivative of the mean nll that counts as zero; it is in units of the logits, which may be tiny."""
        return _TOLERANCE * min(1.0, self.spread)

    def moments(self, beta: float) -> tuple[float, float, float]:
        """Return at inverse temperature beta the mean nll, the mean expected logit, and the latter's derivative.

        Logits less their row maximum have exponentials in [0, 1]. The nll's derivative is the mean expected logit less
        the mean logit of the label.
        """

        def reduced(shifted: FloatArray) -> tuple[FloatArray, ...]:
            weights = np.exp(beta * shifted)
            total = weights.sum(axis=1)
            weights *= shifted
            expected = weights.sum(axis=1) / total
            return np.log(total), expected, np.einsum("nk,nk->n", weights, shifted) / total - expected * expected

        logs, expected, variance = self.rows(reduced)
        return float((logs - beta * self.target).mean()), float(expected.mean()), float(variance.mean())

    def without_optimum(self) -> tuple[float, str] | None:
        """Return the temperature to use, and why, if no finite positive temperature is optimal."""
        if not self.spread:
            return 1.0, "all logits of a row are equal, so that every temperature gives the same probabilities"
        if not self.target.any():
            return LOWEST, "every label already has the largest logit, so that the optimum is T -> 0"
        (means,) = self.rows(lambda shifted: (shifted.mean(axis=1),))
        if float((means - self.target).mean()) >= 0:
            reason = "the labels' logits do not exceed the mean logit of a row, so that the optimum is T -> infinity"
            return HIGHEST, reason
        return None


def _propose(beta: float, expected: float, variance: float, wanted: float, low: float, high: float) -> float:
    """Return the Newton step if it stays inside the bracket, else the geometric mean of the bracket's ends.

    Newton's method solves log(-expected) = log(-wanted) over log(beta), in which it is nearly linear, so that
    temperatures far above and far below 1 take about five steps.
    """
    if expected < 0 and variance > 0:
        slope = beta * variance / expected
        step = (math.log(-wanted) - math.log(-expected)) / slope
        proposal = beta * math.exp(min(max(step, -10.0), 10.0))
        if low < proposal < high:
            return proposal
    return math.sqrt(low * high)


def _search(fitting: Fitting) -> tuple[float, int]:
    low, high, beta, wanted = 1.0 / HIGHEST, 1.0 / LOWEST, 1.0, float(fitting.target.mean())
    for step in range(_MAX_STEPS):
        _, expected, variance = fitting.moments(beta)
        if abs(expected - wanted) <= fitting.tolerance or high - low <= 4e-16 * high:
            return beta, step
        low, high = (beta, high) if expected < wanted else (low, beta)
        beta = _propose(beta, expected, variance, wanted, low, high)
    return beta, _MAX_STEPS


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> Temperature:
    """Fit the temperature that minimizes the mean negative log-likelihood of the labels.

    The nll is convex in 1/T. Fit on samples different from those on which calibration is measured.

    Args:
        logits: (n, classes) finite, float16, float32 or float64; computed in float64.
        labels: (n,) class indices.

    Returns:
        The temperature. If none is optimal (separable labels, or labels no better than chance), an end of 0.01..100
        with ``converged`` false and a reason. The nll never exceeds that of T = 1.

    Raises:
        DataError: logits or labels are invalid.
    """
    fitting = Fitting.of(logits, labels)
    target, before = fitting.target, fitting.moments(1.0)[0]
    if no_optimum := fitting.without_optimum():
        (value, reason), steps = no_optimum, 0
    else:
        beta, steps = _search(fitting)
        value, reason = 1.0 / beta, ""
    after, expected, _ = fitting.moments(1.0 / value)
    gradient = expected - float(target.mean())
    if not reason and abs(gradient) > fitting.tolerance * max(1.0, float(np.abs(target).mean())):
        reason = f"the gradient is still {gradient:.3g}; the optimum lies outside {LOWEST}..{HIGHEST}"
    if after > before:
        # The nll is convex, so only rounding next to T = 1 can make it worse.
        value, after = 1.0, before
    return Temperature(value, before, after, gradient, steps, not reason, reason or None)
