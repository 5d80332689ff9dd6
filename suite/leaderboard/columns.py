"""The columns of a board.

Each function takes a task's rows and yields `Column`s: the name of the column, and one entry per model. Records of
different specs (other steps, other bins) measure different things, so they never share a column.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import pandas as pd

from suite.leaderboard.metrics import (
    ATTRIBUTION,
    CALIBRATION,
    CLEAN,
    CONVENTIONS,
    CORRUPTION,
    METRICS,
    OBJECTIVES,
    RESULT_PARAMS,
    ROBUST,
    UNCERTAINTY,
)

COUNTED = {"words": "word", "characters": "character", "trigger": "token"}
"""Norms of text attacks that count edits, and the singular of what they count."""

CONTROLS = ("random", "recency")
"""Feature orders that ignore the model: the controls of the attribution methods."""

ENTRY = ["value", "lo", "hi", "n", "status", "reason", "checks", "control", "record", "interval_by"]
"""Fields of a column's entry; the index is the model."""


@dataclass(frozen=True)
class Column:
    """One metric on a board, for all models.

    Attributes:
        name: prefix of the column's fields in the board's frame.
        title: what readers see; unique within a board.
        axis, spec, metric: where the numbers come from.
        higher_is_better: None where neither direction is better.
        unit: ``fraction`` is shown in percent.
        outcome: what the per-sample table calls a correct sample, where it has one: ``correct``, or the size of the
            attack.
        entries: one line per model (the index) with the columns of `ENTRY`, and for attribution `method` (the
            best), `baseline`, and `compared`, the number of methods it is the best of.
    """

    name: str
    title: str
    axis: str
    spec: str
    metric: str
    higher_is_better: bool | None
    unit: str
    outcome: str | float | None
    entries: pd.DataFrame


def columns(rows: pd.DataFrame) -> tuple[Column, ...]:
    """Return every column that a task's rows fill: clean, each attack, corruption, calibration, attribution."""
    rows = rows.assign(interval_by=rows["method"])
    parsed = rows[rows["metric"].isin(METRICS)]
    parsed = parsed.assign(params=parsed["params"].map(json.loads))
    made = [*_clean(parsed), *_robust(parsed), *_corruption(parsed), *_calibration(parsed), *_attribution(parsed)]
    return tuple(_with_failures(column, rows) for column in _unique(made))


def _clean(rows: pd.DataFrame) -> Iterator[Column]:
    rows = rows[rows["axis"] == "clean"]
    without_params = ~rows["params"].astype(bool)
    for metric, title in CLEAN.items():
        part = rows[(rows["metric"] == metric) & (without_params | (metric in CONVENTIONS))]
        yield from _by_convention(part, metric, title, outcome="correct" if metric == "accuracy" else None)


def _by_convention(rows: pd.DataFrame, name: str, title: str, *, outcome: str | None = None) -> Iterator[Column]:
    for _, group in rows.groupby("spec"):
        for suffix, part in _conventions(group):
            yield _column(name + suffix, title + suffix, part, outcome=outcome)


