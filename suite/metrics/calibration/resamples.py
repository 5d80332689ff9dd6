"""Resamples of samples, or of their groups, beside one imagined sample that shows what was not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.metrics.calibration.inputs import FloatArray
from suite.metrics.catalogue import Metric
from suite.metrics.stats.bootstrap import bootstrap, percentile_interval, recentred_interval
from suite.metrics.stats.clusters import Groups, group_codes
from suite.metrics.stats.interval import ONE_GROUP, Interval
from suite.metrics.stats.weights import WeightArray, chunk_rows, chunks
from suite.types import Measure

PairStatistic = Callable[[WeightArray], FloatArray]
"""Function from the weights (n + 1, r) of n samples and an imagined one to two values of each resample, (r, 2)."""


@dataclass(frozen=True, eq=False)
class Resamples:
    """Resamples of n samples.

    Attributes:
        n: number of samples.
        groups: the number of each sample's group, (n,), from 0; None if samples are independent.
        seed: integer >= 0.
        replicates: number of resamples.
        level: confidence level.
    """

    n: int
    groups: Groups | None
    seed: int
    replicates: int
    level: float

    @classmethod
    def of(cls, n: int, groups: Groups | None, seed: int, replicates: int, level: float) -> Resamples:
        """Build from any numbers of groups; raise DataError unless there is one per sample."""
        return cls(n, group_codes(groups, n), seed, replicates, level)

    @property
    def units(self) -> int:
        """Number of independent samples, or of groups."""
        return self.n if self.groups is None else int(self.groups.max()) + 1

    def draws(self, *statistics: PairStatistic) -> list[FloatArray]:
        """Return the two values of each statistic on the same resamples, (replicates, 2) each.

        The weight of the imagined sample is exponential with mean 1, or with the size of an average group.
        """

        def joint(weights: WeightArray) -> FloatArray:
            parts = [np.stack([one(part) for one in statistics]) for part in self._spread(weights)]
            return np.concatenate(parts, axis=1).swapaxes(0, 1)

        drawn = bootstrap(joint, self.units + 1, seed=self.seed, replicates=self.replicates)
        return list(drawn.swapaxes(0, 1))

    def _spread(self, weights: WeightArray) -> Iterator[WeightArray]:
        """Yield the weights of samples, (n + 1, r), from those of the units, (units + 1, r)."""
        if self.groups is None:
            yield weights
            return
        for part in chunks(weights.shape[1], chunk_rows(self.n)):
            own = weights[:, part]
            yield np.concatenate([own[self.groups], own[-1:] * np.float32(self.n / self.units)])

    def percentile(self, metric: Metric, value: float, draws: FloatArray, params: Mapping[str, Any]) -> Measure:
        """Return a measure whose ends are percentiles of the two columns of draws (replicates, 2)."""
        interval = percentile_interval(value, draws[:, 0], n=self.units, level=self.level, upper=draws[:, 1])
        return self.measure(metric, value, interval, params)

    def recentred(self, metric: Metric, value: float, draws: FloatArray, params: Mapping[str, Any]) -> Measure:
        """Return a measure of an expected plug-in error.

        An imagined sample may raise the error or lower it, so that each end is the outer one of those without it, the
        first column of draws (replicates, 2), and with it.
        """
        fields: dict[str, Any] = {
            "n": self.units, "level": self.level, "floor": 0.0, "center": float(draws[:, 0].mean())
        }  # fmt: skip
        plain, imagined = (recentred_interval(value, column, **fields) for column in draws.T)
        if plain.lo is None or plain.hi is None or imagined.lo is None or imagined.hi is None:
            return self.measure(metric, value, imagined, params)
        ends = min(plain.lo, imagined.lo), min(1.0, max(plain.hi, imagined.hi))
        return self.measure(metric, value, Interval(*ends, imagined.method), params)

    def measure(self, metric: Metric, value: float, interval: Interval, params: Mapping[str, Any]) -> Measure:
        """Return a measure of these samples with an interval."""
        if self.groups is not None and self.units == 1:
            interval = Interval(None, None, ONE_GROUP)
        fields: dict[str, Any] = {
            "level": self.level, "unit": metric.unit, "higher_is_better": metric.higher_is_better, "params": params,
            "groups": None if self.groups is None else self.units,
        }  # fmt: skip
        return interval.measure(metric.name, value, self.n, **fields)
