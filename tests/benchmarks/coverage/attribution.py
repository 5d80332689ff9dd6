"""Cells of means with few samples: faithfulness measures, gaps, and other skewed per-sample values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from suite.attributions.features.faithfulness import COMPREHENSIVENESS, CONVERGENCE, GAPS
from suite.attributions.features.measures import rationale_measures
from suite.attributions.maps.faithfulness import CONTROL, DELETION, INFIDELITY, INSERTION
from suite.kinds.autoencoding import out_of_distribution
from suite.kinds.autoencoding.metrics import NLL
from suite.kinds.autoencoding.out_of_distribution import UNCHANGED, out_of_distribution_measures
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Table
from suite.types import Measure
from tests.benchmarks.coverage.cells import Cell

Array = npt.NDArray[np.float64]
Values = Callable[[np.random.Generator, int], Array]

SIZES = (8, 16, 64)


def _mean(name: str, setting: str, n: int, rng: np.random.Generator, level: float) -> Measure:
    metric, drawn, _ = MEANS[name, setting]
    return Table((), seed=int(rng.integers(2**31)), level=level).mean(metric, drawn(rng, n))


MEANS: dict[tuple[str, str], tuple[Metric, Values, float]] = {
    ("insertion", "spread out"): (INSERTION, lambda rng, n: rng.beta(2, 2, n), 0.5),
    ("insertion", "near 1"): (INSERTION, lambda rng, n: rng.beta(4.5, 0.5, n), 0.9),
    ("deletion", "near 0"): (DELETION, lambda rng, n: rng.beta(0.3, 2.7, n), 0.1),
    ("comprehensiveness", "skewed"): (COMPREHENSIVENESS, lambda rng, n: rng.beta(0.5, 2, n), 0.2),
    ("convergence", "exponential"): (CONVERGENCE, lambda rng, n: rng.exponential(0.02, n), 0.02),
    ("infidelity", "gamma 1/2"): (INFIDELITY, lambda rng, n: rng.gamma(0.5, 2, n), 1.0),
    ("nll", "gamma 9"): (NLL, lambda rng, n: 60 + rng.gamma(9, 3, n), 87.0),
}
"""Values of samples with their true mean, by short name and setting."""


def _gap(n: int, rng: np.random.Generator, level: float) -> Measure:
    """Measure the gap of a method that gains between nothing and all that the control leaves."""
    emptied = rng.beta(0.6, 0.6, n)
    control = emptied * rng.beta(2, 4, n)
    method = control + (emptied - control) * rng.beta(1, 2, n)
    columns = [Column("emptied", emptied)]
    for name, values in (("method", method), (CONTROL, control)):
        columns += [Column(one, values, {"method": name}) for one in ("comprehensiveness", "sufficiency")]
    facts = {"methods": ["method"], "deletion": "by hand", "proxy": False, "ends_matter": False}
    table = Table(tuple(columns), facts, int(rng.integers(2**31)), level)
    return next(row for row in rationale_measures(table) if row.metric == GAPS["comprehensiveness"].name)


def _auroc(distance: float, n: int, rng: np.random.Generator, level: float) -> Measure:
    """Measure code lengths of images and of changed ones, normal with a common part of half the variance."""
    common = rng.standard_normal(n) / np.sqrt(2)
    own, other = (common + rng.standard_normal(n) / np.sqrt(2) + mean for mean in (0.0, distance))
    columns = [Column("id", np.array([f"{index}" for index in range(n)]))]
    for name, values in ((UNCHANGED, own), ("black", other)):
        columns.append(Column("score", values, {"out_of_distribution": name}))
    (row,) = out_of_distribution_measures(Table(tuple(columns), seed=int(rng.integers(2**31)), level=level))
    return row


def _cells() -> Iterator[Cell]:
    from scipy.special import ndtr

    for (name, setting), (metric, _, truth) in MEANS.items():
        for n in SIZES:
            quick = (metric, setting, n) == (INSERTION, "near 1", 16)
            yield Cell(metric.name, setting, n, truth, partial(_mean, name, setting, n), quick)
    for n in SIZES:
        yield Cell(GAPS["comprehensiveness"].name, "two ninths", n, 2 / 9, partial(_gap, n))
    for distance in (0.0, 1.5, 4.0):
        for n in (16, 50, 200):
            truth = float(ndtr(distance / np.sqrt(2)))
            setting = f"distance {distance}"
            yield Cell(out_of_distribution.AUROC.name, setting, n, truth, partial(_auroc, distance, n))


CELLS: list[Cell] = list(_cells())
