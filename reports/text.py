"""Text from outside, made safe for pages and pictures, and numbers as readers see them."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from suite.leaderboard.cells import DASH, is_upper_bound, marked, percent
from suite.leaderboard.text import printable

LIMIT = 300
"""Longest text from outside that a page shows."""


LONG = 1e7
"""Numbers below this are written out, with commas, and not as powers of ten."""


def plain(text: Any) -> str:
    """Return a text from outside as markdown that renders as exactly that text.

    A code span is the one place where markdown, HTML, LaTeX, emoji, colours and bare links all stay what they are;
    backslashes would not stop the replacements that happen after parsing.
    """
    shown = _short(text)
    if not shown.strip():
        return "`(empty)`"
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    # Streamlit rewrites icon codes before it parses, even in code; an invisible character keeps them apart.
    shown = shown.replace(":material/", ":material\N{WORD JOINER}/")
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def figure_text(text: Any) -> str:
    """Return a text from outside for a picture: no tags, no links, no LaTeX, no template marks."""
    shown = html.escape(_short(text), quote=False)
    return re.sub("[$%{}]", lambda found: f"&#{ord(found.group())};", shown)


def _short(text: Any) -> str:
    shown = printable(text)
    return shown if len(shown) <= LIMIT else shown[: LIMIT - 1] + "…"


def number(value: Any, unit: str) -> str:
    """Return a number with its unit, a dash for what is missing."""
    shown = percent(value, unit)
    if shown == DASH:
        return DASH
    if "e+" in shown and abs(value) < LONG:
        shown = f"{value:,.0f}"
    return f"{shown} %" if unit in ("fraction", "probability") else f"{shown} {unit}".strip()


def span(lo: Any, hi: Any, unit: str) -> str:
    """Return an interval as ``94.4 to 98.4``, a dash if there is none."""
    ends = percent(lo, unit), percent(hi, unit)
    return DASH if DASH in ends else " to ".join(ends)


def with_mark(line: pd.Series[Any] | Mapping[Any, Any]) -> str:
    """Return the value of a stored row with the marks of its verdict, such as ``≤ 71.2 % ?``."""
    return marked(number(line["value"], line["unit"]), line["metric"], line["status"], line["higher_is_better"])


def around(line: pd.Series[Any] | Mapping[Any, Any]) -> str:
    """Return the interval of a stored row as ``94.4 to 98.4``; of an upper bound what holds, ``up to 75.1``."""
    if not is_upper_bound(line["metric"], line["status"], line["higher_is_better"]):
        return span(line["lo"], line["hi"], line["unit"])
    return up_to(line["hi"], line["unit"])


def up_to(hi: Any, unit: str) -> str:
    """Return the upper end of an interval as ``up to 75.1``, a dash if there is none."""
    end = percent(hi, unit)
    return DASH if end == DASH else f"up to {end}"


def with_interval(line: pd.Series[Any] | Mapping[Any, Any]) -> str:
    """Return value and interval of a stored row in one phrase, such as ``6.1 % (95 % interval 5.1 to 7.1)``."""
    shown, spread = with_mark(line), around(line)
    return shown if spread == DASH else f"{shown} ({100 * line['level']:g} % interval {spread})"
