"""Checks that the rows of a record follow from its columns and facts, without the model."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.axes.base import summarise
from suite.axes.derived import axis_and_kind
from suite.errors import PluginError, StoreError, UnknownNameError, described
from suite.kinds.base import Kind
from suite.metrics.table import TEST
from suite.records.reading import StoredRecord
from suite.registry import REGISTRY
from suite.runner.identity import PACKAGE, full_spec, ids_digest
from suite.types import Measure

NUMBERS = ("value", "lo", "hi", "control")
"""Fields of a row that may differ in their last bits on another machine."""

EXACT = ("n", "groups", "n_failed", "method", "level", "unit", "higher_is_better", "reason", "status")
"""Fields of a row that are compared exactly; checks are compared by name."""

TOLERANCE = 1e-9
"""Relative tolerance of numbers."""

SAMPLES = "samples"
"""The argument of axes that evaluate at most so many of the test samples."""


@dataclass(frozen=True)
class Derived:
    """What was found when the rows of a record were computed again.

    Attributes:
        count: number of rows that were computed again.
        differences: sentences on everything that does not follow.
        notes: sentences on what was not computed, with the reason.
        installed: whether the kind and the axis are installed, so that anything could be computed.
    """

    count: int = 0
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    installed: bool = True


def derive(record: StoredRecord) -> Derived:
    """Compute the rows of a record again and compare every field of every row.

    Raises:
        StoreError: a column is damaged.
    """
    if record.status == "failed":
        return Derived()
    try:
        axis, kind = axis_and_kind(record)
        installed = {metric.name for metric in axis.entries(kind)}
    except (UnknownNameError, PluginError) as error:
        note = f"measures were not recomputed, because a part of them is not installed: {described(error)}"
        return Derived(notes=(note,), installed=False)
    except Exception as error:  # third-party code may raise anything
        return Derived(differences=(f"the measures cannot be computed: {described(error)}",))
    few = full_spec("axis", record.provenance.spec).kwargs.get(SAMPLES)
    differences = [*_declarations(record, kind), *_samples(record, few)]
    try:
        computed = summarise(axis, kind, record.columns, record.facts)
    except StoreError:
        raise
    except Exception as error:  # wrong columns and third-party code may raise anything
        text = f"the measures cannot be computed from the columns and facts: {described(error)}"
        return Derived(differences=(*differences, text))
    names = _names(record.measures)
    stored = [row for row in record.measures if row.metric in installed]
    new = _new_metrics(record)
    differences += _rows(stored, [row for row in computed if row.metric not in new])
    notes = [f"not recomputed: the metric {name} is not installed" for name in names if name not in installed]
    if few is not None and TEST in record.populations:
        notes.append("which samples were evaluated was not checked, because the axis takes a few of them")
    return Derived(len(stored), tuple(differences), tuple(notes))


def _names(measures: Sequence[Measure]) -> list[str]:
    return list(dict.fromkeys(measure.metric for measure in measures))


def _new_metrics(record: StoredRecord) -> set[str]:
    """Return metrics of third parties that the record knows nothing of: they may have been installed later."""
    known = {*record.catalogue, *_names(record.measures)}
    others = (entry for entry in REGISTRY.names("metric") if PACKAGE not in Path(entry.origin).parents)
    return {metric.name for entry in others for metric in entry.meta["entries"]} - known


def _declarations(record: StoredRecord, kind: Kind) -> Iterator[str]:
    """Yield which declarations of metrics rows lack, or lack rows, and what is wrong about the task."""
    rows, declared = set(_names(record.measures)), set(record.catalogue)
    for name in sorted(rows - declared):
        yield f"the catalogue has no declaration of {name}"
    for name in sorted(declared - rows):
        yield f"the catalogue declares {name}, but no row has it"
    about = record.about
    if about is None:
        yield "the record says nothing about its task"
        return
    scoring = kind.scoring
    expected = {"headline": scoring.headline.name, "outcome": scoring.outcome.type, "input": kind.input}
    for name, value in expected.items():
        if (got := getattr(about, name)) != value:
            yield f"about: {name} is {got}, but {value} follows from the kind {kind.name}"


def _samples(record: StoredRecord, most: int | None) -> Iterator[str]:
    """Yield how the ids disagree with the digest of the evaluated samples, or with the number that the axis takes."""
    provenance = record.provenance
    if TEST not in record.populations:  # the axis does not apply
        return
    try:
        ids = record.column("id")
    except StoreError:
        yield "the per-sample outcomes have no column id"
        return
    if len(np.unique(ids.astype(str))) != len(ids):
        yield "an id occurs twice among the evaluated samples"
    if most is not None:
        if len(ids) > min(most, provenance.n):
            yield f"there are {len(ids)} samples; expected at most {min(most, provenance.n)}"
    elif ids_digest(ids.tolist()) != provenance.digests.get("samples"):
        yield "the ids of the per-sample outcomes differ from those of the evaluated samples"


def _rows(stored: Sequence[Measure], computed: Sequence[Measure]) -> Iterator[str]:
    """Yield how rows differ; rows of equal metric and params are compared in order."""
    before, after = _by_title(stored), _by_title(computed)
    for title in before.keys() - after.keys():
        yield f"the row {title} does not follow from the columns: there is none like it"
    for title, other in after.items():
        if title not in before:
            yield f"the row {title} is missing: it follows from the columns"
        elif changes := list(_fields(before[title], other)):
            yield f"the row {title} does not follow from the columns: {'; '.join(changes)}"


def _by_title(measures: Sequence[Measure]) -> dict[str, Measure]:
    count: Counter[str] = Counter()
    rows = {}
    for measure in measures:
        title = f"{measure.metric} {_json(measure.params)}" if measure.params else measure.metric
        count[title] += 1
        rows[title if count[title] == 1 else f"{title} (number {count[title]})"] = measure
    return rows


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _fields(stored: Measure, computed: Measure) -> Iterator[str]:
    """Yield the fields in which a row differs from what follows from the columns."""
    for name in (*NUMBERS, *EXACT):
        got, expected = getattr(stored, name), getattr(computed, name)
        same = _close(got, expected) if name in NUMBERS else got == expected
        if not same:
            yield f"{name} is {_shown(got)}, but {_shown(expected)} follows"
    for check in sorted(stored.checks.keys() | computed.checks.keys()):
        if (got := stored.checks.get(check)) != (expected := computed.checks.get(check)):
            yield f"the check {check} is {got or 'missing'}, but {expected or 'no such check'} follows"


def _close(got: float | None, expected: float | None) -> bool:
    if got is None or expected is None:
        return got is expected
    return abs(got - expected) <= TOLERANCE * max(1.0, abs(expected))


def _shown(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else repr(value)
