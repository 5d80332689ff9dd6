"""Which numbers of a record become columns of a board.

Each function takes a task's rows and yields `Column`s: what the column is called, and one entry per model. Records of
different specs (other steps, other bins) are different questions, and so never share a column.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from suite.leaderboard.measured import (
    AIMS,
    ATTACKED,
    ATTRIBUTION,
    CALIBRATION,
    CLEAN,
    CONVENTIONS,
    CORRUPTION,
    FOUND,
    HEADLINES,
    METRICS,
    REAL,
    ROBUST,
    UNCERTAINTY,
)

__all__ = ["ATTACKED", "HEADLINES", "REAL", "ROBUST", "Column", "columns"]

COUNTED = {"words": "word", "characters": "character", "trigger": "token"}
"""What limits an attack on texts and is counted, and what one of it is called."""

CONTROLS = ("random", "recency")
"""Orders of features that explain nothing, beside which methods are held."""

ENTRY = ["value", "lo", "hi", "n", "status", "reason", "checks", "control", "record", "interval_by"]
"""What an entry of a column holds, besides the model it belongs to."""


@dataclass(frozen=True)
class Column:
    """One measure of a board, for all models.

    Attributes:
        name: prefix of the measure's columns in the board's frame.
        title: what readers see; unique within a board.
        axis, spec, metric: where the numbers come from.
        higher_is_better: which end of the column is the good one; None where neither is.
        unit: ``fraction`` numbers are shown in percent.
        outcome: what a sample's right answer is called in the per-sample table, where there is one: ``correct``, or
            the size of the attack.
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
    """Return every column that a task's rows fill: accuracy, each attack, corruptions, calibration, attribution."""
    rows = rows.assign(interval_by=rows["method"])
    wanted = rows["metric"].isin(METRICS)
    parsed = rows[wanted].assign(params=rows.loc[wanted, "params"].map(json.loads))
    found = [*_clean(parsed), *_robust(parsed), *_corrupted(parsed), *_calibration(parsed), *_attribution(parsed)]
    return tuple(_with_failures(column, rows) for column in _unique(found))


def _clean(rows: pd.DataFrame) -> Iterator[Column]:
    chosen = rows[rows["axis"] == "clean"]
    plain = ~chosen["params"].astype(bool)
    for metric, title in CLEAN.items():
        part = chosen[(chosen["metric"] == metric) & (plain | (metric in CONVENTIONS))]
        for _, group in part.groupby("spec"):
            for added, rest in _conventions(group):
                outcome = "correct" if metric == "accuracy" else None
                yield _column(metric + added, title + added, rest, outcome=outcome)


