"""Paired tests between all models of one column, on the samples that they share.

Where predictions are right or wrong and samples are independent, the test is McNemar's exact one. For any other metric,
and for samples in groups, the predictions of two models are swapped, see `suite.metrics.stats.permutation`. Distances
between sets of images, such as KID and FID, have no test: the images that two generators draw are not paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.errors import MeasureError
from suite.leaderboard.samples import sample_columns, sample_groups
from suite.metrics.catalogue import Metric
from suite.metrics.stats import Statistic, average, minimum_detectable_effect, paired_p_values
from suite.metrics.stats.permutation import SwapTest, least_p, swap_test, swaps_needed
from suite.metrics.stats.quantiles import t_quantile
from suite.registry import REGISTRY
from suite.store import Store

Array = npt.NDArray[Any]

MOST_SWAPPED = 20
"""Most models that are compared by swaps: their number of pairs, and of swaps for each, grow quadratically."""

POWER = 0.8


@dataclass(frozen=True)
class Samples:
    """What one model's number in a column is computed from.

    Attributes:
        ids: sample ids, (n,).
        tally: outcomes from 0 to 1, (n,), or what each sample contributes to the metric, (n, ...).
        binary: whether all outcomes are right, 1, or wrong, 0.
        groups: the number of each sample's group, (n,); None if samples are independent.
        kind: the name of the kind of the task.
    """

    ids: Array
    tally: Array
    binary: bool
    groups: Array | None
    kind: str


@dataclass(frozen=True)
class Comparison:
    """Paired tests of some models on n samples.

    Attributes:
        p: p values of all pairs, (models, models), not yet adjusted.
        test: what the test is, in words.
        n: number of samples.
        groups: number of groups of samples; None if samples are independent.
        discordance: median over the pairs of the share of samples that one of the two gets right; None for swaps.
        error: median over the pairs of the standard error of the difference of equal models; None for McNemar's test.
    """

    p: Array
    test: str
    n: int
    groups: int | None = None
    discordance: float | None = None
    error: float | None = None

    @property
    def pairs(self) -> int:
        """Number of pairs of models."""
        return len(self.p) * (len(self.p) - 1) // 2

    def detectable(self, size: float) -> float | None:
        """Return the true difference that a test of a size finds with 80 % power; None if it cannot be found."""
        if self.discordance == 0:
            return None
        if self.discordance is not None:
            return minimum_detectable_effect(self.n, self.discordance, power=POWER, level=1 - size)
        units = self.groups or self.n
        if self.error is None or least_p(units) > size:
            return None
        return self.error * (t_quantile(1 - size, units - 1) + t_quantile(2 * POWER - 1, units - 1))


def samples_of(store: Store, entry: pd.Series[Any], metric: Metric) -> Samples:
    """Return what a number in a column is computed from.

    Raises:
        StoreError: it was not stored, or cannot be read.
    """
    record = store.record(str(entry["record"]))
    names = (metric.outcome,) if metric.outcome else metric.tally
    ids, columns = sample_columns(record, names, entry["params"])
    tally, binary = columns[0] if len(columns) == 1 else np.column_stack(columns), False
    if metric.outcome:
        tally = np.nan_to_num(tally.astype(np.float64))  # a sample without an outcome counts against the model
        binary = bool(np.isin(tally, (0, 1)).all())
    return Samples(ids, tally, binary, sample_groups(record), record.provenance.kind)


def compare(metric: Metric, models: Sequence[Samples], alpha: float) -> Comparison:
    """Test all pairs of two or more models on the same samples.

    Args:
        metric: of the column.
        models: their samples.
        alpha: family-wise size for which there have to be enough swaps.

    Raises:
        MeasureError: the metric is undefined for a model, or there are too many models.
        SuiteError: the kind of the task is not installed.
    """
    first = models[0]
    if first.groups is None and all(one.binary for one in models):
        outcomes = np.stack([one.tally for one in models]) == 1
        test = "exact McNemar tests"
        return Comparison(paired_p_values(outcomes), test, len(first.ids), discordance=_discordance(outcomes))
    if len(models) > MOST_SWAPPED:
        raise MeasureError(f"more than {MOST_SWAPPED} models, for which swaps of all pairs would take too long")
    return _swapped(models, _statistic(metric, first), alpha)


def _statistic(metric: Metric, samples: Samples) -> Callable[[Array], Statistic]:
    if metric.outcome:
        return average
    statistic: Callable[[Array], Statistic] = REGISTRY.get("kind", samples.kind).factory().scoring.statistic
    return statistic


def _swapped(models: Sequence[Samples], statistic: Callable[[Array], Statistic], alpha: float) -> Comparison:
    first, pairs = models[0], list(combinations(range(len(models)), 2))
    groups, n = first.groups, len(first.ids)
    swaps = swaps_needed(len(pairs), alpha)
    results: list[SwapTest] = []
    for a, b in pairs:
        both = np.concatenate([models[a].tally, models[b].tally])
        results.append(swap_test(statistic(both), n, groups=groups, swaps=swaps))
    p = np.ones((len(models), len(models)))
    for (a, b), result in zip(pairs, results, strict=True):
        p[a, b] = p[b, a] = result.p
    count = None if groups is None else int(groups.max()) + 1
    test = f"up to {swaps:,} random swaps of the {'samples' if count is None else 'groups'} of two models"
    return Comparison(p, test, n, count, error=float(np.median([result.error for result in results])))


def _discordance(outcomes: Array) -> float:
    """Return the median over pairs of the share of samples that exactly one model of outcomes (m, n) gets right."""
    right = outcomes.astype(np.float64)
    one = right.sum(axis=1)
    shares = (one[:, None] + one[None] - 2 * (right @ right.T)) / outcomes.shape[1]
    return float(np.median(shares[np.triu_indices(len(shares), 1)]))
