"""Calibration and uncertainty: whether predicted confidence matches accuracy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.axes.base import AxisResult, Context
from suite.data.digests import seed_of
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Array, Calibrated, Rescaling
from suite.models.training.trainer import seeded
from suite.registry import register
from suite.types import Measure, not_applicable

GROUP = 64
"""Batch size of Monte Carlo dropout; fixed, because a dropout layer draws the masks of a whole batch together."""


@dataclass(frozen=True)
class Prediction:
    """Predicted distributions (n, ...) in float64, the raw outputs they come from, if any, and params of their rows."""

    probabilities: Array
    output: Array | None
    params: dict[str, Any]


@register("axis", name="calibration")
@dataclass(frozen=True)
class Calibration:
    """Calibration before and after temperature scaling, of Monte Carlo dropout and of a deep ensemble.

    Attributes:
        bins: number of equal-width confidence bins.
        dropout_samples: number of forward passes of Monte Carlo dropout.
        members: size of the deep ensemble, the model itself included; 1 for no ensemble.
    """

    bins: int = 15
    dropout_samples: int = 30
    members: int = 3

    def __post_init__(self) -> None:
        if min(self.bins, self.dropout_samples, self.members) < 1:
            raise SpecError(
                f"bins={self.bins}, dropout_samples={self.dropout_samples}, members={self.members}; expected "
                "numbers of at least 1."
            )

    def measure(self, context: Context) -> AxisResult:
        """Measure every uncertainty method; one that the model does not support becomes a skipped row with the reason.

        Raises:
            SuiteError: anything else failed, for example the training of an ensemble member; the cell fails.
        """
        kind, measures = context.kind, list[Measure]()
        columns: dict[str, Any] = {"id": list(context.test.ids), **kind.columns(context.outcomes)}
        reliability: dict[str, Any] = {}
        rescaling, reason = self._rescaling(context)
        methods: dict[str, Callable[[], Prediction]] = {
            kind.default_uncertainty: lambda: _from_output(context, context.outcomes.output),
            f"{kind.default_uncertainty}+temperature": lambda: _rescaled(context, rescaling, reason),
            "mc_dropout": lambda: self._dropout(context),
            "ensemble": lambda: self._ensemble(context),
        }
        for name, predict in methods.items():
            try:
                result = self._calibrated(context, name, predict())
            except NotApplicableError as error:
                measures.append(not_applicable(kind.calibration_metric, str(error), uncertainty=name))
                continue
            measures += result.measures
            columns |= {f"{column}@{name}": values for column, values in result.columns.items()}
            reliability[name] = result.reliability
        measures.append(rescaling.measure if rescaling else not_applicable("temperature", reason))
        with context.model.frozen(), torch.no_grad():
            measures += kind.uncertainty(context.outcomes)
        temperature = rescaling.measure.value if rescaling else None
        return AxisResult(measures, columns, {"reliability": reliability, "temperature": temperature})

    def _calibrated(self, context: Context, name: str, prediction: Prediction) -> Calibrated:
        return context.kind.calibrated(
            prediction.probabilities,
            prediction.output,
            context.test.targets,
            seed=seed_of(*context.names, name) % 2**32,
            params={"uncertainty": name, **prediction.params},
            bins=self.bins,
        )

    def _rescaling(self, context: Context) -> tuple[Rescaling | None, str]:
        validation = context.data.validation
        if not len(validation):
            return None, "the task has no validation samples to fit a temperature to"
        try:
            return context.kind.rescaling(context.validation_output, validation.targets), ""
        except NotApplicableError as error:
            return None, str(error)

    def _dropout(self, context: Context) -> Prediction:
        _refuse_ensemble(context)
        if not context.model.dropout_layers():
            raise NotApplicableError("the model has no dropout layer")
        parts = []
        with context.model.frozen(dropout=True), torch.no_grad():
            for batch in context.batches(np.arange(len(context.test)), "Monte Carlo dropout", GROUP):
                pixels = context.pixels[torch.from_numpy(batch).to(context.device)]
                with seeded(seed_of(*context.names, "dropout", context.test.ids[batch[0]]), context.device):
                    total = sum(
                        context.kind.probabilities(context.model(pixels).float().cpu().numpy())
                        for _ in range(self.dropout_samples)
                    )
                parts.append(np.asarray(total / self.dropout_samples))
        return Prediction(np.concatenate(parts), None, {"samples": self.dropout_samples})

    def _ensemble(self, context: Context) -> Prediction:
        _refuse_ensemble(context)
        if self.members < 2:
            raise NotApplicableError(f"members={self.members}: no ensemble was requested")
        members = context.members(self.members)
        total = sum(context.kind.probabilities(context.forward(context.test, member)) for member in members)
        return Prediction(np.asarray(total / len(members)), None, {"members": self.members})


def _refuse_ensemble(context: Context) -> None:
    if context.kind.no_ensemble_reason:
        raise NotApplicableError(context.kind.no_ensemble_reason)


def _from_output(context: Context, output: Array) -> Prediction:
    return Prediction(context.kind.probabilities(output), output, {})


def _rescaled(context: Context, rescaling: Rescaling | None, reason: str) -> Prediction:
    if rescaling is None:
        raise NotApplicableError(reason)
    return _from_output(context, rescaling.apply(context.outcomes.output))
