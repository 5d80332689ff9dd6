"""One number of a board as readers see it: its value, its interval, and a mark where it is not valid."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from suite.leaderboard.columns import Column
from suite.metrics.catalogue import Metric
from suite.types import verdict_of

ARROWS = {True: "↑", False: "↓", None: ""}
"""`Column.higher_is_better` as an arrow."""

DASH = "–"
"""Stands for what was not measured; never 0."""

NO_INTERVAL = f"[{DASH}]"
"""Stands for an undefined interval; never one of width 0."""


def cell(line: pd.Series[Any], column: Column, *, stacked: bool = False) -> str:
    """Return a board's cell: ``97.0 [94.4, 98.4] a``, ``≤ 71.2 ? [–, 75.1]``, ``invalid`` or a dash.

    A value for whose interval there are too few samples has none: ``97.0 [–]``.

    Args:
        line: of the board's frame.
        column: of the board.
        stacked: whether the interval goes below the value.
    """
    status = line.get(f"{column.name}_status")
    if status == "skipped":
        return "skipped"
    if status == "inconclusive" and is_missing(line[column.name]):
        return "invalid"
    if status != "inconclusive" and not is_missing(status) and verdict_of(str(status)) == "invalid":
        return f"invalid\n{status}"
    number = format_number(line[column.name], column.unit)
    value = mark_verdict(number, column.metric, status, column.higher_is_better)
    tie, method = line.get(f"{column.name}_ties"), line.get(f"{column.name}_method")
    around = interval(line, column)
    first = [value, "" if stacked else around, "" if is_missing(tie) else str(tie)]
    below = ["" if is_missing(method) else str(method), around if stacked else "", control(line, column)]
    return "\n".join([" ".join(filter(None, first)), *filter(None, below)])


def mark_verdict(value: str, metric: Metric, status: Any, higher_is_better: Any) -> str:
    """Return a number with the marks of its verdict: ``71.2``, ``71.2 ?``, and ``≤ 71.2 ?`` for an upper bound."""
    if status != "suspect":
        return value
    return f"≤ {value} ?" if is_upper_bound(metric, status, higher_is_better) else f"{value} ?"


def is_upper_bound(metric: Metric, status: Any, higher_is_better: Any) -> bool:
    """Return whether a number is an upper bound: a number under attack that failed a check.

    Metrics where lower is better have no such mark: a stronger attack would raise them.
    """
    return bool(metric.upper_bound and status == "suspect" and higher_is_better)


def format_number(value: Any, unit: str) -> str:
    """Return a number as text: fractions in percent without the sign, a dash for a missing value."""
    if is_missing(value):
        return DASH
    if unit in ("fraction", "probability"):
        return f"{100 * value:.1f}"
    if 100 <= abs(value) < 1e6:
        return f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.3g}"


def interval(line: pd.Series[Any], column: Column) -> str:
    """Return the interval of a line's number as ``[95.7, 98.5]`` or ``[–]``; empty without a number.

    An upper bound has only an upper end: ``[–, 75.1]``.
    """
    if is_missing(line.get(column.name)):
        return ""
    if not has_interval(line, column):
        return NO_INTERVAL
    lo, hi = (format_number(line[f"{column.name}_{end}"], column.unit) for end in ("lo", "hi"))
    is_bound = is_upper_bound(column.metric, line[f"{column.name}_status"], column.higher_is_better)
    return f"[{DASH if is_bound else lo}, {hi}]"


def has_interval(line: pd.Series[Any], column: Column) -> bool:
    """Return whether a line's number in a column has an interval."""
    ends = (line.get(f"{column.name}_lo"), line.get(f"{column.name}_hi"))
    by = line.get(f"{column.name}_interval_by")
    return not any(map(is_missing, ends)) and not str(by).startswith("none")


def control(line: pd.Series[Any], column: Column) -> str:
    """Return the control of a number, such as ``random 91.5`` or ``real 0.58``; empty where there is none."""
    value, name = line.get(f"{column.name}_control"), column.metric.control
    if not name or is_missing(line[column.name]) or is_missing(value):
        return ""
    return f"{name} {format_number(value, column.unit)}"


def reason_text(reason: Any, checks: Any) -> str:
    """Return the reason that is stored with a number, else the names of the checks (JSON) that failed."""
    if not is_missing(reason):
        return str(reason)
    results = {} if is_missing(checks) else json.loads(str(checks))
    failed = [name for name, result in results.items() if result == "fail"]
    return f"failed {', '.join(failed)}" if failed else "no reason was stored"


def is_missing(value: Any) -> bool:
    """Return whether a value is None or one of pandas' missing values."""
    return value is None or bool(pd.isna(value))
