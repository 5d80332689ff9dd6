"""Untrusted text made safe for pages and figures, and numbers as text."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from suite.leaderboard.cells import DASH, format_number, is_upper_bound, mark_verdict
from suite.leaderboard.text import printable

LIMIT = 300
"""Longest untrusted text that a page shows."""

LONG = 1e7
"""Numbers below this have digits and commas, larger ones powers of ten."""


def plain(text: Any) -> str:
    """Return an untrusted text as markdown that renders as exactly that text.

    Only in a code span do markdown, HTML, LaTeX, emoji, colors and bare links all stay plain text; backslashes would
    not prevent the replacements that happen after parsing.
    """
    shown = _short(text)
    if not shown.strip():
        return "`(empty)`"
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    # Streamlit replaces icon codes before it parses, even in code; an invisible character prevents this.
    shown = shown.replace(":material/", ":material\N{WORD JOINER}/")
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def figure_text(text: Any) -> str:
    """Return an untrusted text for a figure, without tags, links, LaTeX or plotly templates."""
    shown = html.escape(_short(text), quote=False)
    return re.sub("[$%{}]", lambda match: f"&#{ord(match.group())};", shown)


def _short(text: Any) -> str:
    shown = printable(text)
    return shown if len(shown) <= LIMIT else shown[: LIMIT - 1] + "…"


def number(value: Any, unit: str) -> str:
    """Return a number with its unit, a dash for a missing value."""
    shown = format_number(value, unit)
    if shown == DASH:
        return DASH
    if "e+" in shown and abs(value) < LONG:
        shown = f"{value:,.0f}"
    return f"{shown} %" if unit in ("fraction", "probability") else f"{shown} {unit}".strip()


def span(lo: Any, hi: Any, unit: str) -> str:
    """Return an interval as ``94.4 to 98.4``, a dash if there is none."""
    ends = format_number(lo, unit), format_number(hi, unit)
    return DASH if DASH in ends else " to ".join(ends)


def with_mark(line: pd.Series[Any] | Mapping[Any, Any]) -> str:
    """Return the value of a stored row with the marks of its verdict, such as ``≤ 71.2 % ?``."""
    return mark_verdict(number(line["value"], line["unit"]), line["metric"], line["status"], line["higher_is_better"])


def around(line: pd.Series[Any] | Mapping[Any, Any]) -> str:
    """Return the interval of a stored row as ``94.4 to 98.4``, that of an upper bound as ``up to 75.1``."""
    if not is_upper_bound(line["metric"], line["status"], line["higher_is_better"]):
        return span(line["lo"], line["hi"], line["unit"])
    return up_to(line["hi"], line["unit"])


def up_to(hi: Any, unit: str) -> str:
    """Return the upper end of an interval as ``up to 75.1``, a dash if there is none."""
    end = format_number(hi, unit)
    return DASH if end == DASH else f"up to {end}"


def with_interval(line: pd.Series[Any] | Mapping[Any, Any]) -> str:
    """Return value and interval of a stored row in one phrase, such as ``6.1 % (95 % interval 5.1 to 7.1)``."""
    shown, spread = with_mark(line), around(line)
    return shown if spread == DASH else f"{shown} ({100 * line['level']:g} % interval {spread})"
