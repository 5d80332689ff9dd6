"""How much better than a random map a model's best attribution method is.

The score itself cannot be compared between models: one that is sure of everything keeps a high score whichever pixels
it is shown, and so would win with any map. The margin over the random map on the same samples does not reward that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from suite.errors import DataError, StoreError
from suite.leaderboard.columns import Column
from suite.metrics.stats import paired_bootstrap_difference
from suite.store import Store

SAID = {
    "attribution": "how much higher the score rises over the insertion of pixels in the order of the best method than "
    "in random order",
    "rationale": "how much more the score falls without the features that the best method names first than without as "
    "many random ones",
}
"""What the margin is, by axis."""

SEED = 0
"""Of the bootstrap: a board is the same whenever it is printed."""


def over_random(store: Store, column: Column) -> Column:
    """Return an attribution column with margins over the random map for its values; any other column as it is."""
    if column.axis not in SAID:
        return column
    entries = column.entries.copy()
    for model, entry in column.entries[column.entries["value"].notna()].iterrows():
        found = _margin(store, entry, column)
        entries.loc[model, list(found)] = pd.Series(found, dtype=object)
    return replace(column, entries=entries)


def margin_note(column: Column) -> str | None:
    """Return what readers must know about the margins of a column, or None if it has none."""
    if column.axis not in SAID or not column.entries["value"].notna().any():
        return None
    counts = sorted({int(count) for count in column.entries["compared"].dropna()})
    methods = " or ".join(map(str, counts))
    return (
        f"{column.title}: {SAID[column.axis]}, on the same samples. The best of {methods} methods is shown, chosen on "
        "these samples, and is therefore slightly optimistic."
    )


def _margin(store: Store, entry: pd.Series[Any], column: Column) -> dict[str, Any]:
    """Return value, interval and n of an entry's margin, or an undefined value with the reason."""
    baseline = f"/{entry['baseline']}" if column.axis == "attribution" else ""  # features are deleted in one way only
    names = [f"{column.metric}@{method}{baseline}" for method in (entry["method"], "random")]
    try:
        pairs = _samples(store, str(entry["record"]), names)
        value, lo, hi = paired_bootstrap_difference(pairs[names[0]], pairs[names[1]], seed=SEED)
    except (StoreError, DataError) as error:
        nothing = dict.fromkeys(("value", "lo", "hi", "control"), float("nan"))
        return {**nothing, "status": "inconclusive", "reason": f"no margin over random: {error}"}
    by = "degenerate(constant difference)" if lo == hi else "bootstrap-percentile(1000)"
    return {"value": value, "lo": lo, "hi": hi, "n": len(pairs), "control": float("nan"), "interval_by": by}


def _samples(store: Store, record: str, names: list[str]) -> pd.DataFrame:
    """Return the per-sample columns of a record where none of them is missing.

    Raises:
        StoreError: they cannot be read, or were not stored.
    """
    try:
        samples = store.samples(record)
    except (OSError, ValueError) as error:
        raise StoreError(f"per-sample values cannot be read ({type(error).__name__})") from error
    if not set(names) <= set(samples.columns):
        raise StoreError("per-sample values were not stored")
    return samples[names].dropna()
