"""The margin of a model's best attribution method over a random one.

The score itself cannot be compared between models: a model that is confident on any input scores high with any map,
even a random one. The margin over the random map on the same samples removes that effect.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from suite.errors import DataError, StoreError
from suite.leaderboard.columns import Column
from suite.leaderboard.samples import sample_values
from suite.metrics.catalogue import RANDOM
from suite.metrics.stats import paired_bootstrap_difference
from suite.store import Store

SEED = 0
"""Seed of the bootstrap, fixed so that a board does not change when it is printed again."""


def over_random(store: Store, column: Column) -> Column:
    """Return an attribution column with margins over random as its values; any other column as it is."""
    if not column.shown.best_of:
        return column
    entries = column.entries.copy()
    for model, entry in column.entries[column.entries["value"].notna()].iterrows():
        margin = _margin(store, entry, column)
        entries.loc[model, list(margin)] = pd.Series(margin, dtype=object)
    return replace(column, entries=entries)


def margin_note(column: Column) -> str | None:
    """Return the sentences that explain the margins of a column, or None if it has none."""
    if not column.shown.best_of or not column.entries["value"].notna().any():
        return None
    counts = " or ".join(map(str, sorted({int(count) for count in column.entries["compared"].dropna()})))
    return (
        f"{column.title}: {column.metric.title} of the best {column.shown.best_of} minus that of a random one, on the "
        f"same samples. The best of {counts} {column.shown.best_of}s is shown; it was chosen on these samples, so the "
        "margin is slightly optimistic."
    )


def _margin(store: Store, entry: pd.Series[Any], column: Column) -> dict[str, Any]:
    """Return value, interval and n of an entry's margin, or an undefined value with the reason."""
    own = entry["params"]
    try:
        pairs = pd.concat(
            [
                sample_values(store, str(entry["record"]), column.metric.name, params)
                for params in (own, {**own, column.shown.best_of: RANDOM})
            ],
            axis=1,
            keys=["method", "random"],
        ).dropna()
        value, lo, hi = paired_bootstrap_difference(pairs["method"], pairs["random"], seed=SEED)
    except (StoreError, DataError) as error:
        undefined = dict.fromkeys(("value", "lo", "hi", "control"), float("nan"))
        return {**undefined, "status": "inconclusive", "reason": f"no margin over random: {error}"}
    by = "degenerate(constant difference)" if lo == hi else "bootstrap-percentile(1000)"
    return {"value": value, "lo": lo, "hi": hi, "n": len(pairs), "control": float("nan"), "interval_by": by}
