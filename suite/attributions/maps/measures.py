"""Faithfulness measures: means with intervals, and a comparison with the random control."""

import math

import numpy as np

from suite.attributions.maps.faithfulness import AREAS, CONTEXT_DELETION, CONTROL, INFIDELITY, METRICS, NOISE
from suite.kinds.base import Array
from suite.metrics.catalogue import Metric
from suite.metrics.stats.clusters import Groups, group_codes, influences
from suite.metrics.stats.means import bounded_end
from suite.metrics.table import Column, Table
from suite.types import Check, Measure, not_applicable

CHECK_LEVEL = 0.99
"""Level of the interval of `beats_random`. It is stricter than the reported 0.95, at which one in forty of the dozens
of comparisons in a report would pass by chance."""

RARE_LOSS = 2.0
"""A sample that was not drawn may lose this many times the largest difference that was seen. With a mean of 0, rare
large losses may make up for gains of all samples seen. With this factor the check passes by chance in at most 0.1 % of
cases for differences as skewed as an exponential distribution, and 0.7 % for a log-normal one with sigma = 1
(`tests/benchmarks/beats.py`).
"""

FEWEST = 24
"""Fewest samples, or groups, for a comparison with the control. With 24, a gain of twice its standard deviation is
found nine times in ten; with 16 hardly ever, so that a failed check would say nothing (`tests/benchmarks/beats.py`)."""

GLOBAL = (
    "infidelity measures the effect of a small change of a pixel; "
    "this method attributes its total contribution to the output"
)
"""Reason why a method that is not `Method.local` has no infidelity."""

NO_CONTEXT = "the explained region overlaps every cell of every image, so that there is no context to delete"
"""Reason why context deletion is undefined for all samples."""


def faithfulness_measures(table: Table) -> list[Measure]:
    """Return one measure per method, metric and baseline, in the order they were measured.

    `Measure.control` is the random control's mean. The check ``beats_random`` is that of `beats`. It is n/a for the
    control itself, for raw infidelity (the control has no scale) and, with the reason `too_few`, for few samples.
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
    rows = np.ones(len(values), bool)
    if metric == CONTEXT_DELETION:  # the same samples have a context for all methods, so that they stay paired
        rows = ~np.isnan(values)
        values, control = values[rows], control[rows]
        if not len(values):
            return table.undefined(metric, NO_CONTEXT, params=column.params)
    # The control has an arbitrary scale, so that only the scaled infidelity can be compared with it.
    comparable = metric != INFIDELITY and method != CONTROL
    groups = table.groups_of(len(values), rows)
    check = beats(values, control, metric, table.seed, groups) if comparable else "n/a"
    few = too_few(len(values), groups) if comparable else None
    return table.mean(
        metric,
        values,
        rows=rows,
        checks={"beats_random": check},
        control=float(np.mean(control)),
        reason="does not beat the random control" if check == "fail" else few,
        params={**column.params, **_cost(table, column)},
    )


def _cost(table: Table, column: Column) -> dict[str, str]:
    """Return what the curves under a column cost, in words, for the row."""
    costs = table.facts.get("costs", {})
    return {"cost": costs["curves"]} if METRICS[column.name] in AREAS.values() and "curves" in costs else {}


def beats(values: Array, control: Array, metric: Metric, seed: int, groups: Groups | None = None) -> Check:
    """Return whether the mean of values (n,) is better than that of a control on the same samples, at `CHECK_LEVEL`.

    The lower bound of the mean gain has to be above 0. It is Gaffke's bound with one more sample at the largest loss
    that is assumed to be possible: `RARE_LOSS` times the largest difference, but not more than the bounds of the metric
    allow. It is n/a for fewer than `FEWEST` samples, or groups of samples, whose numbers `groups` (n,) holds.
    """
    if too_few(len(values), groups):
        return "n/a"
    gains = values - control if metric.higher_is_better else control - values
    largest, (lo, hi) = float(np.abs(gains).max()), metric.value_bounds
    possible = math.inf if lo is None or hi is None else max(hi - lo, largest)
    units = influences(gains, np.ones(len(gains)), group_codes(groups, len(gains)))
    loss = min(possible, RARE_LOSS * largest)
    return "pass" if bounded_end(units, -loss, (1 - CHECK_LEVEL) / 2, seed) > 0 else "fail"


def too_few(samples: int, groups: Groups | None = None) -> str | None:
    """Return why so few samples cannot be compared with a control, or None if they are enough."""
    codes = group_codes(groups, samples)
    n, of = (samples, "samples") if codes is None else (int(codes.max()) + 1, "groups of samples")
    return f"too few {of} (n = {n}; at least {FEWEST} are needed)" if n < FEWEST else None
