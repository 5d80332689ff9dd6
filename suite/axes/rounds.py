"""Rounds: one measurement of many samples, cohort by cohort.

A cohort is measured as a whole, from seeds of its own. So the result of a round does not depend on the order of the
cohorts, nor on the process that measures each of them, and needs the memory of one cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch

from suite.data import Split
from suite.data.digests import seed_of
from suite.errors import PluginError
from suite.kinds.base import Array
from suite.metrics.table import TEST, Column, Part
from suite.models.training.trainer import seeded

State = Mapping[str, Any]
"""What a round gets besides its samples: arrays and JSON values, so that another process can get it too."""


class Cohort(Protocol):
    """What a cohort is measured in; see `suite.axes.context.Context`."""

    names: tuple[str, ...]
    seed: int
    test: Split
    device: torch.device
    track: Track

    @property
    def failed(self) -> dict[str, str]:
        """Why the model has no output for a sample, by id."""

    def of(self, rows: Array) -> Self:
        """Return the context of some of the samples."""


@dataclass(frozen=True)
class Round:
    """One measurement of many samples.

    Attributes:
        name: the seeds of everything random in it depend on this name.
        run: takes a context whose test samples are one cohort, and the state. A function of a module or a method of an
            axis, so that it can be sent to another process.
        size: most samples of a cohort.
    """

    name: str
    run: Callable[[Any, State], Part]
    size: int


Executor = Callable[[Any, Round, Sequence[Array], State], Iterable[tuple[int, Part]]]
"""Measures the cohorts (rows of the context's test samples) and yields each one's number and part, in any order."""


FAILED = "failed"
"""The fact that says for which samples the model has no output, by id, and why."""

Item = TypeVar("Item")


class Track(Protocol):
    """Wraps an iterable of known length with a progress bar."""

    def __call__(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items."""


class Counts(dict[str, int]):
    """Numbers by name, which are added one by one."""

    def __add__(self, other: Mapping[str, int]) -> Counts:
        """Return the sum of each number."""
        return Counts({name: self.get(name, 0) + other.get(name, 0) for name in {**self, **other}})

    def to_json(self) -> dict[str, int]:
        """Return the numbers."""
        return dict(self)


class FirstOf(dict[str, str]):
    """Sentences by name; of two with one name the first is kept when they are added."""

    def to_json(self) -> dict[str, str]:
        """Return the sentences."""
        return dict(self)

    def __add__(self, other: Mapping[str, str]) -> FirstOf:
        """Return all sentences."""
        return FirstOf({**other, **self})


def run_cohort(context: Cohort, round_: Round, rows: Array, state: State) -> Part:
    """Measure one cohort, with the global generators seeded by the round and the samples."""
    cohort = context.of(rows)
    with seeded(seed_of(*context.names, round_.name, *cohort.test.ids, str(context.seed)), context.device):
        part = round_.run(cohort, state)
    # In C order wherever it was measured: the order of values in memory affects the last bits of what follows.
    columns = [replace(column, values=np.asarray(column.values, order="C")) for column in part.columns]
    sums = {**part.sums, FAILED: FirstOf(cohort.failed)} if cohort.failed else part.sums
    return replace(part, columns=columns, sums=sums)


def in_order(context: Cohort, round_: Round, cohorts: Sequence[Array], state: State) -> Iterator[tuple[int, Part]]:
    """Measure the cohorts one after the other in this process."""
    for number, rows in enumerate(context.track(cohorts, round_.name, len(cohorts))):
        yield number, run_cohort(context, round_, rows, state)


def joined(rows: Array, cohorts: Sequence[Array], parts: Iterable[tuple[int, Part]]) -> Part:
    """Return the parts of all cohorts as one.

    Args:
        rows: the samples of the round, in the order of the result.
        cohorts: the samples of each cohort.
        parts: each cohort's number and part, in any order.

    Raises:
        PluginError: two cohorts have other columns or facts.
    """
    kept: dict[int, Part] = {}
    sums: dict[str, Any] = {}
    added = 0
    for number, part in parts:
        kept[number] = part
        while added in kept:  # in the order of the cohorts, because rounding depends on the order of a sum
            for name, value in kept[added].sums.items():
                sums[name] = sums[name] + value if name in sums else value
            kept[added] = replace(kept[added], sums={})
            added += 1
    ordered = [kept[number] for number in range(len(cohorts))]
    if not ordered:
        return Part()
    places = np.argsort(np.concatenate(cohorts), kind="stable")[np.argsort(np.argsort(rows, kind="stable"))]
    facts = dict(ordered[0].facts)
    for part in ordered[1:]:
        _require_equal(facts, part.facts)
    return Part(_columns(ordered, places), facts, sums)


def _columns(parts: Sequence[Part], places: Array) -> list[Column]:
    """Return the columns of all parts; those of the evaluated samples in the order of `places`."""
    if len(parts) == 1 and np.array_equal(places, np.arange(len(places))):
        return list(parts[0].columns)
    by_key = [{column.key: column for column in part.columns} for part in parts]
    if any(columns.keys() != by_key[0].keys() for columns in by_key):
        names = sorted({key[1] for columns in by_key for key in columns.keys() ^ by_key[0].keys()})
        raise PluginError(f"Some cohorts have columns that others lack: {', '.join(names)}; return them always.")
    joined_columns = []
    for key, first in by_key[0].items():
        values = _stacked([columns[key].values for columns in by_key])
        joined_columns.append(replace(first, values=values[places] if first.population == TEST else values))
    return joined_columns


def _stacked(arrays: Sequence[Array]) -> Array:
    """Return arrays one after the other; where samples differ in size between cohorts, padded by zeros at the end."""
    shapes = {array.shape[1:] for array in arrays if len(array)}
    if len(shapes) < 2:
        return np.concatenate([array for array in arrays if len(array)] or arrays[:1])
    largest = np.max([*shapes], axis=0)
    return np.concatenate(
        [
            np.pad(array, [(0, 0), *((0, most - size) for most, size in zip(largest, array.shape[1:], strict=True))])
            for array in arrays
            if len(array)
        ]
    )


def _require_equal(facts: dict[str, Any], others: Mapping[str, Any]) -> None:
    differing = sorted(name for name in facts.keys() | others.keys() if facts.get(name) != others.get(name))
    if differing:
        name = differing[0]
        raise PluginError(
            f"The fact {name!r} differs between cohorts: {facts.get(name)!r:.60} and {others.get(name)!r:.60}. Return "
            "values of samples as a column, and what adds up over samples as a sum."
        )
