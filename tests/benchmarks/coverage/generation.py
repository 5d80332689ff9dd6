"""Cells of generated images: kernel distance, Fréchet distance, neighbor metrics, and memorized images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suite.kinds.synthesis.judge import WIDTH
from suite.kinds.synthesis.memorization import image_memorization
from suite.kinds.synthesis.pools import GENERATED, NEAREST, REAL
from suite.kinds.synthesis.quality import COVERAGE, DENSITY, PRECISION, RECALL, Scores
from suite.metrics.generation import compared, frechet_distance
from suite.metrics.table import Column, Table
from suite.types import Measure
from tests.benchmarks.coverage.cells import Cell

Array = npt.NDArray[np.float64]
Distances = Callable[[np.random.Generator, int], Array]

SPECTRUM = 2.0 ** (-np.arange(WIDTH) / 3)
VARIANCES = SPECTRUM * WIDTH / SPECTRUM.sum()
"""Of the real features: few directions dominate, as in the features of the judge."""

NEIGHBORS = tuple(one.name for one in (PRECISION, RECALL, DENSITY, COVERAGE))
"""The metrics of neighbors, in the order of their rows."""

GIVEN = 0
"""Seed of the images that are as given."""


@dataclass(frozen=True)
class Features:
    """Normal features of real images, with mean 0 and `VARIANCES`, and of generated ones.

    Attributes:
        shift: mean of the generated features, in deviations of the real ones.
        scale: of their deviations.
    """

    shift: float = 0.0
    scale: float = 1.0

    def real(self, n: int, rng: np.random.Generator) -> Array:
        """Return n real images, (n, features)."""
        return np.asarray(rng.standard_normal((n, WIDTH)) * np.sqrt(VARIANCES))

    def generated(self, n: int, rng: np.random.Generator) -> Array:
        """Return n generated images, (n, features)."""
        return np.asarray((self.shift + self.scale * rng.standard_normal((n, WIDTH))) * np.sqrt(VARIANCES))

    @cached_property
    def kid(self) -> float:
        """The kernel distance: (1 + t)^3 sums inner products of the first three raw moments."""
        means = np.zeros(WIDTH), self.shift * np.sqrt(VARIANCES)
        moments = [_moments(mean, spread) for mean, spread in zip(means, (1.0, self.scale**2), strict=True)]
        parts = [float(((one - other) ** 2).sum()) for one, other in zip(*moments, strict=True)]
        return float(3 * parts[0] / WIDTH + 3 * parts[1] / WIDTH**2 + parts[2] / WIDTH**3)

    def fid(self, n: int, draws: int = 400) -> float:
        """Return the Fréchet distance to expect of n images."""
        rng = np.random.default_rng(1)
        return float(np.mean([frechet_distance(self.real(n, rng), self.generated(n, rng)) for _ in range(draws)]))

    def share(self, name: str, n: int, draws: int = 200) -> float:
        """Return a neighbor metric over new images of its own side, the other side as given."""
        rng, given = np.random.default_rng(2), np.random.default_rng(GIVEN)
        field = {"precision": "realistic", "recall": "recalled", "density": "density", "coverage": "covered"}[name]
        if name in ("precision", "density"):
            real = self.real(n, given)
            pairs = ((real, self.generated(n, rng)) for _ in range(draws))
        else:
            fakes = self.generated(n, given)
            pairs = ((self.real(n, rng), fakes) for _ in range(draws))
        return float(np.mean([getattr(compared(*pair), field).mean() for pair in pairs]))


def _moments(mean: Array, spread: float) -> tuple[Array, Array, Array]:
    """Return the raw moments of a normal distribution with independent components up to the third."""
    covariance, square = np.diag(spread * VARIANCES), np.multiply.outer(mean, mean)
    mixed = np.multiply.outer(covariance, mean)
    third = np.multiply.outer(square, mean) + mixed + mixed.transpose(0, 2, 1) + mixed.transpose(2, 0, 1)
    return mean, square + covariance, third


_FACTS = {"judge": "labels", "not_finite": 0}


def _measure(name: str, real: Array, generated: Array, rng: np.random.Generator, level: float) -> Measure:
    columns = tuple(Column("features", values, {}, of) for of, values in ((REAL, real), (GENERATED, generated)))
    scores = Scores(Table(columns, _FACTS, int(rng.integers(2**31)), level), GENERATED)
    if name in NEIGHBORS:
        return scores.neighbors()[NEIGHBORS.index(name)]
    measure: Measure = getattr(scores, name)()
    return measure


def _distance(name: str, of: Features, n: int, rng: np.random.Generator, level: float) -> Measure:
    return _measure(name, of.real(n, rng), of.generated(n, rng), rng, level)


def _share(name: str, of: Features, n: int, rng: np.random.Generator, level: float) -> Measure:
    given = np.random.default_rng(GIVEN)
    real_given = name in ("precision", "density")
    real, generated = of.real(n, given if real_given else rng), of.generated(n, rng if real_given else given)
    return _measure(name, real, generated, rng, level)


def _memorized(setting: str, n: int, rng: np.random.Generator, level: float) -> Measure:
    """Measure distances to training images, uniform for real ones, rounded up to 1 / ties if that is not 0."""
    drawn, _, ties = MEMORIZED[setting]
    both = {REAL: rng.random(n), GENERATED: drawn(rng, n)}
    columns = []
    for of, values in both.items():
        rounded = np.ceil(values * ties) / ties if ties else values
        columns += [Column("features", np.zeros((n, 1)), {}, of), Column("nearest_pixels", rounded, {}, of)]
    return image_memorization(Table(tuple(columns), _FACTS, 0, level), "pixels")


def _copies(share: float, rng: np.random.Generator, n: int) -> Array:
    return np.where(rng.random(n) < share, 0.0, rng.random(n))


MEMORIZED: dict[str, tuple[Distances, float, int]] = {
    "honest": (lambda rng, n: rng.random(n), NEAREST, 0),
    "honest, ties": (lambda rng, n: rng.random(n), NEAREST, 40),
    "nearer": (lambda rng, n: rng.random(n) ** 2, NEAREST**0.5, 0),
    "5 % copies": (partial(_copies, 0.05), 0.05 + 0.95 * NEAREST, 0),
    "half copies": (partial(_copies, 0.5), 0.5 + 0.5 * NEAREST, 0),
}
"""Distances of generated images, the share of them below the true quantile, and ties."""

MODELS = {"equal": Features(), "shifted": Features(shift=0.3), "narrow": Features(scale=0.7)}


TRUTHS = Path(__file__).with_name("generation_truths.json")
"""Expectations at n that have no closed form; `python -m tests.benchmarks.coverage.generation` computes them."""

SIZES = {"fid": (100, 300), **dict.fromkeys(NEIGHBORS, (50, 200))}


def truths() -> dict[str, dict[str, dict[str, float]]]:
    """Return the expectation of each metric by name, setting and number of images, by simulation."""
    return {
        name: {
            setting: {str(n): model.fid(n) if name == "fid" else model.share(name, n) for n in sizes}
            for setting, model in MODELS.items()
        }
        for name, sizes in SIZES.items()
    }


def _cells() -> Iterator[Cell]:
    for setting, (_, truth, _) in MEMORIZED.items():
        for n in (100, 200, 1000):
            quick = (setting, n) == ("honest", 200)
            yield Cell("image_memorization", setting, n, truth, partial(_memorized, setting, n), quick)
    for setting, model in MODELS.items():
        for n in (50, 200, 500):
            yield Cell("kid", setting, n, model.kid, partial(_distance, "kid", model, n))
    if not TRUTHS.exists():
        return
    for name, settings in json.loads(TRUTHS.read_text()).items():
        draw = _distance if name == "fid" else _share
        for setting, by_size in settings.items():
            for n, truth in by_size.items():
                yield Cell(name, setting, int(n), truth, partial(draw, name, MODELS[setting], int(n)))


CELLS: list[Cell] = list(_cells())

if __name__ == "__main__":
    TRUTHS.write_text(json.dumps(truths(), indent=1) + "\n")
