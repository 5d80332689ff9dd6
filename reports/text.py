"""Untrusted text made safe for pages and figures, and numbers as text."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pandas as pd

from suite.leaderboard.cells import DASH, format_number, is_missing, is_upper_bound, mark_verdict
from suite.leaderboard.text import printable
from suite.metrics.catalogue import Metric

LIMIT = 300
"""Longest untrusted text that a page shows."""

LONG = 1e7
"""Numbers below this have digits and commas, larger ones powers of ten."""

PERCENT = ("fraction", "probability")
"""Units shown in percent."""

BETTER = {True: "higher", False: "lower", None: DASH}
"""`Metric.higher_is_better` in words."""

Line = pd.Series | Mapping[Any, Any]  # type: ignore[type-arg]  # pandas' Series takes no arguments when it runs
"""A stored row."""


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
    return re.sub(r"[${}]|%(?=\{)", lambda match: f"&#{ord(match.group())};", shown)


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


def entry_of(line: Line) -> Metric:
    """Return the declaration of the metric of a stored row; where none is stored, one with the name alone."""
    entry = line.get("entry")
    if not is_missing(entry):
        return _entry(str(entry))
    name, better = str(line["metric"]), line["higher_is_better"]
    return Metric(name, name.replace("_", " "), "", line["unit"], None if is_missing(better) else bool(better))


def entries(rows: pd.DataFrame) -> pd.Series[Any]:
    """Return the declaration of the metric of each stored row."""
    return pd.Series([entry_of(row) for row in rows.to_dict("records")], index=rows.index, dtype=object)


@lru_cache(maxsize=1000)
def _entry(text: str) -> Metric:
    return Metric.from_json(json.loads(text))


def meaning_of(metric: Metric) -> str:
    """Return what a metric measures, in markdown, and which direction is better."""
    if not metric.meaning:
        return ""
    better = "" if metric.higher_is_better is None else f" **{capital(BETTER[metric.higher_is_better])} is better.**"
    return f"**{capital(prose(metric.title))}**: {prose(metric.meaning)}.{better}"


def prose(text: Any) -> str:
    """Return an untrusted text as markdown: as it is where none of its characters can be markup, else as `plain`."""
    shown = _short(text)
    is_harmless = re.fullmatch(r"(?:[^\W_]|[ ,;()'%+/.-]|: )+", shown) and not re.search(r"//|www\.", shown.lower())
    return shown if is_harmless else plain(shown)


def capital(text: str) -> str:
    """Return a text as the beginning of a sentence; a first word such as mAP keeps its spelling."""
    return text[:1].upper() + text[1:] if text.split(" ")[0].islower() else text


def scale(unit: str) -> float:
    """Return the factor by which numbers of a unit are multiplied for display."""
    return 100.0 if unit in PERCENT else 1.0


def in_unit(title: str, unit: str) -> str:
    """Return a title with the unit of the numbers shown, such as ``mAP (%)`` or ``code length (bits)``."""
    shown = "%" if unit in PERCENT else unit
    return title if not shown or shown in title else f"{title} ({shown})"


def described(title: str, params: Mapping[str, Any]) -> str:
    """Return a title with params, such as ``ECE (proxy, bins 15)``."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in params.items()}
    about = ["proxy"] if params.get("proxy") else []
    about += [f"{name} {value}" for name, value in shown.items() if name not in ("reference", "proxy")]
    return f"{title} ({', '.join(about)})" if about else title


def size_of(line: Line) -> float | None:
    """Return the size of the attack that a stored row is about, None if there is none."""
    attack = line.get("attack")
    name = None if is_missing(attack) else json.loads(str(attack)).get("size_name")
    size = json.loads(line["params"]).get(name)
    return float(size) if isinstance(size, int | float) else None


def with_mark(line: Line) -> str:
    """Return the value of a stored row with the marks of its verdict, such as ``≤ 71.2 % ?``."""
    value = number(line["value"], line["unit"])
    return mark_verdict(value, entry_of(line), line["status"], line["higher_is_better"])


def around(line: Line) -> str:
    """Return the interval of a stored row as ``94.4 to 98.4``, that of an upper bound as ``up to 75.1``."""
    if not is_upper_bound(entry_of(line), line["status"], line["higher_is_better"]):
        return span(line["lo"], line["hi"], line["unit"])
    return up_to(line["hi"], line["unit"])


def up_to(hi: Any, unit: str) -> str:
    """Return the upper end of an interval as ``up to 75.1``, a dash if there is none."""
    end = format_number(hi, unit)
    return DASH if end == DASH else f"up to {end}"


def with_interval(line: Line) -> str:
    """Return value and interval of a stored row in markdown, such as ``6.1 % (95 % interval 5.1 to 7.1)``."""
    line = {**line, "unit": line["unit"] and prose(line["unit"])}
    shown, spread = with_mark(line), around(line)
    return shown if spread == DASH else f"{shown} ({100 * line['level']:g} % interval {spread})"
