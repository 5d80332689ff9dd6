"""Tables of a page, from stored rows and details: pure functions, no Streamlit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from suite.leaderboard import Board, Column
from suite.leaderboard.cells import ARROWS, DASH, format_number, has_interval, is_upper_bound, mark_verdict
from suite.leaderboard.spreadsheets import as_text
from suite.leaderboard.text import printable
from suite.metrics.catalogue import Metric
from suite.reports.text import (
    BETTER,
    around,
    described,
    entry_of,
    in_unit,
    number,
    scale,
    size_of,
    span,
    up_to,
    with_mark,
)
from suite.reports.verdicts import label

WORD = r"(?:\(?-?\d[\d,.]*(?:e[-+]?\d+)?\)?|%|[^\W\d_]+(?:/[^\W\d_]+)*)"
QUANTITY = re.compile(rf"{WORD}(?: {WORD})*")
"""Numbers as text, such as ``-0.5 bits/char (-0.6 to -0.4)``: words and numbers without an operator between them."""


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which spreadsheets show every cell and heading as text, or as the number that it is."""
    texts = [not pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
    safe = frame.copy()
    for place in np.flatnonzero(texts):
        safe.isetitem(place, pd.Series(list(map(_cell, frame.iloc[:, place])), index=frame.index, dtype=object))
    return safe.rename(columns=_cell)


def _cell(value: Any) -> Any:
    return value if isinstance(value, str) and QUANTITY.fullmatch(value) else as_text(value)


def board_frame(board: Board) -> pd.DataFrame:
    """Return a board for display, with headings of two levels: the metric, then value, interval, verdict and ties.

    Readers can sort by any column. Only valid numbers are under *value*, so sorting by a robust accuracy never puts an
    upper bound above one of them; a suspect number is under *verdict*, with its marks.
    """
    frame = board.frame
    shown: dict[tuple[str, str], Any] = {
        ("", "rank"): frame["rank"].where(frame["rank"].notna(), DASH),
        ("", "model"): frame["model"].map(printable),
        ("", "worst verdict"): frame["status"].map(label),
    }
    for column in board.columns:
        shown.update(_fields(frame, column))
    shown["", "failures"] = [printable("; ".join(reasons)) or DASH for reasons in frame["reasons"]]
    return pd.DataFrame(shown)


def _fields(frame: pd.DataFrame, column: Column) -> dict[tuple[str, str], Any]:
    factor = scale(column.unit)
    head = f"{printable(column.title)}{' %' if factor == 100 else ''} {ARROWS[column.higher_is_better]}".strip()
    shown: dict[tuple[str, str], Any] = {
        (head, "value"): pd.to_numeric(frame[column.name]).where(frame[f"{column.name}_status"] == "ok") * factor,
        (head, "95 % interval"): [_interval(line, column) for _, line in frame.iterrows()],
    }
    if column.metric.upper_bound or not frame[f"{column.name}_status"].dropna().eq("ok").all():
        shown[head, "verdict"] = [_verdict(line, column) for _, line in frame.iterrows()]
    if (control := column.metric.control) and frame[f"{column.name}_control"].notna().any():
        shown[head, printable(control)] = (
            pd.to_numeric(frame[f"{column.name}_control"]).where(frame[column.name].notna()) * factor
        )
    ties = frame[f"{column.name}_ties"]
    if ties.notna().any():
        shown[head, "ties"] = ties.where(ties.notna(), DASH)
    if f"{column.name}_method" in frame:
        methods = frame[f"{column.name}_method"]
        shown[head, "best method"] = [DASH if pd.isna(name) else printable(name) for name in methods]
    return shown


def _interval(line: pd.Series[Any], column: Column) -> str:
    if not has_interval(line, column):
        return DASH
    lo, hi = line[f"{column.name}_lo"], line[f"{column.name}_hi"]
    is_bound = is_upper_bound(column.metric, line[f"{column.name}_status"], column.higher_is_better)
    return up_to(hi, column.unit) if is_bound else span(lo, hi, column.unit)


def _verdict(line: pd.Series[Any], column: Column) -> str:
    """Return the verdict on a number, and the number itself where it is suspect: ``≤ 71.2 ? suspect``."""
    status = line[f"{column.name}_status"]
    if status != "suspect":
        return label(status)
    value = format_number(line[column.name], column.unit)
    return f"{mark_verdict(value, column.metric, status, column.higher_is_better)} suspect"


def metric_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return stored rows for display: one line per metric with its checks and reasons."""
    lines = [_metric_line(row) for _, row in rows.iterrows()]
    names = ["metric", "value", "95 % interval", "n", "control", "verdict", "checks", "reason", "interval by"]
    return pd.DataFrame(lines, columns=names)


def _metric_line(row: pd.Series[Any]) -> dict[str, Any]:
    checks = json.loads(row["checks"])
    return {
        "metric": printable(described(entry_of(row).title, json.loads(row["params"]))),
        "value": with_mark(row),
        "95 % interval": around(row),
        "n": _count(row),
        "control": number(row["control"], row["unit"]),
        "verdict": label(row["status"]),
        "checks": printable("; ".join(f"{name}: {result}" for name, result in checks.items())) or DASH,
        "reason": DASH if not isinstance(row["reason"], str) else printable(row["reason"]),
        "interval by": printable(row["method"]) if pd.notna(row["lo"]) else DASH,
    }


def _count(row: pd.Series[Any]) -> str:
    """Return the number of samples, and of groups where samples are dependent: ``100 in 10 groups``."""
    groups = row.get("groups")
    return f"{row['n']:,}" if groups is None or pd.isna(groups) else f"{row['n']:,} in {int(groups):,} groups"


def by_class(rows: pd.DataFrame) -> Iterator[tuple[Metric, pd.DataFrame]]:
    """Yield every metric that has a number per class, with columns class, value, lo, hi and n, in the stored order.

    Fractions are in percent.
    """
    classes = rows["params"].map(lambda params: json.loads(params).get("class"))
    for _, part in rows[classes.notna() & rows["value"].notna()].groupby("metric", sort=False):
        factor = part["unit"].map(scale).astype(float)
        numbers = part[["value", "lo", "hi"]].astype(float).mul(factor, axis=0)
        named = {"class": classes[part.index].astype(str)}
        yield entry_of(part.iloc[0]), numbers.assign(n=part["n"], **named).reset_index(drop=True)


def overview_frame(board: Board, *, most: int) -> pd.DataFrame:
    """Return the headline metric of the first models, a line each: model, metric, unit, bound, value, lo, hi.

    Fractions are in percent. Where `bound` is true, the value is an upper bound without a lower end.
    """
    lines = [
        {"model": line["model"], "metric": column.title, "unit": column.unit, **_point(line, column)}
        for column in headlines(board)
        for _, line in board.frame.head(most).iterrows()
        if pd.notna(line[column.name]) and line[f"{column.name}_status"] in ("ok", "suspect", "inconclusive")
    ]
    frame = pd.DataFrame(lines, columns=["model", "metric", "unit", "bound", "value", "lo", "hi"])
    return frame.astype({"bound": bool, "value": float, "lo": float, "hi": float})


def headlines(board: Board) -> list[Column]:
    """Return the columns of the headline metric, clean and under attack."""
    shown = [column for column in board.columns if column.metric.is_headline]
    return [column for column in shown if column.unit == shown[0].unit]


def _point(line: pd.Series[Any], column: Column) -> dict[str, Any]:
    factor = scale(column.unit)
    bound = is_upper_bound(column.metric, line[f"{column.name}_status"], column.higher_is_better)
    lo, hi = (factor * line[f"{column.name}_{end}"] if has_interval(line, column) else None for end in ("lo", "hi"))
    return {"bound": bound, "value": factor * line[column.name], "lo": None if bound else lo, "hi": hi}


def panels_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of an attack that are also measured without it: columns title, size, value, lo, hi, control.

    Shares are in percent; size 0 is the clean input.
    """
    sizes = pd.Series([size_of(row) for row in rows.to_dict("records")], index=rows.index, dtype=float)
    part = rows[rows["metric"].isin(rows.loc[sizes.eq(0), "metric"]) & rows["value"].notna()]
    numbers = part[["value", "lo", "hi", "control"]].astype(float).mul(part["unit"].map(scale).astype(float), axis=0)
    numbers.insert(0, "title", [in_unit(entry_of(row).title, row["unit"]) for row in part.to_dict("records")])
    numbers.insert(1, "size", sizes[part.index])
    numbers.insert(2, "metric", part["metric"])
    return numbers.dropna(subset="size").reset_index(drop=True)


def dropped_frame(data: Mapping[str, Any]) -> pd.DataFrame:
    """Return the samples that the task dropped: reason, sample, detail."""
    lines = [
        {"reason": printable(reason), "sample": printable(entry[0]), "detail": printable(entry[1])}
        for reason, entries in data.get("dropped", {}).items()
        for entry in entries
    ]
    return pd.DataFrame(lines, columns=["reason", "sample", "detail"])


def meaning_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return stored rows without those per class, in their order: metric, meaning, value, interval and control."""
    lines = [
        {"metric": title, "meaning": printable(entry_of(row).meaning), **_numbers(row)}
        for title, row in _distinct(rows)
        if "class" not in json.loads(row["params"])
    ]
    frame = pd.DataFrame(lines, columns=["metric", "meaning", "value", "95 % interval", "control"])
    return frame if frame["control"].ne(DASH).any() else frame.drop(columns="control")


def pivot_frame(rows: pd.DataFrame, param: str) -> pd.DataFrame:
    """Return one line per metric, in the order of the rows: metric, meaning, and a column per value of a param."""
    lines: dict[str, dict[str, str]] = {}
    for title, row in _distinct(rows, param):
        meaning = printable(entry_of(row).meaning)
        line = lines.setdefault(title, {"metric": title, "meaning": meaning})
        shown = _numbers(row)
        spread = "" if shown["95 % interval"] == DASH else f" ({shown['95 % interval']})"
        line[printable(json.loads(row["params"]).get(param)).replace("_", " ")] = shown["value"] + spread
    return pd.DataFrame(list(lines.values())).fillna(DASH)


def _numbers(row: Mapping[Any, Any]) -> dict[str, str]:
    """Return value, interval and control of a stored row."""
    return {"value": with_mark(row), "95 % interval": around(row), "control": number(row["control"], row["unit"])}


def _distinct(rows: pd.DataFrame, without: str = "") -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield rows with their titles, and the params in which they differ from other rows of the same metric.

    Rows are compared with those of the same value of the param `without`, which is left out.
    """
    lines = rows.to_dict("records")
    parsed = [json.loads(row["params"]) for row in lines]
    groups: dict[Any, list[dict[str, Any]]] = {}
    keys = [(row["metric"], str(params.get(without))) for row, params in zip(lines, parsed, strict=True)]
    for key, params in zip(keys, parsed, strict=True):
        groups.setdefault(key, []).append(params)
    for row, key, params in zip(lines, keys, parsed, strict=True):
        own = {
            name: value
            for name, value in params.items()
            if name != without and (name == "proxy" or any(other.get(name) != value for other in groups[key]))
        }
        yield printable(described(entry_of(row).title, own)), row


def catalogue_frame(metrics: Iterable[Metric]) -> pd.DataFrame:
    """Return declarations of metrics as a table: metric, name, meaning, unit, which direction is better."""
    lines = [
        {
            "metric": printable(metric.title),
            "meaning": printable(metric.meaning),
            "unit": printable(metric.unit),
            "better": BETTER[metric.higher_is_better],
            "stored as": printable(metric.name),
        }
        for metric in metrics
    ]
    return pd.DataFrame(lines, columns=["metric", "meaning", "unit", "better", "stored as"])
