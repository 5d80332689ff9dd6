"""The interface of an axis, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from suite.axes.context import GALLERY, Context
from suite.axes.rounds import FAILED, Track
from suite.errors import MeasureError, NotApplicableError
from suite.kinds.base import Array, Kind
from suite.metrics.catalogue import Metric
from suite.metrics.table import GROUP, TEST, Column, Table
from suite.types import Display, Measure, not_applicable

__all__ = ["GALLERY", "Axis", "AxisResult", "Context", "Side", "Track", "in_role", "measure", "predicted_arrays"]

Side = Literal["both", "lower", "upper"]


@dataclass(frozen=True)
class AxisResult:
    """What an axis measured with the model; its measures follow from the columns and facts alone.

    Attributes:
        columns: per-sample columns; the ids of the samples are the column ``id``.
        facts: JSON values that summaries need besides the columns.
        details: JSON values that only the report needs.
        arrays: what the report shows of some samples.
        drawn: further details that are drawn from the measures, such as a curve; they are made once the measures are
            known, because intervals are costly.
    """

    columns: Sequence[Column] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Display] = field(default_factory=dict)
    drawn: Callable[[Sequence[Measure]], Mapping[str, Any]] = lambda measures: {}


def in_role(arrays: Mapping[str, Display], role: str, name: str = "{}", **params: Any) -> dict[str, Display]:
    """Return displays in a role and under a condition; `name` is the pattern of their names, such as ``clean_{}``."""
    return {
        name.format(own): replace(display, role=role, params={**display.params, **params})
        for own, display in arrays.items()
    }


def predicted_arrays(context: Context, rows: Sequence[int]) -> dict[str, Display]:
    """Return ids, targets and clean predictions of some samples."""
    split = context.test.take(rows)
    return {
        "ids": Display(np.array(split.ids), "id", "ids"),
        "label": Display(split.targets, context.kind.showing.truth, "truth"),
        **in_role(context.kind.showing.output_arrays(context.of(rows).output), "prediction"),
    }


class Axis(Protocol):
    """An axis with its configuration."""

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of all metrics of the axis; the first is named in rows of a skipped cell."""

    def measure(self, context: Context) -> AxisResult:
        """Evaluate the model.

        Raises:
            NotApplicableError: the axis does not apply to this model or task; the cell becomes a skipped row.
        """

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Return the measures that follow from stored columns and facts."""


@runtime_checkable
class Checked(Protocol):
    """An axis whose arguments do not fit every kind."""

    def check(self, kind: Kind) -> None:
        """Raise SpecError if they do not fit the kind; asked before anything is measured."""


SKIPPED = "not_applicable"
"""The fact that says why an axis does not apply."""


def measure(axis: Axis, context: Context) -> AxisResult:
    """Evaluate a model on an axis; where the axis does not apply, the result says why."""
    try:
        result = axis.measure(context.afresh())
    except NotApplicableError as error:
        return AxisResult(facts={**context.own_facts, SKIPPED: str(error)})
    # In C order as they are stored: the order of values in memory affects the last bits of sums.
    ordered = [replace(column, values=np.asarray(column.values, order="C")) for column in result.columns]
    return replace(result, columns=[*ordered, *_groups(ordered, context)])


def _groups(columns: Sequence[Column], context: Context) -> list[Column]:
    """Return the groups of the evaluated samples as a column, if the samples have groups."""
    if context.test.group_names is None:
        return []
    group = dict(zip(context.test.ids, context.test.group_names, strict=True))
    names = [name for column in columns if column.key == (TEST, "id") for name in column.values.tolist()]
    return [Column(GROUP, np.array([group[name] for name in names], dtype=object))]


def summarise(
    axis: Axis,
    kind: Kind,
    columns: Sequence[Column],
    facts: Mapping[str, Any],
    *,
    rows: Any = None,
    level: float = 0.95,
    side: Side = "both",
) -> list[Measure]:
    """Return the measures of an axis from stored columns and facts, without the model.

    On a part of the rows these stay whole: checks of an attack, which run on an audit set; passes per sample; a
    temperature, which was fitted on validation samples; and what is measured on generated samples.

    Args:
        axis: with the configuration that the columns were measured with.
        kind: the kind of the task.
        columns: as in `AxisResult`.
        facts: as in `AxisResult`.
        rows: indices or a mask of the samples to use; None for all.
        level: confidence level of the intervals.
        side: ``both`` for two-sided intervals; ``lower`` or ``upper`` for a one-sided bound at this level.

    Raises:
        MeasureError: the level or the side is invalid, or no sample is left.
    """
    if side not in get_args(Side) or not (0.0 if side == "both" else 0.5) < level < 1.0:
        raise MeasureError(
            f"got level={level} and side={side!r}; expected a side of {', '.join(get_args(Side))}, and a level between "
            "0 and 1, for a one-sided bound between 0.5 and 1."
        )
    if SKIPPED in facts:
        skipped = not_applicable(axis.entries(kind)[0].name, str(facts[SKIPPED]))
        return [replace(skipped, level=level)]
    two_sided = level if side == "both" else 2 * level - 1
    table = Table(tuple(columns), facts, seed=int(facts["seed"]), level=two_sided)
    if rows is not None:
        table = table.take(_distinct(rows, len(table)))
    measures = [replace(one, level=two_sided) if one.value is None else one for one in axis.summarise(table, kind)]
    measures = _with_failures(measures, table)
    if side == "both":
        return measures
    if side == "lower":
        return [replace(one, level=level, hi=None) for one in measures]
    return [replace(one, level=level, lo=None) for one in measures]


def _with_failures(measures: list[Measure], table: Table) -> list[Measure]:
    """Return measures that say how many samples have no output, and why."""
    known = table.facts.get(FAILED, {})
    failed = [name for name in table["id"].tolist() if name in known] if known else []
    if not failed:
        return measures
    first = f"{failed[0]}: {known[failed[0]]}"
    reason = f"{len(failed)} of {len(table)} samples have no output and count as wrong ({first})"
    return [
        one if one.value is None else replace(one, n_failed=max(one.n_failed, len(failed)), reason=one.reason or reason)
        for one in measures
    ]


def _distinct(rows: Any, n: int) -> Array:
    """Return rows as indices of n samples.

    Raises:
        MeasureError: they are no mask of n samples and no distinct indices, or there are none.
    """
    try:
        chosen: Array = np.arange(n)[np.asarray(rows, dtype=None if np.size(rows) else int)]
        is_distinct = len(np.unique(chosen)) == len(chosen)
    except (IndexError, TypeError):
        is_distinct = False
    if not is_distinct:
        raise MeasureError(f"rows={rows!r:.60}; expected a mask of {n} samples, or distinct indices from 0 to {n - 1}.")
    if not len(chosen):
        raise MeasureError("No sample is left; choose at least one row.")
    return chosen
