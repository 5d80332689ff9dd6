"""The measures of an attack, from stored columns and facts alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from suite.axes.registered import headline_value, metrics_of, summaries
from suite.axes.robustness.checks import NOTHING_TO_ATTACK, judge, miss_seen, scale_evidence
from suite.axes.robustness.stored import RANDOM, Stored
from suite.axes.robustness.trainings import over_seeds, trainings
from suite.kinds.base import Array, Kind
from suite.kinds.logits import checked_headline, checked_scale
from suite.metrics.catalogue import Metric
from suite.metrics.table import TEST, Column, Table
from suite.types import Measure

SUCCESS_RATE = Metric(
    "success_rate",
    "success rate",
    "share of the correctly predicted samples that became wrong",
    higher_is_better=False,
    control="random",
)
TARGETED_SUCCESS = Metric(
    "targeted_success",
    "targeted success",
    "share of the samples of other classes that are predicted as the target class",
    higher_is_better=False,
    control="random",
)
QUERIES = Metric(
    "queries", "queries", "passes per attacked sample", unit="passes", higher_is_better=None
)  # fmt: skip


def control_metric(headline: Metric) -> Metric:
    """Return the declaration of the headline metric under a control, ``control_NAME``."""
    title = f"{headline.title} under the control"
    meaning = f"{headline.title} after perturbations of the same size that do not depend on the model"
    return headline.renamed("control", title, meaning=meaning)


def summarised(table: Table, kind: Kind, changed: Sequence[Metric]) -> list[Measure]:
    """Return all measures of an attack in the order of its rows.

    Args:
        table: the columns and facts of the axis.
        kind: the kind of the task.
        changed: the metrics of changed texts that the attack declares.
    """
    own = [_of_training(Stored(one), kind, changed) for one in trainings(table)]
    bounds = {metric.name: metric.value_bounds for metric in changed}
    return [over_seeds(same, table.level, bounds.get(same[0].metric)) for same in zip(*own, strict=True)]


def _of_training(stored: Stored, kind: Kind, changed: Sequence[Metric]) -> list[Measure]:
    facts = stored.table.facts
    found = [*successes(stored), *of_kind(stored, kind), *of_texts(stored, changed)]
    return [
        *rates(stored, kind),
        *checked_headline(control_rates(stored, kind), facts, kind.logits),
        *(checked_scale(found, facts, kind.logits) if scale_evidence(stored) else found),
    ]


def rates(stored: Stored, kind: Kind) -> list[Measure]:
    """Return the headline metric at every size with its interval, control and checks."""
    checks = judge(stored.table)
    failed = [item.sentence for item in checks.values() if item.status == "fail"]
    share = miss_seen(stored)
    seen = {} if share is None else {"miss_seen": share}
    return [
        _headline(
            stored,
            kind,
            kind.scoring.headline.under_attack(),
            stored.tally(size),
            params=stored.params_under_attack(size) | seen,
            control=headline_value(kind, stored.tally(size, RANDOM)),
            checks={check: item.status for check, item in checks.items()},
            reason="; ".join(failed) or None,
        )
        for size in stored.sizes
    ]


def control_rates(stored: Stored, kind: Kind) -> list[Measure]:
    """Return the headline metric under every control, one measure for each size."""
    metric = control_metric(kind.scoring.headline)
    return [
        _headline(stored, kind, metric, stored.tally(size, control), params=stored.params(size, control=control))
        for control in stored.controls
        for size in stored.sizes
    ]


def curve(stored: Stored, kind: Kind, measures: Sequence[Measure]) -> list[dict[str, float | None]]:
    """Return the headline metric and its controls with intervals, by size; the first point is size 0.

    Args:
        stored: the columns and facts.
        kind: the kind of the task.
        measures: those of `summarised`.
    """
    headline = kind.scoring.headline
    clean = _headline(stored, kind, headline, stored.tally(0))
    lines = {"value": [one for one in measures if one.metric == headline.under_attack().name]}
    for measure in (one for one in measures if one.metric == control_metric(headline).name):
        lines.setdefault(measure.params["control"], []).append(measure)
    points = []
    for place, size in enumerate((0.0, *stored.sizes)):
        point: dict[str, float | None] = {"size": float(size)}
        for name, line in lines.items():
            measure = [clean, *line][place]
            lo, hi = (measure.value if bound is None else bound for bound in (measure.lo, measure.hi))
            point |= {name: measure.value, f"{name}_lo": lo, f"{name}_hi": hi}
        points.append(point)
    return points


def successes(stored: Stored) -> list[Measure]:
    """Return the success rate of a targeted attack by size; an empty list for an untargeted one."""
    table, measures = stored.table, list[Measure]()
    for size in stored.sizes if table.conditions("reached") else ():
        reached, control = stored.under(size)["reached"], stored.under(size, RANDOM)["reached"]
        others = ~np.isnan(reached)
        if not others.any():
            return []
        params, control_value = stored.params(size, goal=stored.attack["goal"]), float(control[others].mean())
        of = (table.rate, reached[others] > 0.5) if stored.draws == 1 else (table.mean, reached[others])
        measures.append(of[0](TARGETED_SUCCESS, of[1], rows=others, params=params, control=control_value))
    return measures


def of_kind(stored: Stored, kind: Kind) -> list[Measure]:
    """Return the registered metrics of the kind: of tallies at size 0 and at every size, of outputs at the largest."""
    metrics, measures = metrics_of(kind, "robustness"), list[Measure]()
    of_tallies = [entry for entry in metrics if entry.meta["measure"] is None]
    of_outputs = [entry for entry in metrics if entry.meta["measure"] is not None]
    for size in (0.0, *stored.sizes):
        attacked = summaries(of_tallies, _under(stored, size, "", stored.params_under_attack(size)))
        measures += _with_control(attacked, summaries(of_tallies, _under(stored, size, RANDOM, {})))
    largest = stored.sizes[-1]
    shifted = summaries(of_outputs, _under(stored, largest, "", stored.params(largest)))
    return measures + _with_control(shifted, summaries(of_outputs, _under(stored, largest, RANDOM, {})))


def of_texts(stored: Stored, changed: Sequence[Metric]) -> list[Measure]:
    """Return queries per sample, and success rate and changes by size; an empty list for attacks on numbers.

    Passes are counted for all samples together, so that queries have no interval.
    """
    if not stored.attack["changes_text"]:
        return []
    passes, largest = stored.table.facts["passes"], stored.sizes[-1]
    measures = [_queries(stored.table, passes["search"], passes["attacked"], stored.params(largest))]
    if stored.graded:  # only the worst text over all sizes is kept
        return [*measures, *_changes(stored, changed, largest)]
    for size in stored.sizes:
        measures += [_success(stored, size), *_changes(stored, changed, size)]
    return measures


def _headline(stored: Stored, kind: Kind, metric: Metric, tally: Array, **fields: Any) -> Measure:
    """Return the headline metric; for a stochastic model, the mean over samples of the share over draws."""
    if stored.draws > 1:
        fields["params"] = {**fields.get("params", {}), "draws": stored.draws}
    return kind.scoring.headline_measure(stored.table, metric, tally, **fields)


def _under(stored: Stored, size: float, control: str, params: Mapping[str, Any]) -> Table:
    """Return the table under a condition with the column ``tally``; its measures get these params."""
    table = stored.under(size, control if size else "")
    tally = Column("tally", stored.tally(size, control))
    others = [column for column in table.columns if (column.population, column.name) != (TEST, "tally")]
    return replace(table, columns=(tally, *others), params=params)


def _with_control(attacked: Sequence[Measure], control: Sequence[Measure]) -> list[Measure]:
    return [replace(one, control=other.value) for one, other in zip(attacked, control, strict=True)]


def _queries(table: Table, spent: int, attacked: int, params: Mapping[str, Any]) -> Measure:
    if not attacked:
        return table.undefined(QUERIES, NOTHING_TO_ATTACK, params=params)
    fields = table.fields(QUERIES, params=params)
    return Measure(QUERIES.name, spent / attacked, None, None, attacked, "count", table.level, **fields)


def _success(stored: Stored, size: float) -> Measure:
    """Return the share of correctly predicted samples on which the attack succeeds; undefined if there are none."""
    rows, params = stored.quality(0) > 0.5, stored.params(size)
    if not rows.any():
        return stored.table.undefined(SUCCESS_RATE, NOTHING_TO_ATTACK, params=params)
    control = float((stored.quality(size, RANDOM)[rows] <= 0.5).mean())
    wrong = stored.quality(size)[rows] <= 0.5
    return stored.table.rate(SUCCESS_RATE, wrong, rows=rows, params=params, control=control)


def _changes(stored: Stored, changed: Sequence[Metric], size: float) -> list[Measure]:
    """Return the mean changes of the texts that are misclassified up to a size; undefined if there are none."""
    table, params, measures = stored.under(size), stored.params(size), list[Measure]()
    plain = replace(table, params={})
    for metric in (metric for metric in changed if metric.name in table):
        values = table[metric.name]
        rows = ~np.isnan(values)
        if rows.any():
            measures.append(plain.mean(metric, values[rows], rows=rows, params=params))
        else:
            measures.append(plain.undefined(metric, "the attack found no adversarial text", params=params))
    return measures
