"""What a board says of the strength of an attack: the misses that its checks see, and what a training may change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from suite.leaderboard.cells import format_number, is_missing
from suite.leaderboard.columns import Column


def strength(column: Column) -> Iterator[tuple[str, str]]:
    """Yield (model, sentence) pairs about the numbers of a column; none if they are not measured under an attack."""
    if "miss_seen" not in column.metric.descriptive:
        return
    for model, entry in column.entries[column.entries["value"].notna()].sort_index().iterrows():
        if entry["status"] == "ok":  # the reason of a suspect number says what the checks saw
            yield from ((str(model), text) for text in _misses(entry))
        yield from ((str(model), text) for text in _seeds(entry["params"], column.unit))


def _misses(entry: pd.Series[Any]) -> Iterator[str]:
    """Yield which misses of the attack the checks see."""
    checks = {} if is_missing(entry["checks"]) else json.loads(str(entry["checks"]))
    if "miss_seen" in entry["params"]:
        miss = 100 * entry["params"]["miss_seen"]
        yield f"a miss of {miss:.1f} points or more by the attack would have been seen nine times in ten"
    elif checks.get("misses_seen") == "n/a":
        yield "no check would have seen a miss by the attack, however large"


def _seeds(params: Mapping[str, Any], unit: str) -> Iterator[str]:
    """Yield what is known of how far the seed of a training moves the number."""
    seeds = params.get("seeds")
    if seeds == 1:
        yield "the attack was trained with one seed, and how far another one moves the number is not known"
    elif seeds:
        spread = f"{format_number(params.get('between_seeds', 0.0), unit)} {'points' if unit == 'fraction' else unit}"
        yield f"mean over {seeds} seeds of the attack's training, with a standard deviation of {spread} between them"
