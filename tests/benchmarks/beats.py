"""How often `beats_random` passes by chance: differences with mean 0 and several shapes, from few to many samples.

    python -m tests.benchmarks.beats [REPEATS]

The stated level is 0.5 %. Gains that are skewed to the left are the hard case: rare large losses are easily missed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from suite.attributions.maps.faithfulness import INFIDELITY_SCALED, INSERTION
from suite.attributions.maps.measures import CHECK_LEVEL, beats
from suite.metrics.catalogue import Metric

Array = npt.NDArray[Any]
SHAPES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "log-normal, rare large gains": lambda rng, n: rng.lognormal(size=n) - math.exp(0.5),
    "log-normal, rare large losses": lambda rng, n: math.exp(0.5) - rng.lognormal(size=n),
    "exponential, rare large losses": lambda rng, n: 1 - rng.exponential(size=n),
}
SIZES = (6, 8, 16, 24, 32, 50, 100)
TAIL = (1 - CHECK_LEVEL) / 2


def passes(
    shape: str, n: int, repeats: int, *, metric: Metric = INFIDELITY_SCALED, gain: float = 0.0, scale: float = 1.0
) -> int:
    """Return how often the check passes for differences of this shape with a mean of `gain`."""
    rng, sign, zeros = np.random.default_rng(n), (1 if metric.higher_is_better else -1), np.zeros(n)
    draws = (gain + scale * SHAPES[shape](rng, n) for _ in range(repeats))
    return sum(beats(sign * draw, zeros, metric, seed) == "pass" for seed, draw in enumerate(draws))


def acceptable(repeats: int) -> int:
    """Return the most passes that the stated level explains with a probability of at least 1 %."""
    return int(binom.ppf(0.99, repeats, TAIL))


def main(repeats: int = 3000) -> None:
    """Print the share of passes by chance, then the share of true gains that are found."""
    for shape in SHAPES:
        for n in SIZES:
            print(f"{shape}, n = {n}: {passes(shape, n, repeats) / repeats:.2%} (stated {TAIL:.1%})")
    for gain, scale in ((0.3, 0.15), (0.15, 0.15), (0.1, 0.1), (0.05, 0.1)):
        for n in SIZES:
            found = passes("normal", n, 200, metric=INSERTION, gain=gain, scale=scale) / 200
            print(f"gain {gain} +- {scale} of an insertion AUC, n = {n}: found {found:.0%}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
