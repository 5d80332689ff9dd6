"""The three verdicts on a number, as a sign and a word; color is only added to them: pure functions, no Streamlit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from suite.leaderboard.cells import DASH, is_missing, reason_text
from suite.reports.text import entries, plain, size_of
from suite.types import Verdict, verdict_of

SIGNS: dict[Verdict, str] = {"valid": "✓", "suspect": "?", "invalid": "✗"}
COLORS: dict[Verdict, str] = {"valid": "#1a9e77", "suspect": "#d95f02", "invalid": "#b3589a"}
"""Colors of the figures, legible on light and dark pages; each comes with its sign and word."""

IN_SHORT = """
**✓ valid**: every check passed. **? suspect**: the number failed a check; **≤** marks an upper bound: the true
robust accuracy may be lower, never higher. **✗ invalid**: there is no usable number.
"""


def label(status: Any) -> str:
    """Return the verdict on a stored status: ``✓ valid``, ``? suspect``, ``✗ invalid (failed)``."""
    if is_missing(status):
        return DASH
    if status == "skipped":
        return f"{DASH} skipped"
    verdict = verdict_of(str(status))
    detail = f" ({status})" if verdict == "invalid" and status != "inconclusive" else ""
    return f"{SIGNS[verdict]} {verdict}{detail}"


def worst(statuses: pd.Series[Any]) -> Verdict:
    """Return the worst verdict on some stored statuses; skipped ones do not count."""
    verdicts = {verdict_of(str(status)) for status in statuses.dropna() if status != "skipped"}
    return next((verdict for verdict in reversed(SIGNS) if verdict in verdicts), "valid")


def style(text: Any) -> str:
    """Return the color of a table cell that names a verdict, as CSS; empty for any other cell."""
    words = str(text).split()
    return next((f"color: {COLORS[verdict]}; font-weight: 600" for verdict in SIGNS if verdict in words), "")


def reasons(rows: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield (verdict, sentence in markdown) for each verdict but valid, once for all sizes that share the reason."""
    titles = {
        "suspect": _suspicion(rows[rows["status"] == "suspect"]),
        "invalid": "✗ Invalid, so there is no usable number",
        "skipped": "Skipped, because it does not apply",
    }
    verdict = rows["status"].map(verdict_of).mask(rows["status"] == "skipped", "skipped")
    reason = pd.Series(list(map(reason_text, rows["reason"], rows["checks"])), index=rows.index, dtype=object)
    for (name, text), part in rows[verdict != "valid"].groupby([verdict, reason]):
        sizes = {size_of(row) for row in part.to_dict("records")} - {None}
        at = f", at size {', '.join(f'{size:g}' for size in sorted(sizes))}" if sizes else ""
        yield str(name), f"{titles[str(name)]}{at}: {plain(text)}"


def _suspicion(rows: pd.DataFrame) -> str:
    """Return what a failed check means for some suspect rows."""
    metrics = entries(rows[rows["axis"] == "robustness"])
    if any(metric.upper_bound for metric in metrics):
        return "? Suspect, so the numbers are upper bounds"
    if any(metric.is_headline and metric.higher_is_better is False for metric in metrics):
        return "? Suspect, because a stronger attack would make the numbers larger and worse"
    return "? Suspect, because a check failed"
