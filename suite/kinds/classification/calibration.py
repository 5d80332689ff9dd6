"""Calibration of classifiers: one distribution and one label per sample."""

from typing import Any

import numpy as np

from suite.errors import NotApplicableError
from suite.kinds.base import Array, Calibrated, Rescaling
from suite.metrics.calibration import (
    Reliability,
    calibration_measures,
    calibration_measures_from_probabilities,
    fit_temperature,
    temperature_interval,
)
from suite.types import Measure


def calibrated(predicted: Array, output: Array | None, targets: Array, *, bins: int, **options: Any) -> Calibrated:
    """Return the calibration of distributions (n, classes), by way of the logits where there are any."""
    measures = (
        calibration_measures_from_probabilities(predicted, targets, bins=bins, **options)
        if output is None
        else calibration_measures(output, targets, bins=bins, **options)
    )
    confidence, correct = predicted.max(axis=1).clip(0, 1), predicted.argmax(axis=1) == targets
    diagram = Reliability.from_events(confidence, correct, bins).diagram()
    return Calibrated(measures, {"confidence": confidence, "correct": correct}, diagram)


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits validation logits (n, classes).

    Raises:
        NotApplicableError: no temperature is best.
    """
    fit = fit_temperature(output, targets)
    if not fit.converged:
        raise NotApplicableError(f"no temperature is best on {len(targets)} validation samples: {fit.reason}")
    lo, hi = temperature_interval(output, targets, fit.value)
    return by_temperature(fit.value, lo, hi, len(targets))


def by_temperature(value: float, lo: float | None, hi: float | None, n: int) -> Rescaling:
    """Return the division of logits by a temperature that n samples gave, with its sandwich interval if it has one."""
    fields: dict[str, Any] = {"unit": "ratio", "higher_is_better": None, "params": {"fitted_on": "validation"}}
    measure = Measure("temperature", value, lo, hi, n, "none" if lo is None else "sandwich", **fields)
    return Rescaling(lambda logits: np.asarray(logits.astype(np.float64) / value), measure)
