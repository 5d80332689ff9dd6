"""Faithfulness measures: means with intervals, and a comparison with the random control."""

import math

import numpy as np

from suite.attributions.maps.faithfulness import AREAS, CONTEXT_DELETION, CONTROL, INFIDELITY, METRICS, NOISE
from suite.kinds.base import Array
from suite.metrics.stats import paired_bootstrap_difference
from suite.metrics.table import Column, Table
from suite.types import Check, Measure, not_applicable

CHECK_LEVEL = 0.99
"""Level of the interval of `beats_random`. It is stricter than the reported 0.95, at which one in forty of the dozens
of comparisons in a report would pass by chance."""

FEWEST = math.ceil(math.log2(2 / (1 - CHECK_LEVEL)))
"""Fewest samples for a comparison with the control, 8: that all of n samples are better by chance has probability
1 / 2^n, which must not exceed that of the interval's one side, (1 - `CHECK_LEVEL`) / 2. With fewer samples even the
most extreme result would not be significant."""

GLOBAL = (
    "infidelity measures the effect of a small change of a pixel; "
    "this method attributes its total contribution to the output"
)
"""Reason why a method that is not `Method.local` has no infidelity."""

NO_CONTEXT = "the explained region overlaps every cell of every image, so that there is no context to delete"
"""Reason why context deletion is undefined for all samples."""


def faithfulness_measures(table: Table) -> list[Measure]:
    """Return one measure per method, metric and baseline, in the order they were measured.

    `Measure.control` is the random control's mean. The check ``beats_random`` passes when the paired bootstrap
    interval of (method - control), at `CHECK_LEVEL`, excludes 0 on the better side. It is n/a for the control itself,
    for raw infidelity (the control has no scale) and, with the reason `too_few`, for fewer than `FEWEST` samples.
    Skipped methods have no measure.
    Methods without infidelity, because they are not local, have a skipped measure at the end.

    If a region is explained, ``pointing_game`` and ``energy_inside`` measure plausibility (the map lies in the region),
    not faithfulness, and so does their ``beats_random``. ``context_deletion_auc`` uses the `n` samples that have a
    context; if the model uses no context, the check fails for every method.

    Args:
        table: with the columns of the metrics under the conditions ``method`` and ``baseline``; the fact ``methods``
            lists the methods in order, with the control.
    """
    columns = [column for column in table.columns if column.name in METRICS]
    values = {_key(column): column.values for column in columns}
    local = {method for name, method, _ in values if name == INFIDELITY.name}
    methods = table.facts["methods"]
    return [
        *(_measure(table, column, values) for method in methods for column in columns if _key(column)[1] == method),
        *(not_applicable(INFIDELITY.name, GLOBAL, method=one, baseline=NOISE) for one in methods if one not in local),
    ]


def _key(column: Column) -> tuple[str, str, str]:
    return column.name, column.params["method"], column.params["baseline"]


def _measure(table: Table, column: Column, columns: dict[tuple[str, str, str], Array]) -> Measure:
    metric, (name, method, baseline) = METRICS[column.name], _key(column)
    values, control = column.values, columns[name, CONTROL, baseline]
    if metric == CONTEXT_DELETION:  # the same samples have a context for all methods, so that they stay paired
        values, control = values[~np.isnan(values)], control[~np.isnan(control)]
        if not len(values):
            return table.undefined(metric, NO_CONTEXT, params=column.params)
    # The control has an arbitrary scale, so that only the scaled infidelity can be compared with it.
    comparable = metric != INFIDELITY and method != CONTROL
    check = beats(values, control, bool(metric.higher_is_better), table.seed) if comparable else "n/a"
    few = too_few(len(values)) if comparable else None
    return table.mean(
        metric,
        values,
        checks={"beats_random": check},
        control=float(np.mean(control)),
        reason="does not beat the random control" if check == "fail" else few,
        params={**column.params, **_cost(table, column)},
    )


def _cost(table: Table, column: Column) -> dict[str, str]:
    """Return what the curves under a column cost, in words, for the row."""
    costs = table.facts.get("costs", {})
    return {"cost": costs["curves"]} if METRICS[column.name] in AREAS.values() and "curves" in costs else {}


def beats(values: Array, control: Array, higher_is_better: bool, seed: int) -> Check:
    """Return whether values (n,) are better than those of a control on the same samples, at `CHECK_LEVEL`.

    It is n/a for fewer than `FEWEST` samples.
    """
    if len(values) < FEWEST:
        return "n/a"
    _, lo, hi = paired_bootstrap_difference(values, control, seed=seed, level=CHECK_LEVEL)
    return "pass" if (lo > 0 if higher_is_better else hi < 0) else "fail"


def too_few(samples: int) -> str | None:
    """Return why so few samples cannot be compared with a control, or None if they are enough."""
    return f"too few samples (n = {samples}; at least {FEWEST} are needed)" if samples < FEWEST else None
