"""One cell is a measure in one setting: how often its intervals hold the truth on simulated data sets."""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binom

from suite.metrics.stats import holm
from suite.types import Measure

LEVEL = 0.95
MISSES = 0.07
"""Most misses of a two-sided interval that a cell may have in truth."""

ONE_SIDED_MISSES = 0.06
"""Most misses of a one-sided 95 % bound that a cell may have in truth, at either end."""

TESTED_SHARE = 0.05
"""Cells in which fewer draws than this give an interval are shown but not tested."""

NO_FAMILY = ("__main__", "cells")


@dataclass(frozen=True)
class Cell:
    """A measure in one setting.

    Attributes:
        measure: its name, such as ``balanced_accuracy``.
        setting: the simulated model and data, such as ``accuracy .98, long tail``.
        n: number of samples of a data set.
        truth: what the interval has to hold.
        draw: takes a generator and a level; returns the measure as the suite computes it on one simulated data set,
            None if there is no row.
        quick: whether the tests run it.
    """

    measure: str
    setting: str
    n: int
    truth: float
    draw: Callable[[np.random.Generator, float], Measure | None]
    quick: bool = False

    @property
    def seed(self) -> int:
        """The seed of its data sets, the same whatever other cells run."""
        return zlib.crc32(f"{self.measure}, {self.setting}, {self.n}".encode())


@dataclass(frozen=True)
class Ends:
    """How the intervals of one level missed.

    Attributes:
        shown: number of draws that gave an interval.
        below: number of these whose interval lies above the truth, so that the truth is below it.
        above: number of these whose interval lies below the truth.
        width: median width, NaN if there is no interval.
    """

    shown: int
    below: int
    above: int
    width: float

    @classmethod
    def of(cls, truth: float, measures: Iterable[Measure | None]) -> Ends:
        """Count the misses of measures that are all estimates of one truth."""
        pairs = [(m.lo, m.hi) for m in measures if m is not None and m.lo is not None and m.hi is not None]
        lo, hi = np.asarray(pairs, dtype=np.float64).reshape(-1, 2).T
        width = float(np.median(hi - lo)) if len(pairs) else float("nan")
        slack = 1e-12  # an interval that ends at the truth holds it, whatever the rounding
        return cls(len(pairs), int((truth < lo - slack).sum()), int((truth > hi + slack).sum()), width)


@dataclass(frozen=True)
class Result:
    """A cell's simulation.

    Attributes:
        cell: the cell.
        replicates: number of simulated data sets.
        two_sided: misses of 95 % intervals.
        one_sided: misses of 90 % intervals on the same data sets, whose ends are one-sided 95 % bounds.
    """

    cell: Cell
    replicates: int
    two_sided: Ends
    one_sided: Ends

    @property
    def tested(self) -> bool:
        """Whether enough draws gave an interval."""
        return self.two_sided.shown > 0 and self.two_sided.shown >= TESTED_SHARE * self.replicates

    @property
    def coverage(self) -> float:
        """Share of intervals that hold the truth, NaN if there is no interval."""
        ends = self.two_sided
        return 1 - (ends.below + ends.above) / ends.shown if ends.shown else float("nan")

    @property
    def inconclusive(self) -> float:
        """Share of draws without an interval."""
        return 1 - self.two_sided.shown / self.replicates

    @property
    def p_values(self) -> tuple[float, float, float]:
        """Exact binomial p-values of: at most 7 % misses, at most 6 % one-sided misses below, and above."""
        two, one = self.two_sided, self.one_sided
        return (
            at_least(two.below + two.above, two.shown, MISSES),
            at_least(one.below, one.shown, ONE_SIDED_MISSES),
            at_least(one.above, one.shown, ONE_SIDED_MISSES),
        )


def at_least(misses: int, shown: int, share: float) -> float:
    """Return the probability of at least so many misses among the shown if each has this probability."""
    return float(binom.sf(misses - 1, shown, share))


def simulate(cell: Cell, replicates: int) -> Result:
    """Return the misses of a cell over simulated data sets, each measured at both levels."""

    levels = (LEVEL, 2 * LEVEL - 1)
    # One data set after the other, since measures of equal seeds share the weights of their resamples.
    drawn = [[cell.draw(np.random.default_rng((cell.seed, index)), x) for x in levels] for index in range(replicates)]
    return Result(cell, replicates, *(Ends.of(cell.truth, column) for column in zip(*drawn, strict=True)))


def failures(results: Sequence[Result], alpha: float = 0.05) -> list[Result]:
    """Return the cells that fail by Holm's test over all cells: of the coverage, or of the one-sided misses."""
    tested = [result for result in results if result.tested]
    if not tested:
        return []
    p = np.array([result.p_values for result in tested])
    adjusted = np.column_stack([holm(p[:, 0]), np.reshape(holm(p[:, 1:].ravel()), (-1, 2))])
    return [result for result, row in zip(tested, adjusted, strict=True) if (row < alpha).any()]


def families() -> list[str]:
    """Return the names of the modules that hold cells."""
    return sorted(
        item.name for item in pkgutil.iter_modules([str(Path(__file__).parent)]) if item.name not in NO_FAMILY
    )


def cells_of(family: str) -> list[Cell]:
    """Return the cells of a family."""
    cells: list[Cell] = importlib.import_module(f"tests.benchmarks.coverage.{family}").CELLS
    return cells


def simulated(family: str, index: int, replicates: int) -> Result:
    """Return the misses of a cell by its place in its family, for worker processes: functions do not travel."""
    return simulate(cells_of(family)[index], replicates)
