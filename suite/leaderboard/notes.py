"""What readers of a board must know, in sentences; the same sentence is said once for all models it concerns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from suite.errors import StoreError
from suite.leaderboard.columns import Column
from suite.leaderboard.margins import margin_note
from suite.leaderboard.ties import Ties
from suite.metrics.stats import minimum_detectable_effect
from suite.store import Store

FEW = 3
"""How many names a note gives as examples."""


def board_notes(
    store: Store, rows: pd.DataFrame, measured: tuple[Column, ...], tested: Mapping[str, Ties]
) -> Iterator[str]:
    """Yield what to know about a board's samples, comparisons and numbers."""
    yield from _dropped(store, rows)
    for column in measured:
        left_out = sorted(tested[column.name].left_out.items())
        for models, reason in group_by_reason(left_out):
            yield f"{column.title}, {models}: {reason}."
        if note := margin_note(column):
            yield note
    yield from _power(tested.get("accuracy"))
    if store.damaged:
        names = _few(sorted(store.damaged))
        yield f"{len(store.damaged)} damaged record(s) could not be read and are not shown: {names}."


def group_by_reason(said: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield every sentence once, with the models it is said of: ``("a, b", sentence)``, in the order first said."""
    models: dict[str, list[str]] = {}
    for model, sentence in said:
        models.setdefault(sentence, []).append(model)
    for sentence, names in models.items():
        yield ", ".join(dict.fromkeys(names)), sentence


def reasons(rows: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return for each model what failed or was skipped, and why, in sentences; what concerns the clean axis first."""
    wanted = rows[rows["status"].isin(["failed", "skipped"])]
    wanted = wanted.assign(rest=wanted["axis"] != "clean").sort_values(["rest", "axis", "spec"], kind="stable")
    return {str(model): tuple(_sentences(group, rows)) for model, group in wanted.groupby("model")}


def _sentences(wanted: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    """Yield one sentence for all parts of a model's records that share status and reason."""
    parts: dict[str, list[str]] = {}
    for _, row in wanted.iterrows():
        part, why = _skipped(row)
        if not _measured_otherwise(row, rows):
            parts.setdefault(f"{row['status']}: {why}", []).append(part)
    for why, names in parts.items():
        yield f"{', '.join(dict.fromkeys(names))} {why}"


def _skipped(row: pd.Series[Any]) -> tuple[str, str]:
    """Return what was skipped (a whole cell, a method or a measure), and why."""
    reason, part = str(row["reason"]), _part(row)
    if row["cell_status"] != "ok":
        return str(row["spec"]), reason
    return part or str(row["metric"]), reason.removeprefix(f"{part}: ")


def _measured_otherwise(row: pd.Series[Any], rows: pd.DataFrame) -> bool:
    """Return whether a method has other numbers beside the one it has no use for: no column of a board misses it."""
    part = _part(row)
    if row["cell_status"] != "ok" or part is None:
        return False
    beside = rows[(rows["record"] == row["record"]) & rows["value"].notna()]
    return bool(beside["params"].str.contains(json.dumps(part), regex=False).any())


def _part(row: pd.Series[Any]) -> str | None:
    params = json.loads(row["params"])
    part = params.get("method") or params.get("uncertainty")
    return None if part is None else str(part)


def _dropped(store: Store, rows: pd.DataFrame) -> Iterator[str]:
    """Say how many samples the task dropped, by reason; the same for all models, for they share the data."""
    clean = rows[(rows["axis"] == "clean") & (rows["cell_status"] == "ok")].sort_values("moment")
    if clean.empty:
        return
    try:
        report = store.details(str(clean["record"].iloc[-1])).get("data") or {}
    except (StoreError, OSError, ValueError):
        return
    found = {reason: entries for reason, entries in report.get("dropped", {}).items() if entries}
    if found:
        total = sum(len(entries) for entries in found.values())
        parts = [
            f"{len(entries):,} {reason} ({_few([str(entry[0]) for entry in entries])})"
            for reason, entries in found.items()
        ]
        yield f"{total:,} sample{'s' if total > 1 else ''} dropped: {', '.join(parts)}"


def _power(ties: Ties | None) -> Iterator[str]:
    """Say which gaps in accuracy these samples could show at all."""
    if ties is None or not ties.samples:
        return
    gap = minimum_detectable_effect(ties.samples, ties.discordance) if ties.discordance else None
    if gap is not None:
        yield (
            f"Two models here typically disagree on {100 * ties.discordance:.1f} % of the {ties.samples:,} samples; a "
            f"single comparison then finds a true gap in accuracy of {100 * gap:.1f} points four times in five, and "
            "smaller ones less often."
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
