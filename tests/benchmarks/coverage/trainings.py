"""Accuracy under an attack that is trained with several seeds, such as a universal patch.

Sample i is right under the patch of seed j if a normal difficulty of the sample, plus a normal deviation of the pair,
is below a threshold that a normal deviation of the seed moves. The accuracy over all samples and seeds is a normal
probability in closed form.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import product

import numpy as np
from scipy.stats import norm

from suite.axes.robustness.trainings import over_seeds
from suite.metrics.stats import rate
from suite.types import Measure
from tests.benchmarks.coverage.cells import Cell

PAIRS = 0.5
"""Standard deviation of a pair of sample and seed; that of samples is 1."""


def _draw(source: np.random.Generator, level: float, *, accuracy: float, between: float, n: int, k: int) -> Measure:
    threshold = norm.ppf(accuracy) * math.sqrt(1 + PAIRS**2 + between**2)
    samples, seeds = source.normal(size=(1, n)), source.normal(0, between, (k, 1))
    right = samples + source.normal(0, PAIRS, (k, n)) < threshold + seeds
    return over_seeds([rate("robust_accuracy", one, level=level) for one in right], level)


CELLS: list[Cell] = [
    Cell(
        "robust_accuracy",
        f"accuracy {accuracy}, {k} seeds, spread {between}",
        n,
        accuracy,
        partial(_draw, accuracy=accuracy, between=between, n=n, k=k),
    )
    for accuracy, between, n, k in product((0.5, 0.9, 0.98), (0.05, 0.15), (50, 200, 1000), (3, 5))
]
