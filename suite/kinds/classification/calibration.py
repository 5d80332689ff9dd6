"""Calibration of classifiers, and the temperature scaling that other kinds share."""

from typing import Any

import numpy as np

from suite.errors import NotApplicableError
from suite.kinds.base import Array, Calibrated, Rescaling
from suite.metrics.calibration import (
    Predictions,
    Reliability,
    calibration_measures,
    fit_temperature,
    temperature_interval,
)
from suite.types import Measure


def calibrated(predicted: Array, output: Array | None, targets: Array, *, bins: int, **options: Any) -> Calibrated:
    """Return the calibration of distributions (n, classes), computed from the logits if they are given."""
    predictions = (
        Predictions.from_probabilities(predicted, targets)
        if output is None
        else Predictions.from_logits(output, targets)
    )
    measures = calibration_measures(predictions, bins=bins, **options)
    confidence, correct = predicted.max(axis=1).clip(0, 1), predicted.argmax(axis=1) == targets
    diagram = Reliability.from_events(confidence, correct, bins).diagram()
    return Calibrated(measures, {"confidence": confidence, "correct": correct}, diagram)


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits validation logits (n, classes).

    Raises:
        NotApplicableError: no temperature is best.
    """
    temperature = best_temperature(output, targets, "samples")
    interval = temperature_interval(output, targets, temperature)
    return temperature_scaling(temperature, len(targets), interval)


def best_temperature(logits: Array, labels: Array, unit: str) -> float:
    """Return the temperature of the lowest negative log-likelihood of labels (m,) given logits (m, classes).

    Raises:
        NotApplicableError: no temperature is best; `unit` names what the labels belong to.
    """
    fit = fit_temperature(logits, labels)
    if not fit.converged:
        raise NotApplicableError(f"no temperature is best on {len(labels)} validation {unit}: {fit.reason}")
    return fit.value


def temperature_scaling(value: float, n: int, interval: tuple[float | None, float | None] = (None, None)) -> Rescaling:
    """Return the division of logits by a temperature fitted on n samples, with its sandwich interval if it has one."""
    method = "none" if interval[0] is None else "sandwich"
    fields: dict[str, Any] = {"unit": "ratio", "higher_is_better": None, "params": {"fitted_on": "validation"}}
    measure = Measure("temperature", value, *interval, n, method, **fields)
    return Rescaling(lambda logits: np.asarray(logits.astype(np.float64) / value), measure)