def _conventions(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each convention, and what tells it from the plainest: in two of them a measure is two measures.

    Where none is plainer than the others, each is told from another.
    """
    told = rows["params"].map(lambda params: tuple(sorted(_told(params).items())))
    measured = told[rows["value"].notna()]
    if measured.empty:
        yield "", rows
        return
    found = sorted(set(measured), key=lambda convention: (len(convention), convention))
    tied = len(found) > 1 and len(found[0]) == len(found[1])
    for place, convention in enumerate(found):
        other = found[0] if place else found[int(tied)]
        own = [value for name, value in convention if (name, value) not in other]
        suffix = f" ({', '.join(own)})" if own else ""
        yield suffix, rows[(told == convention) | (rows["value"].isna() & (place == 0))]


def _told(params: Mapping[str, Any]) -> dict[str, str]:
    """Return what params say of the convention of a measure, and not of what was found by it."""
    return {name: str(value) for name, value in params.items() if name not in FOUND}


def _robust(rows: pd.DataFrame) -> Iterator[Column]:
    chosen = rows[rows["axis"] == "robustness"]
    chosen = chosen[_param(chosen, "reference").eq(True)]
    aims = _param(chosen, "attack").astype(str).str.split().str[-1].map(AIMS)
    chosen = chosen[chosen["metric"].isin(ROBUST) | (chosen["metric"] == aims)]
    size = _param(chosen, "eps").fillna(_param(chosen, "area")).fillna(_param(chosen, "edits")).astype(float)
    aside = ~chosen["metric"].isin(ROBUST)
    chosen = chosen.assign(size=size, norm=_param(chosen, "norm"), attack=_param(chosen, "attack"), aside=aside)
    chosen = chosen.assign(codes=_param(chosen, "codes").fillna(""))
    for (*_, codes), group in chosen.groupby(["spec", "attack", "norm", "size", "aside", "codes"], dropna=False):
        attack, norm, amount = group["attack"].iloc[0], group["norm"].iloc[0], float(group["size"].iloc[0])
        spec = str(group["spec"].iloc[0])
        title = f"{attack} {_sized(norm, amount, spec)}" + (f" (codes: {codes})" if codes else "")
        metric = str(group["metric"].iloc[0])
        if metric not in ROBUST:
            title = f"{title} {metric.replace('_', ' ').removesuffix(' rate')}"
            yield _column(f"robust {title}", title, group)
            continue
        yield _column(f"robust {title}", title, group, outcome=amount if metric == "robust_accuracy" else None)


def _sized(norm: Any, amount: float, spec: str) -> str:
    if norm == "patch":
        return f"{100 * amount:.3g} % area"
    if norm in COUNTED:
        return f"{amount:.0f} {COUNTED[norm]}{'s' if amount > 1 else ''}"
    return f"{norm} {_as_typed(amount, spec)}"


def _corrupted(rows: pd.DataFrame) -> Iterator[Column]:
    for metric, (name, title) in CORRUPTION.items():
        for _, group in rows[(rows["axis"] == "corruption") & (rows["metric"] == metric)].groupby("spec"):
            yield _column(name, title, group)


def _as_typed(size: float, spec: str) -> str:
    """Return a size as its spec has it: 8/255 where that was typed, else rounded."""
    typed = (text for text in re.findall(r"\d+/\d+", spec) if math.isclose(_ratio(text), size, rel_tol=1e-9))
    return next(typed, f"{size:.3g}")


def _ratio(text: str) -> float:
    numerator, denominator = text.split("/")
    return int(numerator) / (int(denominator) or math.nan)


def _calibration(rows: pd.DataFrame) -> Iterator[Column]:
    chosen = rows[rows["axis"] == "calibration"]
    chosen = chosen.assign(uncertainty=_param(chosen, "uncertainty"))
    chosen = chosen[_param(chosen, "region").isna()]
    for metric, uncertainty, name, title in CALIBRATION:
        part = chosen[(chosen["metric"] == metric) & (chosen["uncertainty"] == uncertainty)]
        for _, group in part.groupby("spec"):
            yield _column(name, title, group)
    for metric, title in UNCERTAINTY.items():
        for _, group in chosen[(chosen["metric"] == metric) & chosen["uncertainty"].isna()].groupby("spec"):
            for added, rest in _conventions(group):
                yield _column(metric + added, title + added, rest)


def _attribution(rows: pd.DataFrame) -> Iterator[Column]:
    for (axis, metric), title in ATTRIBUTION.items():
        chosen = rows[(rows["axis"] == axis) & (rows["metric"] == metric)]
        replaced_by = _param(chosen, "baseline").fillna(_param(chosen, "deletion"))
        chosen = chosen.assign(method=_param(chosen, "method"), baseline=replaced_by)
        chosen = chosen[~chosen["method"].isin(CONTROLS) & chosen["baseline"].notna()]  # a skipped row has no baseline
        for _, group in chosen.groupby("spec"):
            first = "mean" if "mean" in set(group["baseline"]) else group["baseline"].iloc[0]
            several = axis == "attribution"  # features are deleted in one way by each model
            best = _best(group[group["baseline"] == first] if several else group).set_index("model")
            other = f" ({first})" if several and first != "mean" else ""
            column = _column("attribution", title + other, best.reset_index())
            yield replace(column, entries=column.entries.assign(**best[["method", "baseline", "compared"]]))


def _best(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model: the method that beats random by most, or none with the reason."""
    beats = rows["checks"].map(lambda text: json.loads(text).get("beats_random", "pass") == "pass")
    margin = (rows["value"] - rows["control"]).where(beats)
    order = rows.assign(margin=margin.where(margin > 0)).sort_values("margin", na_position="first", kind="stable")
    best = order.drop_duplicates("model", keep="last").copy()
    best["compared"] = best["model"].map(rows.groupby("model")["method"].nunique())
    none = best["margin"].isna()
    best.loc[none, ["value", "lo", "hi"]] = float("nan")
    best.loc[none, "method"] = None
    best.loc[none, "status"] = "inconclusive"
    best.loc[none, "reason"] = "no method beats the random map"
    best.loc[~none, "status"] = "ok"
    return best


def _param(rows: pd.DataFrame, name: str) -> pd.Series[Any]:
    return pd.Series([params.get(name) for params in rows["params"]], index=rows.index, dtype=object)


def _column(name: str, title: str, rows: pd.DataFrame, *, outcome: str | float | None = None) -> Column:
    measured = rows[rows["value"].notna()]  # a row of what does not apply does not know which end is the good one
    first = (measured if len(measured) else rows).iloc[0]
    is_proxy = bool(first["params"].get("proxy"))
    return Column(
        name=name,
        title=f"{title} (proxy)" if is_proxy else title,
        axis=first["axis"],
        spec=first["spec"],
        metric=first["metric"],
        higher_is_better=None if pd.isna(first["higher_is_better"]) else bool(first["higher_is_better"]),
        unit=first["unit"],
        outcome=outcome,
        entries=rows.drop_duplicates("model", keep="last").set_index("model")[ENTRY],
    )


def _unique(found: list[Column]) -> list[Column]:
    """Columns of one name that differ by spec carry the spec in name and title."""
    count = Counter(column.name for column in found)
    return [
        replace(c, name=f"{c.name} {c.spec}", title=f"{c.title} {c.spec}") if count[c.name] > 1 else c for c in found
    ]


def _with_failures(column: Column, rows: pd.DataFrame) -> Column:
    """Add an undefined entry for each model whose cell of this spec failed or was skipped."""
    failed = rows[(rows["spec"] == column.spec) & rows["status"].isin(["failed", "skipped"])]
    failed = failed.drop_duplicates("model", keep="last").set_index("model")[ENTRY]
    failed = failed[~failed.index.isin(column.entries.index)]
    return replace(column, entries=pd.concat([column.entries, failed])) if len(failed) else column
