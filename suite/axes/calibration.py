"""Calibration and uncertainty: whether the model knows how sure it may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.axes.base import AxisResult, Context
from suite.data.digests import seed_of
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Calibrated, Rescaling
from suite.models.training.trainer import seeded
from suite.registry import register
from suite.types import Measure, not_applicable

GROUP = 64
"""Samples per pass of Monte Carlo dropout: fixed, because a layer draws one mask for the whole batch it is given."""


@dataclass(frozen=True)
class Predicted:
    """One way to predict: distributions (n, ...) in float64, the output they come from, if any, and conventions."""

    probabilities: Array
    output: Array | None
    params: dict[str, Any]


@register("axis", name="calibration")
@dataclass(frozen=True)
class Calibration:
    """Calibration of what the model says, before and after a correction, beside Monte Carlo dropout and an ensemble.

    Attributes:
        bins: equal-width bins of confidence.
        dropout_samples: forward passes of Monte Carlo dropout.
        members: trainings in the deep ensemble, the model itself among them; 1 for none.
    """

    bins: int = 15
    dropout_samples: int = 30
    members: int = 3

    def measure(self, context: Context) -> AxisResult:
        """Measure every way to predict; one that the model cannot offer becomes a skipped row with the reason.

        Raises:
            SuiteError: whatever else goes wrong, as the training of a member of the ensemble; the cell fails.
        """
        kind, measures = context.kind, list[Measure]()
        columns: dict[str, Any] = {"id": list(context.test.ids), **kind.columns(context.outcomes)}
        reliability: dict[str, Any] = {}
        rescaling, reason = self._rescaling(context)
        ways: dict[str, Callable[[], Predicted]] = {
            kind.default_uncertainty: lambda: _plain(context),
            f"{kind.default_uncertainty}+temperature": lambda: _rescaled(context, rescaling, reason),
            "mc_dropout": lambda: self._dropout(context),
            "ensemble": lambda: self._ensemble(context),
        }
        for name, predict in ways.items():
            try:
                found = self._calibrated(context, name, predict())
            except NotApplicableError as error:
                measures.append(not_applicable(kind.calibration_metric, str(error), uncertainty=name))
                continue
            measures += found.measures
            columns |= {f"{column}@{name}": values for column, values in found.columns.items()}
            reliability[name] = found.reliability
        measures.append(rescaling.measure if rescaling else not_applicable("temperature", reason))
        with context.model.frozen(), torch.no_grad():
            measures += kind.uncertainty(context.outcomes)
        temperature = rescaling.measure.value if rescaling else None
        return AxisResult(measures, columns, {"reliability": reliability, "temperature": temperature})

    def _calibrated(self, context: Context, name: str, predicted: Predicted) -> Calibrated:
        return context.kind.calibrated(
            predicted.probabilities,
            predicted.output,
            context.test.targets,
            seed=seed_of(*context.names, name) % 2**32,
            params={"uncertainty": name, **predicted.params},
            bins=self.bins,
        )

    def _rescaling(self, context: Context) -> tuple[Rescaling | None, str]:
        validation = context.data.validation
        if not len(validation):
            return None, "the task has no validation samples to fit a temperature on"
        try:
            return context.kind.rescaling(context.validation_output, validation.targets), ""
        except NotApplicableError as error:
            return None, str(error)

    def _dropout(self, context: Context) -> Predicted:
        _refuse_ensemble(context)
        if not context.model.dropout_layers():
            raise NotApplicableError("the model has no dropout layer to leave on")
        parts = []
        with context.model.frozen(dropout=True), torch.no_grad():
            for batch in context.batches(np.arange(len(context.test)), "Monte Carlo dropout", GROUP):
                pixels = context.pixels[torch.from_numpy(batch).to(context.device)]
                with seeded(seed_of(*context.names, "dropout", context.test.ids[batch[0]]), context.device):
                    total = context.kind.probabilities(context.model(pixels).float().cpu().numpy())
                    for _ in range(self.dropout_samples - 1):
                        total += context.kind.probabilities(context.model(pixels).float().cpu().numpy())
                parts.append(total / self.dropout_samples)
        return Predicted(np.concatenate(parts), None, {"samples": self.dropout_samples})

    def _ensemble(self, context: Context) -> Predicted:
        _refuse_ensemble(context)
        if self.members < 2:
            raise NotApplicableError(f"members={self.members}: an ensemble was not asked for")
        members = context.members(self.members)
        return Predicted(_mean(context, members), None, {"members": self.members})


def _mean(context: Context, members: Sequence[Any]) -> Array:
    total = context.kind.probabilities(context.forward(context.test, members[0]))
    for member in members[1:]:
        total += context.kind.probabilities(context.forward(context.test, member))
    return np.asarray(total / len(members))


def _refuse_ensemble(context: Context) -> None:
    if context.kind.no_ensemble_reason:
        raise NotApplicableError(context.kind.no_ensemble_reason)


def _plain(context: Context) -> Predicted:
    output = context.outcomes.output
    return Predicted(context.kind.probabilities(output), output, {})


def _rescaled(context: Context, rescaling: Rescaling | None, reason: str) -> Predicted:
    if rescaling is None:
        raise NotApplicableError(reason)
    output = rescaling.apply(context.outcomes.output)
    return Predicted(context.kind.probabilities(output), output, {})
