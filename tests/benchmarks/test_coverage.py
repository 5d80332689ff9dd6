"""The framework of the coverage script on solved cases, and six quick cells with fixed seeds."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from suite.types import Measure
from tests.benchmarks.coverage.cells import Cell, Ends, Result, at_least, cells_of, failures, families, simulate

REPLICATES = 100
QUICK = [(family, cell) for family in families() for cell in cells_of(family) if cell.quick]


def interval(lo: float | None, hi: float | None) -> Measure:
    return Measure("m", 0.5, lo, hi, 10, "exact")


def result(below: int, above: int, shown: int = 400, one_sided: Any = None, replicates: int = 400) -> Result:
    cell = Cell("m", "s", 10, 0.5, lambda rng, level: None)
    ends = Ends(shown, below, above, 0.1)
    return Result(cell, replicates, ends, one_sided or Ends(shown, 0, 0, 0.1))


def test_misses_are_counted_by_their_side_and_rows_without_interval_are_not() -> None:
    drawn = [interval(0.4, 0.6), interval(0.45, 0.5), interval(0.5, 0.8), interval(None, None), None]
    assert astuple(Ends.of(0.5, drawn))[:3] == (3, 0, 0)  # an interval that ends at the truth holds it
    ends = Ends.of(0.48, drawn)
    assert (ends.shown, ends.below, ends.above) == (3, 1, 0)
    assert Ends.of(0.55, drawn).above == 1
    assert ends.width == pytest.approx(0.2)


def test_one_sided_ends_are_those_of_twice_the_level_minus_one() -> None:
    levels = []

    def draw(rng: np.random.Generator, level: float) -> Measure:
        levels.append((level, rng.random()))
        return interval(0.4, 0.6)

    simulate(Cell("m", "s", 10, 0.5, draw), 2)
    first, again = levels[::2], levels[1::2]
    assert [level for level, _ in levels] == pytest.approx([0.95, 0.9, 0.95, 0.9])
    assert [value for _, value in first] == [value for _, value in again]  # on the same data sets


def test_p_value_equals_the_exact_binomial_test() -> None:
    expected = binomtest(40, 400, 0.07, alternative="greater").pvalue
    assert at_least(40, 400, 0.07) == pytest.approx(expected, rel=1e-10)
    assert result(20, 20).p_values[0] == pytest.approx(expected, rel=1e-10)


def test_a_cell_fails_only_beyond_what_the_number_of_cells_explains() -> None:
    weak = result(20, 24)  # p = 0.002 alone
    assert failures([weak]) == [weak]
    assert failures([weak] + [result(5, 5)] * 99) == []
    bad = result(60, 40)
    assert failures([bad] + [result(5, 5)] * 99) == [bad]
    one_sided = result(0, 0, one_sided=Ends(400, 0, 60, 0.1))
    assert failures([one_sided] + [result(5, 5)] * 99) == [one_sided]


def test_cells_that_are_nearly_always_inconclusive_are_not_tested() -> None:
    assert failures([result(8, 8, shown=19)]) == []
    assert math.isnan(result(0, 0, shown=0).coverage)
    assert result(0, 0, shown=100).inconclusive == 0.75


@pytest.mark.parametrize(("family", "cell"), QUICK, ids=lambda item: getattr(item, "measure", item))
def test_intervals_cover(family: str, cell: Cell) -> None:
    assert failures([simulate(cell, REPLICATES)], alpha=0.001) == []


def test_names_of_cells_are_unique_since_they_are_their_seeds() -> None:
    names = [(cell.measure, cell.setting, cell.n) for family in families() for cell in cells_of(family)]
    assert len(set(names)) == len(names)
