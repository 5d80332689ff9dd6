"""The declaration of a metric: everything that a board, a report or an export needs to know about it.

A metric is declared once, next to the code that computes it. The declaration is stored with every record that has
rows of the metric, so that readers never need the code that declared it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

Control = Literal["", "random", "real"]
"""What the control of a metric is: none, random perturbations or attributions, or real samples."""


RANDOM: Control = "random"
"""The random control: of an attack, or of a choice such as an attribution method."""


@dataclass(frozen=True)
class BoardColumn:
    """A column that a board gives a metric.

    Attributes:
        title: the heading; ``{name}`` stands for the param of that name, ``{size}`` for the size of an attack with its
            norm, such as ``linf 8/255``.
        where: the params that a row must have to belong to the column, or properties of its attack, such as ``loss``;
            None for a param that it must not have.
        best_of: a param, such as ``method``: of the rows that differ in it, the board shows the one with the largest
            margin over the random control. Empty to show every row.
        controls: values of `best_of` that are controls.
        prefer: values of params that are preferred where rows differ in them: ``{"baseline": "mean"}``.
    """

    title: str
    where: Mapping[str, Any] = field(default_factory=dict, hash=False)
    best_of: str = ""
    controls: tuple[str, ...] = ()
    prefer: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: the name that rows store.
        title: a short name for headings and sentences.
        meaning: what the metric measures, in one sentence without a full stop.
        unit: ``fraction`` and ``probability`` are shown in percent.
        higher_is_better: None where neither direction is better.
        control: what the control of its rows is.
        columns: its columns on a board; empty for none.
        is_headline: whether it is the headline metric of a kind, clean or under attack.
        upper_bound: whether a number with a failed check is an upper bound, as it is under attack.
        outcome: the per-sample column of outcomes that models are compared on, right (1) or wrong (0) or between; the
            metric is its mean. Empty for none.
        tally: the per-sample columns that models are compared on if the metric is not a mean: joined along their second
            axis they are what `suite.kinds.base.Scoring.statistic` takes. Empty for none.
        descriptive: params that describe a result, and do not distinguish conventions of the metric.
        section: heading under which the report lists the metric; empty for the default of its axis.
        bounds: the lowest and the highest possible value, None if there is none; by default 0 and 1 for fractions and
            probabilities. Intervals of means depend on them.
    """

    name: str
    title: str
    meaning: str
    unit: str = "fraction"
    higher_is_better: bool | None = True
    control: Control = ""
    columns: tuple[BoardColumn, ...] = ()
    is_headline: bool = False
    upper_bound: bool = False
    outcome: str = ""
    descriptive: tuple[str, ...] = ()
    section: str = ""
    bounds: tuple[float | None, float | None] | None = None
    tally: tuple[str, ...] = ()

    @property
    def value_bounds(self) -> tuple[float | None, float | None]:
        """The lowest and the highest possible value, from `bounds` or the unit."""
        if self.bounds is not None:
            return self.bounds
        return (0.0, 1.0) if self.unit in ("fraction", "probability") else (None, None)

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the declaration that `to_json` wrote."""
        columns = tuple(
            BoardColumn(**{**column, "controls": tuple(column["controls"])}) for column in values.get("columns", ())
        )
        bounds = values.get("bounds")
        own: dict[str, Any] = {name: tuple(values.get(name, ())) for name in ("descriptive", "tally")}
        own["bounds"] = None if bounds is None else tuple(bounds)
        return cls(**{**values, "columns": columns, **own})

    def renamed(self, prefix: str, title: str, **changes: Any) -> Self:
        """Return the metric under another name, ``PREFIX_NAME``, without columns unless they are given."""
        plain: dict[str, Any] = {"columns": (), "is_headline": False, "outcome": "", "tally": (), "control": ""}
        return replace(self, name=f"{prefix}_{self.name}", title=title, **plain | changes)

    def under_attack(self) -> Self:
        """Return the metric under attack, ``robust_NAME``: a headline with a random control and a column."""
        return self.renamed(
            "robust",
            f"robust {self.title}",
            meaning=f"{self.title} after an attack has perturbed every input, within the given size",
            columns=(BoardColumn("{attack} {size}", {"reference": True}),),
            is_headline=True,
            control="random",
            upper_bound=self.higher_is_better is True,
            descriptive=(*self.descriptive, "draws", "miss_seen", "seeds", "between_seeds"),
            outcome="quality" if self.outcome else "",
            tally=("tally",) if self.tally else (),
        )
