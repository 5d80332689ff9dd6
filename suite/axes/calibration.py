"""Calibration and uncertainty: whether predicted confidence matches accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from suite.axes.base import AxisResult, Context
from suite.axes.registered import entries_of, measured_by, metrics_of, summaries
from suite.axes.uncertainty import Options
from suite.data.digests import seed_of
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Kind, NotApplicable, Rescaling, optional, required
from suite.metrics.calibration import temperature_interval
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Table, collected
from suite.registry import REGISTRY, Entry, register
from suite.types import Measure, not_applicable

TEMPERATURE = Metric(
    "temperature",
    "temperature",
    "scaling of the confidence, fitted on validation samples: above 1 lowers it, below 1 raises it",
    unit="ratio",
    higher_is_better=None,
)


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

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of the registered metrics of the kind, and of the temperature."""
        of_methods, of_model = metrics_of(kind, "calibration", per_method=True), metrics_of(kind, "calibration")
        return list(dict.fromkeys((*entries_of(of_methods), TEMPERATURE, *entries_of(of_model))))

    def measure(self, context: Context) -> AxisResult:
        """Run every uncertainty method; one that the model does not support stores the reason.

        Raises:
            SuiteError: anything else failed, for example the training of an ensemble member; the cell fails.
        """
        kind = context.kind
        columns, facts = collected([kind.scoring.measured(context.outcomes)])
        rescaling = self._rescaling(context)
        methods: list[dict[str, Any]] = []
        for entry in uncertainty_methods():
            label = _label(entry, kind)
            options = Options(label, self.bins, self.dropout_samples, self.members, rescaling)
            try:
                prediction = entry.factory(context, options)
            except NotApplicableError as error:
                methods.append({"params": {"uncertainty": label}, "reason": str(error)})
                continue
            params = {"uncertainty": label, **prediction.params}
            parts = measured_by(metrics_of(kind, "calibration", per_method=True), prediction)
            own, values = collected(parts, **params)
            columns += own
            methods.append({"params": params, "facts": values})
        with context.model.frozen(), torch.no_grad():
            more, further = collected(measured_by(metrics_of(kind, "calibration"), context.outcomes))
        known = {(column.population, column.name) for column in columns if not column.params}
        columns += [column for column in more if (column.population, column.name) not in known]
        own_facts = {"methods": methods, "temperature": _fitted(rescaling), "bins": self.bins}
        return AxisResult([Column("id", context.ids), *columns], {**context.facts, **facts, **further, **own_facts})

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute every registered metric for every uncertainty method and the model, and the temperature."""
        metrics, measures = metrics_of(kind, "calibration", per_method=True), list[Measure]()
        for method in table.facts["methods"]:
            params = method["params"]
            if "reason" in method:
                measures += [not_applicable(one.name, method["reason"], **params) for one in entries_of(metrics)[:1]]
                continue
            seed = seed_of(*table.facts["names"], params["uncertainty"]) % 2**32
            measures += summaries(metrics, table.at(**params).with_facts(method["facts"]).with_seed(seed))
        return [*measures, _temperature(table), *summaries(metrics_of(kind, "calibration"), table)]

    def _rescaling(self, context: Context) -> Rescaling | NotApplicable:
        """Return the recalibration fitted on validation samples, or the reason why there is none."""
        validation = context.data.validation
        if not len(validation):
            return NotApplicable("the task has no validation samples to fit a temperature to")
        try:
            return required(context.kind.probabilities).rescaling(context.validation_output, validation.targets)
        except NotApplicableError as error:
            return NotApplicable(str(error))


def uncertainty_methods() -> list[Entry]:
    """Return the registered uncertainty methods in the order in which they run."""
    return sorted(REGISTRY.names("uncertainty"), key=lambda entry: (entry.meta["rank"], entry.name))


def _label(entry: Entry, kind: Kind) -> str:
    """Return the name of an uncertainty method in the rows of a kind."""
    probabilities = optional(kind.probabilities)
    own = "output" if probabilities is None else probabilities.method
    return str(entry.meta["label"] or entry.name).format(output=own)


def _fitted(rescaling: Rescaling | NotApplicable) -> dict[str, Any]:
    """Return a recalibration as JSON values."""
    match rescaling:
        case NotApplicable(reason):
            return {"reason": reason}
        case Rescaling(value=value, n=n, error=error):
            return {"value": value, "n": n, "error": error}


def _temperature(table: Table) -> Measure:
    fitted = table.facts["temperature"]
    if "reason" in fitted:
        return not_applicable(TEMPERATURE.name, fitted["reason"])
    value, error = fitted["value"], fitted["error"]
    lo, hi = (None, None) if error is None else temperature_interval(value, error, table.level)
    method = "none" if error is None else "sandwich"
    fields = table.fields(TEMPERATURE, params={"fitted_on": "validation"})
    return Measure(TEMPERATURE.name, value, lo, hi, fitted["n"], method, table.level, **fields)
