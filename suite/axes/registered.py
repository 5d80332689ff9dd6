"""Registered metrics of an axis: what they measure with the model, and their measures from stored columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from suite.axes.base import SKIPPED, Context
from suite.axes.rounds import Round, State
from suite.errors import NotApplicableError, PluginError
from suite.kinds.base import Array, Kind
from suite.metrics.catalogue import Metric
from suite.metrics.table import Measured, Part, Table, collected
from suite.registry import REGISTRY, Entry
from suite.types import Measure, not_applicable


def headline_value(kind: Kind, tally: Array) -> float | None:
    """Return the headline metric of tallies (n, ...); None where it is undefined."""
    value = float(kind.scoring.statistic(tally)(None)[0])
    return value if np.isfinite(value) else None


def metrics_of(kind: Kind, axis: str, *, per_method: bool = False) -> list[Entry]:
    """Return the registered metrics of a kind on an axis, by name."""
    kinds = (kind.name, *kind.inherits)
    metrics = (entry for entry in REGISTRY.names("metric") if entry.meta["kind"] in kinds)
    return [entry for entry in metrics if (entry.meta["axis"], entry.meta["per_method"]) == (axis, per_method)]


def entries_of(metrics: Sequence[Entry]) -> list[Metric]:
    """Return the declarations of registered metrics."""
    return [metric for entry in metrics for metric in entry.meta["entries"]]


def more_measured(context: Context, axis: str) -> Part:
    """Return what registered metrics of an axis measure beyond the outputs of the clean samples.

    All samples are one cohort: such a metric may compare samples, or generate some.
    """
    if all(entry.meta["measure"] is None for entry in metrics_of(context.kind, axis)):
        return Part()
    return context.run(Round("metrics", _more_measured, len(context.test)), state={"axis": axis})


def _more_measured(context: Context, state: State) -> Part:
    with context.model.frozen(), torch.no_grad():
        return collected(measured_by(metrics_of(context.kind, state["axis"]), context.outcomes))


def measured_by(metrics: Sequence[Entry], *arguments: Any) -> list[Any]:
    """Run the model for every registered metric that needs it, and return what they measured.

    A metric that raises NotApplicableError stores the reason as a fact, and `summaries` makes skipped rows of it.

    Raises:
        PluginError: a metric measured something other than columns.
    """
    parts = []
    for entry in metrics:
        if entry.meta["measure"] is None:
            continue
        try:
            part = entry.meta["measure"](*arguments)
        except NotApplicableError as error:
            part = Measured(facts={_reason(entry): str(error)})
        if part is None:
            raise PluginError(
                f"The metric {entry.name} measured nothing; return arrays by name, or suite.Measured, from its measure."
            )
        parts.append(part)
    return parts


def summaries(metrics: Sequence[Entry], table: Table) -> list[Measure]:
    """Return the measures of all registered metrics from a table."""
    measures = []
    for entry in metrics:
        reason = table.facts.get(_reason(entry))
        if reason is None:
            made = entry.factory(table)
            if not isinstance(made, list):
                raise PluginError(
                    f"The metric {entry.name} returned {type(made).__name__}; expected a list of Measure."
                )
            measures += made
        else:
            measures += [not_applicable(one.name, reason, **table.params) for one in entry.meta["entries"]]
    return measures


def _reason(entry: Entry) -> str:
    return f"{entry.name} {SKIPPED}"
