"""Notes below a board, in sentences; the same sentence is given once for all models that it applies to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from suite.errors import StoreError
from suite.leaderboard.cells import format_number
from suite.leaderboard.columns import Column
from suite.leaderboard.comparison import Comparison
from suite.leaderboard.margins import margin_note
from suite.leaderboard.strength import strength
from suite.leaderboard.ties import Ties
from suite.metrics.catalogue import RANDOM
from suite.store import Store

EXAMPLES = 3
"""Names that a note gives as examples, at most."""


def board_notes(
    store: Store, rows: pd.DataFrame, shown: tuple[Column, ...], tested: Mapping[str, Ties], alpha: float
) -> Iterator[str]:
    """Yield notes about a board's samples, comparisons and numbers."""
    yield from _about_data(store, rows)
    yield from _tests(shown, tested)
    yield from _about_columns(shown, tested)
    yield from filter(None, map(margin_note, shown))
    for column in shown:
        yield from (f"{column.title}: {oddity}." for oddity in tested[column.name].oddities)
        comparison = tested[column.name].comparison
        if comparison and column.metric.is_headline and column.metric.control != RANDOM:
            yield from _power(comparison, column, alpha)
    if store.damaged:
        yield f"{len(store.damaged)} damaged record(s) cannot be read: {_examples(sorted(store.damaged))}."


def group_by_reason(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each sentence of (model, sentence) pairs once, after its models: ``("a, b", sentence)``."""
    models: dict[str, list[str]] = {}
    for model, sentence in pairs:
        models.setdefault(sentence, []).append(model)
    for sentence, names in models.items():
        yield ", ".join(dict.fromkeys(names)), sentence


def _about_columns(shown: tuple[Column, ...], tested: Mapping[str, Ties]) -> Iterator[str]:
    """Yield what holds for some models in some columns; for all models of a column they are not named."""
    titles: dict[tuple[str, str], list[str]] = {}
    for column in shown:
        everyone = ", ".join(sorted(map(str, column.entries.index[column.entries["value"].notna()])))
        for models, reason in group_by_reason([*sorted(tested[column.name].left_out.items()), *strength(column)]):
            titles.setdefault(("" if models == everyone else f", {models}", reason), []).append(column.title)
    yield from (f"{', '.join(names)}{models}: {reason}." for (models, reason), names in titles.items())


def failures_by_model(rows: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return for each model what failed or was skipped, and why, in sentences; the clean axis comes first."""
    failed = rows[rows["status"].isin(["failed", "skipped"])]
    failed = failed.assign(rest=failed["axis"] != "clean").sort_values(["rest", "axis", "spec"], kind="stable")
    return {str(model): tuple(_sentences(group, rows)) for model, group in failed.groupby("model")}


def _sentences(failed: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    """Yield one sentence for all parts of a model's records that share status and reason."""
    parts = []
    for _, row in failed.iterrows():
        reason, method = str(row["reason"]), _method(row)
        if row["cell_status"] != "ok":
            parts.append((str(row["spec"]), f"{row['status']}: {reason}"))
        elif not _has_numbers(row, rows):
            parts.append((method or str(row["metric"]), f"{row['status']}: {reason.removeprefix(f'{method}: ')}"))
    yield from (f"{names} {reason}" for names, reason in group_by_reason(parts))


def _has_numbers(row: pd.Series[Any], rows: pd.DataFrame) -> bool:
    """Return whether the method of a row has numbers elsewhere in the record, so that its column is not empty."""
    measured = rows[(rows["record"] == row["record"]) & rows["value"].notna()]
    method = json.dumps(_method(row))
    return method != "null" and bool(measured["params"].str.contains(method, regex=False).any())


def _method(row: pd.Series[Any]) -> str | None:
    params = json.loads(row["params"])
    method = params.get("method") or params.get("uncertainty")
    return None if method is None else str(method)


def _about_data(store: Store, rows: pd.DataFrame) -> Iterator[str]:
    """Yield how many samples the task dropped, by reason, and remarks on the data; models share them."""
    clean = rows[(rows["axis"] == "clean") & (rows["cell_status"] == "ok")].sort_values("moment")
    if clean.empty:
        return
    try:
        report = store.record(str(clean["record"].iloc[-1])).details.get("data") or {}
    except (StoreError, OSError, ValueError):
        return
    dropped = {reason: [str(entry[0]) for entry in entries] for reason, entries in report.get("dropped", {}).items()}
    parts = [f"{len(names):,} {reason} ({_examples(names)})" for reason, names in dropped.items() if names]
    yield from (f"Data: {remark}." for remark in report.get("remarks", ()))
    if parts:
        total = sum(map(len, dropped.values()))
        yield f"{total:,} sample{'s' if total > 1 else ''} dropped: {', '.join(parts)}"


def _tests(shown: tuple[Column, ...], tested: Mapping[str, Ties]) -> Iterator[str]:
    """Yield which tests compared the models."""
    done = [(column.title, tested[column.name].comparison) for column in shown]
    tests = [(title, comparison.test) for title, comparison in done if comparison]
    if tests:
        yield f"Tests: {'; '.join(f'{test} ({titles})' for titles, test in group_by_reason(tests))}."


def _power(comparison: Comparison, column: Column, alpha: float) -> Iterator[str]:
    """Yield which true difference a comparison on these samples finds, alone and with Holm's adjustment."""
    single, strict = comparison.detectable(alpha), comparison.detectable(alpha / comparison.pairs)
    if single is None:
        return
    found = f"a true difference of {_difference(single, column)} in {column.metric.title} with 80 % power"
    if comparison.discordance is None:
        yield f"A single comparison of two models here finds {found}.{_adjusted(comparison, strict, column)}"
        return
    yield (
        f"Two models here typically disagree on {100 * comparison.discordance:.1f} % of the {comparison.n:,} samples; "
        f"a single comparison then finds {found}.{_adjusted(comparison, strict, column)}"
    )


def _adjusted(comparison: Comparison, strict: float | None, column: Column) -> str:
    """Return what remains when the tests are adjusted for all pairs of a board."""
    if comparison.pairs == 1:
        return ""
    pairs = f"With the adjustment for the {comparison.pairs} pairs of this column"
    if strict is None:
        return f" {pairs} the samples are too few to find any difference with 80 % power."
    return f" {pairs} that takes a difference of up to {_difference(strict, column)}."


def _difference(size: float, column: Column) -> str:
    unit = "points" if column.unit in ("fraction", "probability") else column.unit
    return f"{format_number(size, column.unit)} {unit}"


def _examples(names: list[str]) -> str:
    return ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
