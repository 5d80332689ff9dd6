"""Calibration and uncertainty: whether predicted confidence matches accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from suite.axes.base import AxisResult, Context
from suite.axes.clean import measured_outputs
from suite.axes.registered import entries_of, measured_by, metrics_of, more_measured, summaries
from suite.axes.rounds import Round, State
from suite.axes.uncertainty import Options
from suite.data import Split
from suite.data.digests import seed_of
from suite.errors import NotApplicableError, SpecError, UndeterminedError
from suite.kinds.base import Kind, NotApplicable, Rescaling, Undetermined, optional, required
from suite.kinds.logits import checked_scale
from suite.metrics.calibration import temperature_interval
from suite.metrics.catalogue import Metric
from suite.metrics.stats.clusters import Groups, group_codes
from suite.metrics.stats.means import BOUNDED
from suite.metrics.table import Column, Part, Table, collected, combined
from suite.registry import REGISTRY, Entry, register
from suite.types import Measure, not_applicable

TEMPERATURE = Metric(
    "temperature",
    "temperature",
    "scaling of the confidence, fitted on validation samples: above 1 lowers it, below 1 raises it",
    unit="ratio",
    higher_is_better=None,
)

MOST_BINS = 10_000
"""Most confidence bins; with more, memory and time would be those of empty bins."""


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
        if self.bins > MOST_BINS:
            raise SpecError(f"bins={self.bins}; expected at most {MOST_BINS:,}, since empty bins say nothing.")

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of the registered metrics of the kind, and of the temperature."""
        of_methods, of_model = metrics_of(kind, "calibration", per_method=True), metrics_of(kind, "calibration")
        return list(dict.fromkeys((*entries_of(of_methods), TEMPERATURE, *entries_of(of_model))))

    def measure(self, context: Context) -> AxisResult:
        """Run every uncertainty method; one that the model does not support stores the reason.

        Raises:
            SuiteError: anything else failed, for example the training of an ensemble member; the cell fails.
        """
        known = context.run(Round("outputs", measured_outputs, context.cohort))
        methods = [
            context.run(Round(f"uncertainty {entry.name}", self._measured, context.cohort), state={"entry": entry.name})
            for entry in uncertainty_methods()
        ]
        of_methods = [column for method in methods for column in method.columns]
        measured = combined([known, Part(of_methods), more_measured(context, "calibration")])
        own = {
            "methods": [_method(part) for part in methods],
            "temperature": _fitted(self._rescaling(context), context.data.validation),
            "bins": self.bins,
        }
        return AxisResult(
            [Column("id", context.ids), *measured.columns], {**context.facts, **measured.all_facts, **own}
        )

    def _measured(self, context: Context, state: State) -> Part:
        """Run one uncertainty method on one cohort."""
        entry = REGISTRY.get("uncertainty", state["entry"])
        label = _label(entry, context.kind)
        options = Options(label, self.bins, self.dropout_samples, self.members, self._rescaling(context))
        try:
            prediction = entry.factory(context, options)
        except NotApplicableError as error:
            return Part(facts={"params": {"uncertainty": label}, "reason": str(error)})
        params = {"uncertainty": label, **prediction.params}
        part = collected(measured_by(metrics_of(context.kind, "calibration", per_method=True), prediction), **params)
        return replace(part, facts={"params": params, "facts": part.facts})

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
        measures += [_temperature(table), *summaries(metrics_of(kind, "calibration"), table)]
        return checked_scale(measures, table.facts, kind.logits)

    def _rescaling(self, context: Context) -> Rescaling | NotApplicable:
        """Return the recalibration fitted on validation samples, or the reason why there is none."""
        fitted: Rescaling | NotApplicable = context.once("rescaling", lambda: _rescaled(context))
        return fitted


def _rescaled(context: Context) -> Rescaling | NotApplicable:
    validation = context.data.validation
    if not len(validation):
        return NotApplicable("the task has no validation samples to fit a temperature to")
    try:
        return required(context.kind.probabilities).rescaling(context.validation_output, validation.targets)
    except UndeterminedError as error:
        return Undetermined(str(error))
    except NotApplicableError as error:
        return NotApplicable(str(error))


def _method(part: Part) -> dict[str, Any]:
    """Return what is known of an uncertainty method: its params, and its facts or the reason why it does not apply."""
    if "reason" in part.facts:
        return dict(part.facts)
    sums = {name: value.to_json() for name, value in part.sums.items()}
    return {**part.facts, "facts": {**part.facts["facts"], **sums}}


def uncertainty_methods() -> list[Entry]:
    """Return the registered uncertainty methods in the order in which they run."""
    return sorted(REGISTRY.names("uncertainty"), key=lambda entry: (entry.meta["rank"], entry.name))


def _label(entry: Entry, kind: Kind) -> str:
    """Return the name of an uncertainty method in the rows of a kind."""
    probabilities = optional(kind.probabilities)
    own = "output" if probabilities is None else probabilities.method
    return str(entry.meta["label"] or entry.name).format(output=own)


def _fitted(rescaling: Rescaling | NotApplicable, validation: Split) -> dict[str, Any]:
    """Return a recalibration as JSON values."""
    match rescaling:
        case Undetermined(reason):
            return {"reason": reason, "n": len(validation)}
        case NotApplicable(reason):
            return {"reason": reason}
        case Rescaling(value=value, n=n, ends=ends):
            groups = _codes(validation)
            count = None if groups is None else int(groups.max()) + 1
            return {"value": value, "n": n, "ends": ends and dict(ends(groups)), "groups": ends and count}


def _codes(samples: Split) -> Groups | None:
    """Return the number of each sample's group; None if there are none."""
    names = samples.group_names
    return None if names is None else group_codes(np.unique(names, return_inverse=True)[1], len(names))


def _temperature(table: Table) -> Measure:
    fitted, params = table.facts["temperature"], {"fitted_on": "validation"}
    if "n" not in fitted:
        return not_applicable(TEMPERATURE.name, fitted["reason"])
    if "reason" in fitted:
        return table.undefined(TEMPERATURE, fitted["reason"], n=fitted["n"], params=params)
    value, ends = fitted["value"], fitted["ends"]
    lo, hi = (None, None) if ends is None else temperature_interval(value, ends, table.level)
    method = "none" if ends is None else BOUNDED
    fields = table.fields(TEMPERATURE, params=params, groups=fitted["groups"])
    return Measure(TEMPERATURE.name, value, lo, hi, fitted["n"], method, table.level, **fields)
