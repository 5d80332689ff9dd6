"""The margin of a model's best attribution method over a random one.

The score itself cannot be compared between models: a model that is confident on any input scores high with any map,
even a random one. The margin over the random map on the same samples removes that effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.errors import SuiteError
from suite.leaderboard.cells import format_number
from suite.leaderboard.columns import Column
from suite.leaderboard.samples import conditions, sample_groups, sample_values
from suite.metrics.catalogue import RANDOM, Metric
from suite.metrics.stats import mean_measure
from suite.store import Store

SEED = 0
"""Seed of the resampling, fixed so that a board does not change when it is printed again."""

SPLITS = 400
"""Random splits of the samples in halves, from which the optimism of a choice is estimated."""

NOTABLE = 0.1
"""A choice that raises a margin by more than this share of its interval's width is named with its size."""


def over_random(store: Store, column: Column) -> Column:
    """Return an attribution column with margins over random as its values; any other column as it is.

    Its entries get the column `optimism`: by how much the choice of the best on the same samples raises a margin.
    """
    if not column.shown.best_of:
        return column
    entries = column.entries.assign(optimism=0.0)
    for model, entry in column.entries[column.entries["value"].notna()].iterrows():
        margin = _margin(store, entry, column)
        entries.loc[model, list(margin)] = pd.Series(margin, dtype=object)
    return replace(column, entries=entries)


def margin_note(column: Column) -> str | None:
    """Return the sentences that explain the margins of a column, or None if it has none."""
    if not column.shown.best_of or not column.entries["value"].notna().any():
        return None
    counts = " or ".join(map(str, sorted({int(count) for count in column.entries["compared"].dropna()})))
    notable = [f"{size} for {model}" for model, size in _notable(column)]
    size = f"by about {', '.join(notable)}" if notable else "by less than a tenth of the interval"
    return (
        f"{column.title}: {column.metric.title} of the best {column.shown.best_of} minus that of a random one, on the "
        f"same samples. The best of {counts} {column.shown.best_of}s is shown; it was chosen on these samples, so the "
        f"margin is too high on average, {size}.{_uncompared(column)}"
    )


def _uncompared(column: Column) -> str:
    """Return a sentence on methods that were not compared with the control, or an empty text."""
    entries = column.entries[column.entries["value"].notna()]
    reasons = sorted({str(reason) for reason in entries["reason"].dropna() if str(reason).startswith("too few")})
    return f" There are {'; '.join(reasons)} for a test against the random one." if reasons else ""


def choice_optimism(gains: npt.NDArray[np.float64], seed: int = SEED) -> float:
    """Return by how much the mean gain of the best of k methods exceeds its true gain, since n samples chose it.

    The best method on a random half of the samples has a mean that is too high by its mean on the other half. That is
    unbiased for a choice on n / 2 samples; chance differences between means on n samples are smaller by sqrt(2). Where
    the methods truly differ, a choice on n samples errs less often, and the estimate is rather too high.

    Args:
        gains: (n, k), higher is better.
        seed: of the random splits.
    """
    n = len(gains)
    if n < 2 or gains.shape[1] < 2:
        return 0.0
    first = np.random.default_rng(seed).permuted(np.tile(np.arange(n) < n // 2, (SPLITS, 1)), axis=1)
    chosen_on, other = first @ gains / (n // 2), ~first @ gains / (n - n // 2)
    best = chosen_on.argmax(axis=1)[:, None]
    excess = np.take_along_axis(chosen_on - other, best, axis=1)
    return max(0.0, float(excess.mean() / np.sqrt(2)))


def _notable(column: Column) -> Iterator[tuple[str, str]]:
    """Yield the models whose margin the choice raises notably, and by how much, in points or the metric's unit."""
    for model, entry in column.entries[column.entries["value"].notna()].iterrows():
        if entry["optimism"] > NOTABLE * (entry["hi"] - entry["lo"]):  # never where there is no interval
            yield str(model), format_number(entry["optimism"], column.unit)


def _margin(store: Store, entry: pd.Series[Any], column: Column) -> dict[str, Any]:
    """Return value, interval, n and optimism of an entry's margin, or an undefined value with the reason."""
    own, metric, best_of = entry["params"], column.metric, column.shown.best_of
    try:
        record = store.record(str(entry["record"]))
        names = [name for name in conditions(record, metric.name, best_of, own) if name not in _controls(column)]
        values = [
            sample_values(record, metric.name, {**own, best_of: name})
            for name in dict.fromkeys([RANDOM, own[best_of], *names])
        ]
        table = pd.concat(values, axis=1).dropna()
        margins = table.to_numpy(dtype=float)[:, 1:] - table.to_numpy(dtype=float)[:, :1]
        groups = sample_groups(record)
        groups = None if groups is None else groups[values[0].index.isin(table.index)]
        measure = mean_measure("margin", margins[:, 0], seed=SEED, bounds=_bounds(metric), groups=groups)
    except SuiteError as error:
        empty = dict.fromkeys(("value", "lo", "hi", "control"), float("nan"))
        return {**empty, "status": "inconclusive", "reason": f"no margin over random: {error}"}
    without = {"status": measure.status, "reason": measure.reason} if measure.lo is None else {}
    return {
        **without,
        "value": measure.value,
        "lo": measure.lo if measure.lo is not None else float("nan"),
        "hi": measure.hi if measure.hi is not None else float("nan"),
        "n": len(table),
        "control": float("nan"),
        "interval_by": measure.method,
        "optimism": choice_optimism(margins * (-1 if column.higher_is_better is False else 1)),
    }


def _controls(column: Column) -> tuple[str, ...]:
    return (RANDOM, *column.shown.controls)


def _bounds(metric: Metric) -> tuple[float, float] | None:
    """Return the bounds of a difference of two values of a metric, if these have bounds."""
    lo, hi = metric.value_bounds
    return None if lo is None or hi is None else (lo - hi, hi - lo)
