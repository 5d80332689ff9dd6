"""The three verdicts on a number, in words and signs first, colours only beside them: pure functions, no Streamlit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from suite.leaderboard.cells import DASH, missing, why
from suite.leaderboard.columns import ROBUST
from suite.reports.measures import size_of
from suite.reports.text import plain
from suite.types import verdict_of

SIGNS = {"valid": "✓", "suspect": "?", "invalid": "✗"}
COLOURS = {"valid": "#1a9e77", "suspect": "#d95f02", "invalid": "#b3589a"}
"""Those of the pictures, legible on light and on dark pages; every one stands beside its sign and its word."""

IN_SHORT = """
**✓ valid**: every check passed. **? suspect**: there is a number, but a check of it failed; the true number under
attack may be worse, never better, which **≤** says. **✗ invalid**: there is no number to believe.
"""


def spoken(status: Any) -> str:
    """Return a stored status as its verdict: ``✓ valid``, ``? suspect``, ``✗ invalid (failed)``."""
    if missing(status):
        return DASH
    if status == "skipped":
        return f"{DASH} skipped"
    verdict = verdict_of(str(status))
    detail = f" ({status})" if verdict == "invalid" and status != "inconclusive" else ""
    return f"{SIGNS[verdict]} {verdict}{detail}"


def worst(statuses: pd.Series[Any]) -> str:
    """Return the least believable verdict of some stored statuses; what does not apply to a model is none."""
    found = {verdict_of(str(status)) for status in statuses.dropna() if status != "skipped"}
    return next((verdict for verdict in reversed(SIGNS) if verdict in found), "valid")


def style(text: Any) -> str:
    """Return the colour of a table's cell that names a verdict, as CSS; empty for any other."""
    found = (COLOURS[verdict] for verdict in SIGNS if verdict in str(text).split())
    return next((f"color: {colour}; font-weight: 600" for colour in found), "")


def reasons(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield every verdict but valid with its sentence in markdown, once for all sizes that share the reason."""
    said = {
        "suspect": "? Suspect, so the numbers are upper bounds",
        "invalid": "✗ Invalid, so there is no number to believe",
        "skipped": "Skipped, because it does not apply",
    }
    if (rows["metric"].isin(ROBUST) & rows["higher_is_better"].eq(False)).any():
        said["suspect"] = "? Suspect: a better attack would make the numbers larger, and worse"
    verdict = rows["status"].map(verdict_of).mask(rows["status"] == "skipped", "skipped")
    reason = pd.Series(list(map(why, rows["reason"], rows["checks"])), index=rows.index, dtype=object)
    for (found, said_why), part in rows[verdict != "valid"].groupby([verdict, reason]):
        sizes = ", ".join(f"{size:g}" for size in _sizes(part))
        yield str(found), f"{said[str(found)]}{f', at size {sizes}' if sizes else ''}: {plain(said_why)}"


def _sizes(rows: pd.DataFrame) -> list[float]:
    """Return the sizes of an attack that rows are about, ascending."""
    params = rows["params"].map(json.loads)
    return sorted({size for one in params if (size := size_of(one)) is not None})
