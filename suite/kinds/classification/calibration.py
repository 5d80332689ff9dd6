"""Calibration of classifiers, and the temperature scaling that other kinds share."""

from dataclasses import replace
from functools import partial

import numpy as np

from suite.decorators import metric
from suite.errors import UndeterminedError
from suite.kinds.base import Array, Prediction, Rescaling
from suite.metrics.calibration import (
    CALIBRATION_METRICS,
    Diagram,
    Predictions,
    Reliability,
    calibration_measures,
    fit_temperature,
    temperature_ends,
)
from suite.metrics.calibration.top import top_labels
from suite.metrics.table import Measured, Table
from suite.types import Measure


def distributions(prediction: Prediction) -> Measured:
    """Return label, distribution, log-likelihood, confidence and correctness of each sample, and a reliability diagram.

    They are computed from the logits where there are any.
    """
    build, values = (
        (Predictions.from_probabilities, prediction.predicted)
        if prediction.output is None
        else (Predictions.from_logits, prediction.output)
    )
    checked = build(values, prediction.targets)
    predicted = prediction.predicted
    confidence, correct = top_labels(predicted, checked.labels)
    confidence = confidence.clip(0, 1)
    columns = {
        "label": checked.labels,
        "probabilities": checked.probabilities,
        "log_likelihood": checked.log_likelihood,
        "confidence": confidence,
        "correct": correct,
    }
    diagram = Diagram(Reliability.from_events(confidence, correct, prediction.bins))
    return Measured(columns, sums={"reliability": diagram})


@metric(
    kind="classification", axis="calibration", per_method=True, entries=CALIBRATION_METRICS, measure=distributions
)  # fmt: skip
def classification_calibration(table: Table) -> list[Measure]:
    """Calibration errors, proper scores and selective accuracy of predictive distributions."""
    predictions = Predictions(table["probabilities"], table["label"], table["log_likelihood"])
    bins = int(table.facts["bins"])
    return calibration_measures(
        predictions, seed=table.seed, params=table.params, bins=bins, level=table.level, groups=table.groups
    )


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits validation logits (n, classes).

    Raises:
        UndeterminedError: no temperature is best.
    """
    temperature = best_temperature(output, targets, "samples")
    ends = partial(temperature_ends, output, targets, temperature)
    return replace(temperature_scaling(temperature, len(targets)), ends=ends)


def best_temperature(logits: Array, labels: Array, unit: str) -> float:
    """Return the temperature of the lowest negative log-likelihood of labels (m,) given logits (m, classes).

    Raises:
        UndeterminedError: no temperature is best; `unit` names what the labels belong to.
    """
    fit = fit_temperature(logits, labels)
    if not fit.converged:
        raise UndeterminedError(f"no temperature is best on {len(labels)} validation {unit}: {fit.reason}")
    return fit.value


def temperature_scaling(value: float, n: int) -> Rescaling:
    """Return the division of logits by a temperature fitted on n samples."""
    return Rescaling(lambda logits: np.asarray(logits.astype(np.float64) / value), value, n)
