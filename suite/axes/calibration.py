"""Calibration and uncertainty: whether the model knows how sure it may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.axes.base import Context, Finding, seed_of
from suite.calibration import (
    Reliability,
    Temperature,
    calibration_measures,
    calibration_measures_from_probabilities,
    fit_temperature,
    temperature_interval,
)
from suite.errors import NotApplicableError
from suite.kinds.base import Array
from suite.models.trainer import seeded
from suite.registry import register
from suite.types import Measure, not_applicable

GROUP = 64
"""Samples per pass of Monte Carlo dropout: fixed, because a layer draws one mask for the whole batch it is given."""

METHODS = ("softmax", "softmax+temperature", "mc_dropout", "ensemble")


@dataclass(frozen=True)
class Predicted:
    """One way to predict: probabilities (n, classes) in float64, the logits where there are any, and conventions."""

    probabilities: Array
    logits: Array | None
    params: dict[str, Any]


@register("axis", name="calibration")
@dataclass(frozen=True)
class Calibration:
    """Calibration of the softmax, before and after temperature scaling, beside Monte Carlo dropout and an ensemble.

    Attributes:
        bins: equal-width bins of confidence.
        dropout_samples: forward passes of Monte Carlo dropout.
        members: trainings in the deep ensemble, the model itself among them.
    """

    bins: int = 15
    dropout_samples: int = 30
    members: int = 3

    def measure(self, context: Context) -> Finding:
        """Measure every way to predict; one that the model cannot offer becomes a skipped row with the reason.

        Raises:
            SuiteError: whatever else goes wrong, as the training of a member of the ensemble; the cell fails.
        """
        measures: list[Measure] = []
        columns: dict[str, Any] = {"id": list(context.test.ids), **self._truth(context)}
        reliability: dict[str, Any] = {}
        temperature, reason = self._temperature(context)
        ways: dict[str, Callable[[], Predicted]] = {
            "softmax": lambda: _softmax(context, 1.0),
            "softmax+temperature": lambda: _scaled(context, temperature, reason),
            "mc_dropout": lambda: self._dropout(context),
            "ensemble": lambda: self._ensemble(context),
        }
        for name, predict in ways.items():
            try:
                predicted = predict()
            except NotApplicableError as error:
                measures.append(not_applicable("ece", str(error), uncertainty=name))
                continue
            measures.extend(self._measures(context, name, predicted))
            answer = context.kind.answer(predicted.probabilities)
            correct = answer.prediction == context.test.targets
            columns |= {f"confidence@{name}": answer.confidence, f"correct@{name}": correct}
            reliability[name] = _diagram(Reliability.from_events(answer.confidence, correct, self.bins))
        measures.append(_temperature_measure(context, temperature, reason))
        details = {"reliability": reliability, "temperature": temperature.value if temperature else None}
        return Finding(measures, columns, details)

    def _measures(self, context: Context, name: str, predicted: Predicted) -> list[Measure]:
        options: dict[str, Any] = {
            "seed": seed_of(*context.names, name) % 2**32,
            "params": {"uncertainty": name, **predicted.params},
            "bins": self.bins,
        }
        if predicted.logits is not None:
            return calibration_measures(predicted.logits, context.test.targets, **options)
        return calibration_measures_from_probabilities(predicted.probabilities, context.test.targets, **options)

    def _truth(self, context: Context) -> dict[str, Any]:
        columns = context.kind.columns(context.outcomes)
        return {name: columns[name] for name in ("label", "prediction", "correct")}

    def _temperature(self, context: Context) -> tuple[Temperature | None, str]:
        validation = context.data.validation
        if not len(validation):
            return None, "the task has no validation samples to fit a temperature on"
        fit = fit_temperature(context.validation_output, validation.targets)
        return (
            (fit, "")
            if fit.converged
            else (None, f"no temperature is best on {len(validation)} validation samples: {fit.reason}")
        )

    def _dropout(self, context: Context) -> Predicted:
        if not context.model.dropout_layers():
            raise NotApplicableError("the model has no dropout layer to leave on")
        total = np.zeros((len(context.test), len(context.data.info.classes)))
        rows = np.arange(len(context.test))
        with context.model.frozen(dropout=True), torch.no_grad():
            for batch in context.batches(rows, "Monte Carlo dropout", GROUP):
                pixels = context.pixels[torch.from_numpy(batch).to(context.device)]
                with seeded(seed_of(*context.names, "dropout", context.test.ids[batch[0]]), context.device):
                    for _ in range(self.dropout_samples):
                        total[batch] += context.kind.probabilities(context.model(pixels).float().cpu().numpy())
        return Predicted(total / self.dropout_samples, None, {"samples": self.dropout_samples})

    def _ensemble(self, context: Context) -> Predicted:
        members = context.members(self.members)
        outputs = [context.kind.probabilities(context.forward(context.test, member)) for member in members]
        return Predicted(np.mean(outputs, axis=0), None, {"members": self.members})


def _diagram(state: Reliability) -> dict[str, Any]:
    """Return a reliability diagram: edges, and per bin the count and the mean confidence and correctness."""

    def means(sums: Array) -> list[float | None]:
        return [float(s / c) if c else None for s, c in zip(sums, state.counts, strict=True)]

    return {
        "edges": state.edges.tolist(),
        "count": state.counts.tolist(),
        "confidence": means(state.confidence_sums),
        "accuracy": means(state.correct_sums),
    }


def _softmax(context: Context, temperature: float) -> Predicted:
    logits = context.outcomes.output.astype(np.float64) / temperature
    return Predicted(context.kind.probabilities(logits), logits, {})


def _scaled(context: Context, temperature: Temperature | None, reason: str) -> Predicted:
    if temperature is None:
        raise NotApplicableError(reason)
    return _softmax(context, temperature.value)


def _temperature_measure(context: Context, temperature: Temperature | None, reason: str) -> Measure:
    if temperature is None:
        return not_applicable("temperature", reason)
    validation = context.data.validation
    lo, hi = temperature_interval(context.validation_output, validation.targets, temperature.value)
    return Measure(
        "temperature",
        temperature.value,
        lo,
        hi,
        len(validation),
        "sandwich",
        unit="ratio",
        higher_is_better=None,
        params={"fitted_on": "validation"},
    )
