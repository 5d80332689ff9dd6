"""Ties in one column of a board: which models differ significantly, and which ranks that allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from suite.errors import StoreError, SuiteError
from suite.leaderboard.columns import Column
from suite.leaderboard.comparison import Comparison, Samples, compare, samples_of
from suite.metrics.stats import holm_matrix, rank_ranges, tie_groups
from suite.store import Store


@dataclass(frozen=True)
class Ties:
    """The results of the paired tests of one column.

    Attributes:
        letters: model to letters; models that share one do not differ significantly.
        ranks: model to its best and worst possible rank.
        left_out: model to the reason why it was not compared.
        comparison: the tests; None if there were none.
        oddities: sentences about ranks that do not follow the order of the values.
    """

    letters: Mapping[str, str] = field(default_factory=dict)
    ranks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    comparison: Comparison | None = None
    oddities: tuple[str, ...] = ()


def ties(store: Store, column: Column, alpha: float) -> Ties:
    """Return the ties of a column, by paired tests adjusted by Holm over all pairs of its valid models.

    Suspect numbers are left out: what their attack missed could change the result.
    """
    entries, metric = column.entries, column.metric
    valid = entries[(entries["status"] == "ok") & entries["value"].notna()]
    if not (metric.outcome or metric.tally) or len(valid) < 2:
        return Ties()
    samples: dict[str, Samples] = {}
    left_out = {}
    for model, entry in valid.iterrows():
        try:
            samples[str(model)] = samples_of(store, entry, metric)
        except StoreError as error:
            left_out[str(model)] = f"not compared: {error}"
    shared = _shared(samples)
    left_out |= dict.fromkeys(samples.keys() - shared.keys(), "not compared: measured on other samples")
    if len(shared) < 2:
        return Ties(left_out=left_out | dict.fromkeys(shared, "not compared: no other model has its samples"))
    try:
        comparison = compare(metric, list(shared.values()), alpha)
    except SuiteError as error:
        return Ties(left_out=left_out | dict.fromkeys(shared, f"not compared: {error}"))
    return _tested(comparison, valid["value"][list(shared)], left_out, alpha, column.higher_is_better is not False)


def _tested(comparison: Comparison, values: pd.Series, left_out: dict[str, str], alpha: float, higher: bool) -> Ties:
    p = holm_matrix(comparison.p)
    scores, models = values.to_numpy(dtype=float), [str(model) for model in values.index]
    letters = tie_groups(scores, p, alpha=alpha, higher_is_better=higher)
    ranks = rank_ranges(scores, p, alpha=alpha, higher_is_better=higher)
    by_letter, by_rank = dict(zip(models, letters, strict=True)), dict(zip(models, ranks, strict=True))
    ordered = values.sort_values(ascending=not higher, kind="stable")
    return Ties(by_letter, by_rank, left_out, comparison, tuple(_oddities(ordered, by_rank)))


def _oddities(values: pd.Series, ranks: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Yield a sentence for each model, best first, whose range of ranks is better than that of the model before it."""
    order = [str(model) for model in values.index]
    yield from (
        f"{worse} may rank {_range(ranks[worse])} and {better}, whose value is better, {_range(ranks[better])}: "
        "a difference counts only relative to how much it varies from sample to sample, and that depends on the pair"
        for better, worse, step in zip(order, order[1:], np.diff(values.to_numpy(dtype=float)), strict=False)
        if step != 0 and (ranks[worse][0] < ranks[better][0] or ranks[worse][1] < ranks[better][1])
    )


def _range(rank: tuple[int, int]) -> str:
    return f"{rank[0]}" if rank[0] == rank[1] else f"{rank[0]}-{rank[1]}"


def _shared(samples: dict[str, Samples]) -> dict[str, Samples]:
    """Return the largest set of models that were evaluated on exactly the same samples."""
    ids = {model: tuple(one.ids.tolist()) for model, one in samples.items()}
    most = Counter(ids.values()).most_common(1)
    return {model: one for model, one in samples.items() if ids[model] == most[0][0]}
