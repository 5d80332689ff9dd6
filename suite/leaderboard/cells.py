"""One number of a board as readers see it: its value, its interval, and a mark where it is not valid."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from suite.leaderboard.columns import ATTACKED, REAL, ROBUST, Column
from suite.types import verdict_of

ARROWS = {True: "↑", False: "↓", None: ""}
"""Which end of a column is the good one; none where neither is."""

DASH = "–"
"""Stands for whatever was not measured; never 0."""

NO_INTERVAL = f"[{DASH}]"
"""Stands for an interval that the samples cannot give; never one of no width."""


def cell(line: pd.Series[Any], column: Column, *, stacked: bool = False) -> str:
    """Return what stands in a board's cell: ``97.0 [94.4, 98.4] a``, ``≤ 71.2 ? [–, 75.1]``, ``invalid`` or a dash.

    Args:
        line: of the board's frame.
        column: of the board.
        stacked: whether the interval goes below the value.
    """
    status = line.get(f"{column.name}_status")
    if status == "skipped":
        return "skipped"
    if not missing(status) and verdict_of(str(status)) == "invalid":
        return "\n".join(["invalid", *([] if status == "inconclusive" else [str(status)])])
    value = marked(percent(line[column.name], column.unit), column.metric, status, column.higher_is_better)
    tie, method = line.get(f"{column.name}_ties"), line.get(f"{column.name}_method")
    around, held = interval(line, column), control(line, column)
    first = " ".join(part for part in (value, "" if stacked else around, "" if missing(tie) else str(tie)) if part)
    under = ("" if missing(method) else str(method), around if stacked else "", held)
    return "\n".join([first, *(part for part in under if part)])


def marked(value: str, metric: str, status: Any, higher_is_better: Any) -> str:
    """Return a number with the marks of its verdict: ``71.2``, ``71.2 ?``, and ``≤ 71.2 ?`` for an upper bound."""
    if status != "suspect":
        return value
    return f"≤ {value} ?" if is_upper_bound(metric, status, higher_is_better) else f"{value} ?"


def is_upper_bound(metric: str, status: Any, higher_is_better: Any) -> bool:
    """Return whether the true number may be lower but not higher: a robust accuracy whose attack was found wanting.

    Measures of which less is better have no such mark: what their attack missed would make them larger.
    """
    return bool(metric in ROBUST and status == "suspect" and higher_is_better)


def percent(value: Any, unit: str) -> str:
    """Return a number as readers see it: fractions in percent without the sign, a dash for what is missing."""
    if value is None or pd.isna(value):
        return DASH
    if unit in ("fraction", "probability"):
        return f"{100 * value:.1f}"
    if 100 <= abs(value) < 1e6:
        return f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.3g}"


def interval(line: pd.Series[Any], column: Column) -> str:
    """Return the interval of a line's number as ``[95.7, 98.5]`` or ``[–]``; empty without a number.

    Of an upper bound only the upper end holds: ``[–, 75.1]``.
    """
    if missing(line.get(column.name)):
        return ""
    if not bounded(line, column):
        return NO_INTERVAL
    lo, hi = (percent(line[f"{column.name}_{end}"], column.unit) for end in ("lo", "hi"))
    is_bound = is_upper_bound(column.metric, line[f"{column.name}_status"], column.higher_is_better)
    return f"[{DASH if is_bound else lo}, {hi}]"


def bounded(line: pd.Series[Any], column: Column) -> bool:
    """Return whether a line's number in a column has an interval that says something about its spread."""
    ends = (line.get(f"{column.name}_lo"), line.get(f"{column.name}_hi"))
    by = line.get(f"{column.name}_interval_by")
    return not any(map(missing, ends)) and not str(by).startswith(("degenerate", "none"))


def control(line: pd.Series[Any], column: Column) -> str:
    """Return the control of a number, such as ``random 91.5`` or ``real 0.58``; empty where there is none."""
    found, name = line.get(f"{column.name}_control"), beside(column.metric)
    shown = name and not missing(line[column.name]) and not missing(found)
    return f"{name} {percent(found, column.unit)}" if shown else ""


def beside(metric: str) -> str:
    """Return what the control of a measure is of: ``random`` changes, or ``real`` samples; empty for others."""
    return "random" if metric in ATTACKED else "real" if metric in REAL else ""


def why(reason: Any, checks: Any) -> str:
    """Return the reason that is stored with a number, else the names of the checks (JSON) that failed."""
    if not missing(reason):
        return str(reason)
    found = {} if missing(checks) else json.loads(str(checks))
    failed = [name for name, result in found.items() if result == "fail"]
    return f"failed {', '.join(failed)}" if failed else "no reason was stored"


def missing(value: Any) -> bool:
    """Return whether there is nothing: None, or what pandas makes of it."""
    return value is None or bool(pd.isna(value))
