"""The columns of a board: those that the metrics of its rows declare.

A declaration says which rows of a metric belong to a column. Records of different specs (other steps, other bins)
measure different things, so they never share a column.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from suite.leaderboard.best import best_rows
from suite.leaderboard.sizes import SIZE, size_label
from suite.metrics.catalogue import BoardColumn, Metric

AXES = ("clean", "robustness", "corruption", "occlusion", "calibration", "attribution", "rationale")
"""Order of the axes from left to right; other axes follow in alphabetical order."""

ENTRY = ["value", "lo", "hi", "n", "status", "reason", "checks", "control", "record", "interval_by", "params"]
"""Fields of a column's entry; the index is the model."""


@dataclass(frozen=True)
class Column:
    """One metric on a board, for all models.

    Attributes:
        name: prefix of the column's fields in the board's frame.
        title: what readers see; unique within a board.
        axis, spec: where the numbers come from.
        metric: the declaration of the metric.
        shown: the declaration of the column.
        higher_is_better, unit: those of the rows.
        entries: one line per model (the index) with the columns of `ENTRY`, and for the best of several rows `method`
            (the best), and `compared`, the number of rows it is the best of.
    """

    name: str
    title: str
    axis: str
    spec: str
    metric: Metric
    shown: BoardColumn
    higher_is_better: bool | None
    unit: str
    entries: pd.DataFrame


def columns(rows: pd.DataFrame) -> tuple[Column, ...]:
    """Return every column that the metrics of a task's rows declare, in the order of the axes."""
    parsed = {name: rows[name].map(json.loads) for name in ("params", "attack")}
    metrics = {text: Metric.from_json(json.loads(text)) for text in rows["entry"].dropna().unique()}
    rows = rows.assign(interval_by=rows["method"], metric=rows["entry"].map(metrics), **parsed)
    declared = rows[rows["entry"].map(lambda text: text in metrics and bool(metrics[text].columns))]
    order = {axis: place for place, axis in enumerate((*AXES, *sorted(set(rows["axis"]) - set(AXES))))}
    made: list[Column] = []
    for axis in sorted(declared["axis"].unique(), key=lambda name: order[name]):
        part = declared[declared["axis"] == axis]
        by_name = sorted(dict.fromkeys(part["metric"]), key=lambda metric: not metric.is_headline)
        for name in dict.fromkeys(metric.name for metric in by_name):
            made += _of_metric(part[part["metric"].map(lambda metric, name=name: metric.name == name)])
    return tuple(_with_failures(column, rows) for column in _unique(made))


def _of_metric(rows: pd.DataFrame) -> Iterator[Column]:
    """Yield the columns of one metric on one axis."""
    newest = rows["metric"].iloc[-1]
    for shown in newest.columns:
        part = rows[
            [_matches(shown, params, attack) for params, attack in zip(rows["params"], rows["attack"], strict=True)]
        ]
        for spec, group in part.groupby("spec"):
            for titled, subset in _by_title(shown, group, str(spec)):
                for suffix, alike in _conventions(titled, newest, subset):
                    yield _column(replace(titled, title=titled.title + suffix), shown, newest, alike)


def _matches(shown: BoardColumn, params: dict[str, Any], attack: dict[str, Any]) -> bool:
    """Return whether a row belongs to a column; a name that is no param is looked up in the row's attack."""
    return all({**attack, **params}.get(name) == value for name, value in shown.where.items())


def _by_title(shown: BoardColumn, rows: pd.DataFrame, spec: str) -> Iterator[tuple[BoardColumn, pd.DataFrame]]:
    """Yield the rows of each title, where the title of a column depends on the params of its rows."""
    if "{" not in shown.title:
        yield shown, rows
        return
    titles = [
        shown.title.format(**{**params, "size": size_label(params, attack, spec)})
        for params, attack in zip(rows["params"], rows["attack"], strict=True)
    ]
    for title, group in rows.groupby(pd.Series(titles, index=rows.index), sort=False):
        yield replace(shown, title=str(title)), group


def _conventions(shown: BoardColumn, metric: Metric, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each convention with a title suffix: numbers of two conventions cannot be compared.

    The suffix names how a convention differs from the simplest one. Where several are equally simple, each has one.
    """
    if shown.best_of:
        yield "", rows
        return
    sizes = {str(attack.get("size_name")) for attack in rows["attack"]}
    ignored = {*metric.descriptive, *shown.where, *sizes, "attack", "norm", "proxy"}
    convention = rows["params"].map(
        lambda params: tuple(sorted((name, str(params[name])) for name in params.keys() - ignored))
    )
    measured = convention[rows["value"].notna()]
    if measured.empty:
        yield "", rows
        return
    ordered = sorted(set(measured), key=lambda pairs: (len(pairs), pairs))
    tied = len(ordered) > 1 and len(ordered[0]) == len(ordered[1])
    for place, pairs in enumerate(ordered):
        other = ordered[0] if place else ordered[int(tied)]
        own = [value for name, value in pairs if (name, value) not in other]
        suffix = f" ({', '.join(own)})" if own else ""
        yield suffix, rows[(convention == pairs) | (rows["value"].isna() & (place == 0))]


def _column(titled: BoardColumn, shown: BoardColumn, metric: Metric, rows: pd.DataFrame) -> Column:
    if shown.best_of:
        rows, titled = best_rows(shown, rows), replace(titled, title=titled.title + _not_preferred(shown, rows))
    measured = rows[rows["value"].notna()]  # a row that does not apply has no direction
    first = (measured if len(measured) else rows).iloc[0]
    extra = [name for name in ("best", "compared") if name in rows]
    entries = rows.drop_duplicates("model", keep="last").set_index("model")[[*ENTRY, *extra]]
    return Column(
        name=_name(shown, metric, titled.title),
        title=f"{titled.title} (proxy)" if first["params"].get("proxy") else titled.title,
        axis=first["axis"],
        spec=first["spec"],
        metric=metric,
        shown=shown,
        higher_is_better=None if pd.isna(first["higher_is_better"]) else bool(first["higher_is_better"]),
        unit=first["unit"],
        entries=entries.rename(columns={"best": "method"}),
    )


def _name(shown: BoardColumn, metric: Metric, title: str) -> str:
    """Return the name by which a column is chosen to rank a board."""
    if SIZE in shown.title:
        return f"robust {title}"
    if shown.where or shown.best_of:
        return title.lower()
    return metric.name + title.removeprefix(shown.title)


def _not_preferred(shown: BoardColumn, rows: pd.DataFrame) -> str:
    """Return a title suffix that names the values of params other than the preferred ones."""
    found = {name: rows["params"].iloc[0].get(name) for name in shown.prefer} if len(rows) else {}
    other = [str(value) for name, value in found.items() if value is not None and value != shown.prefer[name]]
    return f" ({', '.join(other)})" if other else ""


def _unique(made: list[Column]) -> list[Column]:
    """Add the spec to name and title of columns that share a name."""
    count = Counter(column.name for column in made)
    return [
        replace(c, name=f"{c.name} {c.spec}", title=f"{c.title} {c.spec}") if count[c.name] > 1 else c for c in made
    ]


def _with_failures(column: Column, rows: pd.DataFrame) -> Column:
    """Add an undefined entry for each model whose cell of this spec failed or was skipped."""
    failed = rows[(rows["spec"] == column.spec) & rows["status"].isin(["failed", "skipped"])]
    failed = failed.drop_duplicates("model", keep="last").set_index("model")[ENTRY]
    failed = failed[~failed.index.isin(column.entries.index)]
    return replace(column, entries=pd.concat([column.entries, failed])) if len(failed) else column
