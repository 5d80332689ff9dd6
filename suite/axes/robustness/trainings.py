"""Attacks that are trained with several seeds: their columns, and the measures over all of them.

A universal patch is the result of one training, and another seed gives another one. Each is applied to every sample;
a number is the mean over the seeds, and its interval includes the spread between them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
from scipy.stats import t

from suite.axes.robustness.columns import condition, outcome_columns, reached_columns, shift_columns, text_columns
from suite.axes.robustness.stored import Stored
from suite.axes.robustness.sweep import AttackSweep
from suite.metrics.table import Column, Table
from suite.types import Measure

TRAINING = "training"
"""The param of the columns of a further training: its number, from 1."""


def training_columns(first: AttackSweep, others: Sequence[AttackSweep]) -> list[Column]:
    """Return the columns of further trainings at every size, and the mean quality over all trainings.

    Args:
        first: the sweep of the first training, which has columns of its own.
        others: those of the further ones, on the same samples; none for no columns.
    """
    columns = [column for number, sweep in enumerate(others, 1) for column in _columns_of(sweep, number)]
    for size in first.attack.sizes if others else ():
        mean = np.mean([sweep.quality[size] for sweep in (first, *others)], axis=0)
        columns.append(Column("quality", mean, {**condition(first.attack, size), "seeds": 1 + len(others)}))
    return columns


def _columns_of(sweep: AttackSweep, number: int) -> list[Column]:
    """Return what a training changes: the columns under the attack, not those under its controls."""
    columns = [*outcome_columns(sweep), *reached_columns(sweep), *text_columns(sweep), *shift_columns(sweep).columns]
    own = [column for column in columns if column.params and "control" not in column.params]
    return [replace(column, params={**column.params, TRAINING: number}) for column in own]


def trainings(table: Table) -> list[Table]:
    """Return the table of each training; that of the first is the table itself."""
    others = (table.at(**{TRAINING: number}) for number in range(1, Stored(table).seeds or 1))
    return [table, *(replace(other, params=table.params) for other in others)]


def over_seeds(
    measures: Sequence[Measure], level: float, bounds: tuple[float | None, float | None] | None = None
) -> Measure:
    """Return the mean of one measure over the seeds of a training, with an interval for samples and seeds.

    Each half of the interval is the root of the sum of two squares: the mean half of the single seeds, which is at
    least that of their mean; and the half of Student's interval for the mean over the seeds. What no training changes,
    such as a control, stays as it is.

    Args:
        measures: the measure of each seed, on the same samples.
        level: confidence level of the intervals.
        bounds: the lowest and the highest possible value; by default 0 and 1 for shares, and none for other units.
    """
    first, count = measures[0], len(measures)
    undefined = [one for one in measures if one.value is None]
    if undefined or all(one == first for one in measures):
        return (undefined or [first])[0]
    values = [one.value for one in measures if one.value is not None]
    value, spread = fmean(values), stdev(values)
    params = {**first.params, "between_seeds": float(f"{spread:.3g}")}
    halves = [_halves(one) for one in measures]
    if None in halves:
        lacking = measures[halves.index(None)]
        return replace(lacking, value=value, lo=None, hi=None, params=params)
    between = float(t.ppf((1 + level) / 2, count - 1)) * spread / math.sqrt(count)
    below, above = (math.hypot(fmean(side), between) for side in zip(*filter(None, halves), strict=True))
    low, high = bounds or ((0.0, 1.0) if first.unit in ("fraction", "probability") else (None, None))
    lo = value - below if low is None else max(low, value - below)
    hi = value + above if high is None else min(high, value + above)
    return replace(first, value=value, lo=lo, hi=hi, method=f"{first.method}, {count} seeds", params=params)


def _halves(measure: Measure) -> tuple[float, float] | None:
    """Return how far the interval of a measure reaches below and above its value; None without an interval."""
    if measure.value is None or measure.lo is None or measure.hi is None:
        return None
    return measure.value - measure.lo, measure.hi - measure.value
