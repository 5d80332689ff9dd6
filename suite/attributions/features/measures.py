"""Faithfulness measures of feature attributions: drops of the score, compared with control orders."""

from typing import Any

from suite.attributions.features.faithfulness import (
    COMPREHENSIVENESS,
    CONTROLS,
    CONVERGENCE,
    DROPS,
    GAPS,
    RECENCY,
)
from suite.attributions.features.methods import STEPS, TOLERANCE
from suite.attributions.maps.faithfulness import CONTROL
from suite.attributions.maps.measures import beats, too_few
from suite.kinds.base import Array
from suite.metrics import stats
from suite.metrics.catalogue import Metric
from suite.metrics.stats.clusters import influences
from suite.metrics.table import Table
from suite.types import Check, Measure

FEWEST_GAP = 16
"""Fewest samples for an interval of a gap; that of 8 covers in 90 % of simulations instead of 95 %."""

_RIVAL_NAMES = {CONTROL: "random control", RECENCY: "order that deletes the last features first"}


def rationale_measures(table: Table) -> list[Measure]:
    """Return comprehensiveness, sufficiency and their gaps of every method, and the convergence error.

    The check ``beats_random`` is that of `suite.attributions.maps.measures.beats`; ``beats_recency`` is the same
    against the order that deletes the last features first. They are n/a for the controls and, with the reason
    `too_few`, for few samples. A gap is the improvement over the random control, relative to the drop of the score when
    every feature is deleted; models can be compared by it.

    Args:
        table: with the columns of the metrics under the condition ``method``, and the column ``emptied``. Facts:
            ``methods``, in order, with the controls; ``ends_matter``, whether methods also have to beat recency;
            ``deletion`` and ``proxy``, which are params of every measure.
    """
    facts, measures = table.facts, []
    about = {"deletion": facts["deletion"], **({"proxy": True} if facts["proxy"] else {})}
    for method in facts["methods"]:
        params = {"method": method, **about}
        for metric in DROPS:
            measures.append(_drop(table, metric, params))
            if method not in CONTROLS:
                measures.append(_gap(table, metric, params))
        if "completeness_error" in table.at(method=method):
            measures.append(_convergence(table.at(method=method), params))
    return measures


def _values(table: Table, metric: Metric, method: str) -> Array:
    return table.at(method=method)[metric.name]


def _drop(table: Table, metric: Metric, params: dict[str, Any]) -> Measure:
    rivals = [CONTROL, RECENCY] if table.facts["ends_matter"] else [CONTROL]
    checks = {f"beats_{rival}": _beats(table, metric, params["method"], rival) for rival in rivals}
    failed = [f"does not beat the {_RIVAL_NAMES[rival]}" for rival in rivals if checks[f"beats_{rival}"] == "fail"]
    values = _values(table, metric, params["method"])
    few = None if params["method"] in CONTROLS else too_few(len(values), table.groups)
    return table.mean(
        metric,
        values,
        checks=checks,
        control=float(_values(table, metric, CONTROL).mean()),
        reason="; ".join(failed) or few,
        params=params,
    )


def _beats(table: Table, metric: Metric, method: str, rival: str) -> Check:
    values = _values(table, metric, method)
    if method in CONTROLS:
        return "n/a"
    return beats(values, _values(table, metric, rival), metric, table.seed, table.groups)


def _gap(table: Table, metric: Metric, params: dict[str, Any]) -> Measure:
    """Return the improvement over the random control, relative to the drop without any feature."""
    advantage = _values(table, metric, params["method"]) - _values(table, metric, CONTROL)
    advantage = advantage if metric == COMPREHENSIVENESS else -advantage
    emptied = table["emptied"]
    if emptied.sum() <= 1e-9:
        why = "deleting every feature does not lower the score on average, so that the gap has no scale"
        return table.undefined(GAPS[metric.name], why, n=len(advantage), params=params)
    # The interval of the mean of what each sample adds to the ratio covers for fewer samples than a bootstrap does.
    gap = table.mean(GAPS[metric.name], influences(advantage, emptied, None), params=params)
    if len(advantage) >= FEWEST_GAP:
        return gap
    return stats.without_interval(gap, stats.too_few(len(advantage), FEWEST_GAP))


def _convergence(table: Table, params: dict[str, Any]) -> Measure:
    error, steps = table["completeness_error"], table["steps"]
    off = int((error > TOLERANCE).sum())
    check: Check = "fail" if off else "pass"
    return table.mean(
        CONVERGENCE,
        error,
        checks={"adds_up": check},
        reason=f"{off} samples have a relative error above {TOLERANCE:.0%} at {STEPS[-1]} steps" if off else None,
        params={**params, "steps": int(steps.max())},
    )
