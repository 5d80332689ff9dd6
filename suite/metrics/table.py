"""Per-sample columns, and the measures that follow from them without the model.

A summary is a pure function of a table: a slice, a group, a bound at another level or a verification is the same
function on other rows or at another level.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from suite.errors import MeasureError
from suite.metrics.catalogue import Metric
from suite.metrics.stats import Groups, Statistic, mean_measure, rate, resampled, resampled_together
from suite.types import Measure

Array = npt.NDArray[Any]

TEST = "test"
"""The population of the evaluated samples. Others are generated images, or the samples of an audit."""


GROUP = "group"
"""The column of the evaluated samples that says what each belongs to, such as a patient."""


@dataclass(frozen=True)
class Column:
    """One quantity of every sample of a population, under one condition.

    Attributes:
        name: what it is: ``correct``, ``confidence``, ``tally``.
        values: (n, ...); an object array (n,) of arrays where samples differ in size.
        params: the condition: the attack and its size, the corruption, the uncertainty method. Empty for clean samples.
        population: what its rows are.
    """

    name: str
    values: Array
    params: Mapping[str, Any] = field(default_factory=dict)
    population: str = TEST

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from other columns: population, name and condition."""
        return self.population, self.name, *sorted(self.params.items())


@dataclass(frozen=True)
class Measured:
    """What a round of evaluation stores for a summary.

    Attributes:
        columns: quantities of every sample, (n, ...) by name.
        facts: what else the summary needs, as JSON values by name.
        population: what the rows of the columns are.
        params: the condition of the columns, besides that of the axis.
        sums: what adds up over the samples, by name, such as the bins of a reliability diagram; each has ``+``.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    population: str = TEST
    params: Mapping[str, Any] = field(default_factory=dict)
    sums: Mapping[str, "Sum"] = field(default_factory=dict)


class Sum(Protocol):
    """What adds up over samples."""

    def __add__(self, other: Any) -> Any:
        """Return the sum of both."""

    def to_json(self) -> Any:
        """Return it as a JSON value."""


@dataclass(frozen=True)
class Mean:
    """A mean over samples.

    Attributes:
        total: the sum of the samples' values, of any shape.
        count: number of samples.
    """

    total: Array
    count: int

    def __add__(self, other: "Mean") -> "Mean":
        """Return the mean of the samples of both."""
        return Mean(self.total + other.total, self.count + other.count)

    def to_json(self) -> Any:
        """Return the mean as numbers in lists."""
        return (self.total / self.count).tolist()


@dataclass(frozen=True)
class Part:
    """What was measured of one cohort of samples, or of all.

    Attributes:
        columns: per-sample columns; those of the evaluated samples have one row per sample of the cohort.
        facts: JSON values, the same for every cohort.
        sums: values that are added up over the cohorts: counts, bins, a limited collection.
    """

    columns: Sequence[Column] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    sums: Mapping[str, Sum] = field(default_factory=dict)

    @property
    def all_facts(self) -> dict[str, Any]:
        """The facts, and the sums as JSON values."""
        return {**self.facts, **{name: value.to_json() for name, value in self.sums.items()}}


@dataclass(frozen=True)
class Table:
    """The columns and facts of a record.

    Attributes:
        columns: per-sample columns under all conditions.
        facts: JSON values by name, such as ``classes`` and ``threshold``.
        seed: seed of resampling.
        level: confidence level of intervals.
        params: the condition that the table was narrowed to; every measure has these params.
    """

    columns: tuple[Column, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    level: float = 0.95
    params: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        """Return the values of a column of the evaluated samples without a condition.

        Raises:
            MeasureError: there is no such column.
        """
        return self.of(TEST, name)

    def __contains__(self, name: str) -> bool:
        """Return whether there is a column of the evaluated samples without a condition."""
        return any(c.name == name and not c.params and c.population == TEST for c in self.columns)

    def of(self, population: str, name: str) -> Array:
        """Return the values of a column of a population without a condition.

        Raises:
            MeasureError: there is no such column.
        """
        for column in self.columns:
            if (column.population, column.name) == (population, name) and not column.params:
                return column.values
        known = sorted({column.name for column in self.columns if column.population == population})
        raise MeasureError(
            f"There is no column {name!r} of the population {population!r}; there are: {', '.join(known)}."
        )

    def at(self, **params: Any) -> Self:
        """Return the table under a condition.

        Columns with these params lose them; columns without any of these params stay, unless one with them has the same
        name. Other columns are left out.
        """
        own = [
            replace(column, params={name: value for name, value in column.params.items() if name not in params})
            for column in self.columns
            if params.items() <= column.params.items()
        ]
        names = {(column.population, column.name, *sorted(column.params)) for column in own}
        shared = [
            column
            for column in self.columns
            if not params.keys() & column.params.keys()
            and (column.population, column.name, *sorted(column.params)) not in names
        ]
        return replace(self, columns=(*own, *shared), params={**self.params, **params})

    def conditions(self, name: str) -> list[Mapping[str, Any]]:
        """Return the conditions under which a column of the evaluated samples is stored, in order."""
        return [column.params for column in self.columns if column.name == name and column.population == TEST]

    def take(self, rows: Any) -> Self:
        """Return the table of some of the evaluated samples, by indices or a mask; other populations stay whole."""
        chosen = tuple(
            replace(column, values=column.values[rows]) if column.population == TEST else column
            for column in self.columns
        )
        return replace(self, columns=chosen)

    def with_facts(self, facts: Mapping[str, Any]) -> Self:
        """Return the table with further facts, which take precedence."""
        return replace(self, facts={**self.facts, **facts})

    def with_seed(self, seed: int) -> Self:
        """Return the table with another seed of resampling."""
        return replace(self, seed=seed)

    def __len__(self) -> int:
        """Return the number of evaluated samples."""
        return next((len(column.values) for column in self.columns if column.population == TEST), 0)

    # measures

    @cached_property
    def groups(self) -> Groups | None:
        """The number of each evaluated sample's group, (n,); None if samples are independent."""
        return np.unique(self[GROUP].astype(str), return_inverse=True)[1] if GROUP in self else None

    def groups_of(self, n: int, rows: Any = None) -> Groups | None:
        """Return the groups of n values: of all evaluated samples, or of some of them; None for other populations.

        Args:
            n: number of values.
            rows: indices or a mask of the evaluated samples that the values belong to; None for all of them, or for
                another population, which has another number of values.

        Raises:
            MeasureError: `rows` are not n of the evaluated samples.
        """
        if rows is None:
            return self.groups if n == len(self) else None
        if len(chosen := np.arange(len(self))[rows]) != n:
            raise MeasureError(f"got {n} values for {len(chosen)} rows; expected one value per row.")
        return None if self.groups is None else self.groups[chosen]

    def of_others(self) -> Self:
        """Return the table without the evaluated samples, for measures of other populations, which have no groups."""
        return replace(self, columns=tuple(column for column in self.columns if column.population != TEST))

    def rate(self, metric: Metric, outcomes: npt.ArrayLike, *, rows: Any = None, **fields: Any) -> Measure:
        """Return the share of true outcomes (n,) with its interval; see `suite.metrics.stats.rate`.

        Args:
            metric: its declaration.
            outcomes: bool (n,).
            rows: as in `groups_of`.
            fields: fields of `Measure`.
        """
        groups, own = self.groups_of(len(np.asarray(outcomes)), rows), self.fields(metric, **fields)
        return rate(metric.name, outcomes, groups=groups, seed=self.seed, level=self.level, **own)

    def mean(
        self, metric: Metric, values: npt.ArrayLike, *, rows: Any = None, seed: int | None = None, **fields: Any
    ) -> Measure:
        """Return the mean of values (n,) with its interval; see `suite.metrics.stats.mean_measure`.

        Args:
            metric: its declaration, with the bounds of the values.
            values: (n,) numbers.
            rows: as in `groups_of`.
            seed: of the resampling; None for that of the table.
            fields: ``bounds``, instead of those of the metric, and fields of `Measure`.
        """
        own: dict[str, Any] = {
            "seed": self.seed if seed is None else seed,
            "bounds": fields.pop("bounds", metric.value_bounds),
            "groups": self.groups_of(len(np.asarray(values)), rows),
            "level": self.level,
        }
        return mean_measure(metric.name, values, **own, **self.fields(metric, **fields))

    def resampled(self, metric: Metric, statistic: Statistic, n: int | None = None, **fields: Any) -> Measure:
        """Return a statistic of n samples with its bootstrap interval; see `suite.metrics.stats.resampled`.

        Args:
            metric: its declaration.
            statistic: its values on resamples.
            n: number of samples; None for the number of evaluated samples.
            fields: ``rows``, as in `groups_of`; ``seed`` of the resampling, by default that of the table; further
                arguments of `suite.metrics.stats.resampled` and fields of `Measure`.
        """
        own = self._resampling(n, fields)
        options = {name: fields.pop(name) for name in ("recentred", "added") if name in fields}
        return resampled(metric.name, statistic, **own, **options, **self.fields(metric, **fields))

    def resampled_together(
        self,
        metrics: Sequence[Metric],
        statistic: Statistic,
        *,
        each: Sequence[Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> list[Measure]:
        """Return k statistics of the same samples with their bootstrap intervals, from one pass over the resamples.

        Each interval equals that of `resampled` alone.

        Args:
            metrics: their declarations.
            statistic: values of all k on resamples, (r, k).
            each: fields of the single measures, such as ``why`` and ``params``.
            fields: ``n``, ``rows``, ``seed``, ``recentred`` and ``added`` as in `resampled`, and fields of all
                measures.
        """
        own = self._resampling(fields.pop("n", None), fields)
        options = {name: fields.pop(name) for name in ("recentred", "added") if name in fields}
        single = [{}] * len(metrics) if each is None else each
        measures = [
            {"metric": metric.name, **self.fields(metric, **{**fields, **one})}
            for metric, one in zip(metrics, single, strict=True)
        ]
        return resampled_together(measures, statistic, **own, **options)

    def _resampling(self, n: int | None, fields: dict[str, Any]) -> dict[str, Any]:
        """Take rows and seed out of the fields, and return what resampling needs."""
        n, seed = len(self) if n is None else n, fields.pop("seed", None)
        groups = self.groups_of(n, fields.pop("rows", None))
        return {"n": n, "seed": self.seed if seed is None else seed, "groups": groups, "level": self.level}

    def undefined(self, metric: Metric, reason: str, *, n: int = 0, **fields: Any) -> Measure:
        """Return a measure without a value, with the reason."""
        return Measure(
            metric.name, None, None, None, n, "none", reason=reason, level=self.level, **self.fields(metric, **fields)
        )

    def fields(self, metric: Metric, **fields: Any) -> dict[str, Any]:
        """Return the fields that every measure of a metric has here, and further ones; params are merged."""
        params = {**self.params, **fields.pop("params", {})}
        return {"unit": metric.unit, "higher_is_better": metric.higher_is_better, **fields, "params": params}


def combined(parts: Iterable[Part]) -> Part:
    """Return what several rounds measured of the same samples as one part; of equal names the first is kept."""
    columns: dict[tuple[Any, ...], Column] = {}
    facts: dict[str, Any] = {}
    sums: dict[str, Any] = {}
    for part in parts:
        for column in part.columns:
            columns.setdefault(column.key, column)
        facts, sums = {**part.facts, **facts}, {**part.sums, **sums}
    return Part(list(columns.values()), facts, sums)


Measurement = Callable[..., Measured | Sequence[Measured] | Mapping[str, Any]]
"""A function that runs the model: from outcomes to what a summary needs. A mapping holds columns by name."""


def collected(parts: Iterable[Measured | Sequence[Measured] | Mapping[str, Any]], **params: Any) -> Part:
    """Return all columns of some parts under one condition, their facts and sums; of equal names the first is kept."""

    def each() -> Iterator[Part]:
        for part in parts:
            for one in part if isinstance(part, Sequence) else [part if isinstance(part, Measured) else Measured(part)]:
                condition = {**params, **one.params}
                columns = [
                    Column(name, np.asarray(values), condition, one.population) for name, values in one.columns.items()
                ]
                yield Part(columns, one.facts, one.sums)

    return combined(each())