def _conventions(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each convention with a title suffix: numbers of two conventions cannot be compared.

    The suffix names how a convention differs from the simplest one. Where several are equally simple, each has one.
    """
    convention = rows["params"].map(
        lambda params: tuple(sorted((name, str(params[name])) for name in params.keys() - RESULT_PARAMS))
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


def _robust(rows: pd.DataFrame) -> Iterator[Column]:
    rows = rows[rows["axis"] == "robustness"]
    rows = rows[_param(rows, "reference").eq(True)]
    objectives = _param(rows, "attack").astype(str).str.split().str[-1].map(OBJECTIVES)
    rows = rows[rows["metric"].isin(ROBUST) | (rows["metric"] == objectives)]
    rows = rows.assign(
        size=_param(rows, "eps").fillna(_param(rows, "area")).fillna(_param(rows, "edits")).astype(float),
        norm=_param(rows, "norm"),
        attack=_param(rows, "attack"),
        is_objective=~rows["metric"].isin(ROBUST),
        codes=_param(rows, "codes").fillna(""),
    )
    keys = ["spec", "attack", "norm", "size", "is_objective", "codes"]
    for (*_, is_objective, codes), group in rows.groupby(keys, dropna=False):
        first = group.iloc[0]
        size, metric = float(first["size"]), str(first["metric"])
        title = f"{first['attack']} {_size_label(first['norm'], size, str(first['spec']))}"
        title += f" (codes: {codes})" if codes else ""
        title += f" {metric.replace('_', ' ').removesuffix(' rate')}" if is_objective else ""
        yield _column(f"robust {title}", title, group, outcome=size if metric == "robust_accuracy" else None)


def _size_label(norm: Any, size: float, spec: str) -> str:
    if norm == "patch":
        return f"{100 * size:.3g} % area"
    if norm in COUNTED:
        return f"{size:.0f} {COUNTED[norm]}{'s' if size > 1 else ''}"
    return f"{norm} {_as_typed(size, spec)}"


def _as_typed(size: float, spec: str) -> str:
    """Return a size as its spec has it: 8/255 where that was typed, else rounded."""
    ratios = re.findall(r"\d+/0*[1-9]\d*", spec)
    return next((text for text in ratios if math.isclose(Fraction(text), size, rel_tol=1e-9)), f"{size:.3g}")


def _corruption(rows: pd.DataFrame) -> Iterator[Column]:
    for metric, (name, title) in CORRUPTION.items():
        for _, group in rows[(rows["axis"] == "corruption") & (rows["metric"] == metric)].groupby("spec"):
            yield _column(name, title, group)


def _calibration(rows: pd.DataFrame) -> Iterator[Column]:
    rows = rows[rows["axis"] == "calibration"]
    rows = rows.assign(uncertainty=_param(rows, "uncertainty"))[_param(rows, "region").isna()]
    for metric, uncertainty, name, title in CALIBRATION:
        part = rows[(rows["metric"] == metric) & (rows["uncertainty"] == uncertainty)]
        for _, group in part.groupby("spec"):
            yield _column(name, title, group)
    for metric, title in UNCERTAINTY.items():
        yield from _by_convention(rows[(rows["metric"] == metric) & rows["uncertainty"].isna()], metric, title)


def _attribution(rows: pd.DataFrame) -> Iterator[Column]:
    for (axis, metric), title in ATTRIBUTION.items():
        part = rows[(rows["axis"] == axis) & (rows["metric"] == metric)]
        baseline = _param(part, "baseline").fillna(_param(part, "deletion"))
        part = part.assign(method=_param(part, "method"), baseline=baseline)
        part = part[~part["method"].isin(CONTROLS) & part["baseline"].notna()]  # a skipped row has no baseline
        for _, group in part.groupby("spec"):
            first = "mean" if "mean" in set(group["baseline"]) else group["baseline"].iloc[0]
            has_baselines = axis == "attribution"  # a rationale deletes features in one way per model
            best = _best(group[group["baseline"] == first] if has_baselines else group).set_index("model")
            other = f" ({first})" if has_baselines and first != "mean" else ""
            column = _column("attribution", title + other, best.reset_index())
            yield replace(column, entries=column.entries.assign(**best[["method", "baseline", "compared"]]))


def _best(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model: the method with the largest margin over random, or an undefined row with the reason."""
    beats = rows["checks"].map(lambda text: json.loads(text).get("beats_random", "pass") == "pass")
    margin = (rows["value"] - rows["control"]).where(beats)
    order = rows.assign(margin=margin.where(margin > 0)).sort_values("margin", na_position="first", kind="stable")
    best = order.drop_duplicates("model", keep="last").copy()
    best["compared"] = best["model"].map(rows.groupby("model")["method"].nunique())
    none = best["margin"].isna()
    best["status"] = none.map({True: "inconclusive", False: "ok"})
    best.loc[none, ["value", "lo", "hi"]] = float("nan")
    best.loc[none, "method"] = None
    best.loc[none, "reason"] = "no method beats the random map"
    return best


def _param(rows: pd.DataFrame, name: str) -> pd.Series[Any]:
    return pd.Series([params.get(name) for params in rows["params"]], index=rows.index, dtype=object)


def _column(name: str, title: str, rows: pd.DataFrame, *, outcome: str | float | None = None) -> Column:
    measured = rows[rows["value"].notna()]  # a row that does not apply has no direction
    first = (measured if len(measured) else rows).iloc[0]
    return Column(
        name=name,
        title=f"{title} (proxy)" if first["params"].get("proxy") else title,
        axis=first["axis"],
        spec=first["spec"],
        metric=first["metric"],
        higher_is_better=None if pd.isna(first["higher_is_better"]) else bool(first["higher_is_better"]),
        unit=first["unit"],
        outcome=outcome,
        entries=rows.drop_duplicates("model", keep="last").set_index("model")[ENTRY],
    )


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
