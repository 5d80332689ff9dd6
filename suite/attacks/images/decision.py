"""A decision-based attack: it uses the predicted class only, neither scores nor gradients.

It starts from a misclassified point, such as another image, and walks along the decision boundary towards the clean
sample: a random change is kept if the point stays misclassified and gets nearer to the clean sample. The walk is that
of Brendel et al. (2018); the changes are the squares of Andriushchenko et al. (2020), which suit the norm balls.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from suite.attacks import rng as random
from suite.attacks.constraints.base import spread
from suite.attacks.engine.base import Training, restored, stored
from suite.attacks.engine.problem import Problem
from suite.attacks.images.boundary import NearestPoints
from suite.attacks.images.gradient import NormAttack, require_images
from suite.attacks.images.square import Square, bumps, parts_of, squares
from suite.decorators import attack
from suite.errors import SpecError

NOISE, QUERIES = 1300, 1400
"""Streams of random numbers: for the initial noise, and for the first block of queries."""

BLOCK = 32
"""Number of queries whose random numbers are drawn at once."""

POOL = 64
"""Number of training images that serve as starting points."""

TRIES = 10
"""Random images tried per sample if no pool image is misclassified."""

FIRST, LEAST, MOST = 0.1, 0.002, 0.5
"""Step towards the clean sample as a share of the distance: initial, minimum and maximum."""


@attack(name="decision")
@dataclass(frozen=True)
class Decision(NormAttack):
    """A walk along the decision boundary towards each sample, by predicted labels alone.

    Attributes:
        queries: maximum number of forward passes per sample, apart from one pass per pool image in total.
        p: share of the pixels that the first change covers.
        pool: images to start from, (k, ...), which `fit` takes from the training samples. If no pool image is
            misclassified, the walk starts from random images.
    """

    loss: str | None = None
    queries: int = 1000
    p: float = 0.8
    pool: Tensor | None = field(default=None, repr=False, compare=False)
    budget_field: ClassVar[str | None] = "queries"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queries < 1 or not 0 < self.p <= 1:
            raise SpecError(
                f"decision needs queries of at least 1 and p in (0, 1]; got queries={self.queries} and p={self.p}."
            )

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with a pool of training images."""
        pixels, _ = training()
        order = random.integers(random.as_seeds([seed], pixels.device), NOISE, len(pixels))[0].argsort()
        return replace(super().fit(problem, training, seed=seed), pool=pixels[order[:POOL]])

    def state(self) -> dict[str, Any]:
        """Return the range of the inputs and the pool."""
        return super().state() | {"pool": stored(self.pool)}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with the pool, which moves to the device of the samples when it is used."""
        return replace(super().with_state(state, problem), pool=restored(state["pool"], problem))

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the nearest misclassified point if it is within the size, or the clean inputs."""
        nearest, distance = self.nearest(problem, pixels, targets, seeds, enough=size)
        return torch.where(spread(distance <= size, pixels), nearest, pixels)

    def nearest(
        self, problem: Problem, pixels: Tensor, targets: Tensor, seeds: Tensor, *, enough: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the nearest misclassified points, (n, ...), and their distances in float64 (n,).

        Args:
            problem: the model; only `problem.misclassified` is used.
            pixels: clean images (n, channels, height, width).
            targets: (n, ...).
            seeds: int64 (n,).
            enough: the distance at which the search stops for a sample.

        Returns:
            Points, the clean ones where none was found, and distances, inf where none was found.
        """
        require_images(problem, "decision")
        own = random.as_seeds(seeds, pixels.device)
        points, distance = pixels.clone(), torch.full_like(own, math.inf, dtype=torch.float64)
        with torch.no_grad():
            pool = self._evaluated_pool(problem, pixels)
            for rows in parts_of(pixels, problem.batch_size):
                walk = _Walk(self, problem, pixels[rows], targets[rows], own[rows])
                walk.begin(pool)
                walk.run(enough)
                points[rows], distance[rows] = walk.point, walk.distance
        return points, distance

    def _evaluated_pool(self, problem: Problem, pixels: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the pool and the model's output for each image, or None if the pool is empty."""
        if self.pool is None or not len(self.pool):
            return None
        images = self.pool.to(pixels)
        return images, problem.forward(images)


class _Walk(NearestPoints):
    """The search for one batch."""

    def __init__(self, attack: Decision, problem: Problem, clean: Tensor, targets: Tensor, seeds: Tensor) -> None:
        super().__init__(problem, attack.norm, clean, targets, seeds)
        self.attack = attack
        self.schedule = Square(norm=attack.norm, p=attack.p, queries=attack.queries)

    def begin(self, pool: tuple[Tensor, Tensor] | None) -> None:
        """Start from the clean sample if misclassified, or the nearest pool image that is, or random images."""
        self.update(self.clean, self.problem.forward(self.clean))
        for image, output in zip(*pool, strict=True) if pool is not None else ():
            self.update(image, output.expand(len(self.clean), *output.shape))
        low, high = self.problem.bounds
        for number in range(min(TRIES, self.attack.queries - 1)):
            rows = (~self.distance.isfinite()).nonzero()[:, 0]
            if not len(rows):
                break
            drawn = random.uniform(self.seeds[rows], NOISE + number, self.clean.shape[1:]).to(self.clean)
            self._query(rows, (low + (high - low) * drawn).clamp(low, high))

    def run(self, enough: float) -> None:
        """Walk until all queries are used; steps double after two successes in a row and shrink after a failure.

        Samples at distance `enough` or less, or without a starting point, are skipped.
        """
        rows = ((self.distance > enough) & self.distance.isfinite()).nonzero()[:, 0]
        share = torch.full_like(self.distance, FIRST)
        again = torch.ones_like(self.distance, dtype=torch.bool)
        bits = self.seeds[:, None, None]
        for query in range(self.attack.queries - 1 - TRIES):
            if query % BLOCK == 0:
                rows = rows[self.distance[rows] > enough]
                count = self.clean.shape[1] + 5
                bits = random.integers(self.seeds[rows], QUERIES + query // BLOCK, BLOCK * count).view(-1, BLOCK, count)
            if self.clean.device.type == "cpu":
                keep = (self.distance[rows] > enough).nonzero()[:, 0]
                rows, bits = rows[keep], bits[keep]
            if not len(rows):
                return
            distance = self.distance[rows] * (1 - share[rows])
            nearer = self._query(rows, self._proposed(rows, distance, again[rows], bits[:, query % BLOCK], query))
            grown = torch.where(again[rows], 2 * share[rows], share[rows])
            fallen = torch.where(again[rows], share[rows] / 4, share[rows] * 0.97)
            share[rows] = torch.where(nearer, grown, fallen).clamp(LEAST, MOST)
            again[rows] = nearer

    def _proposed(self, rows: Tensor, distance: Tensor, again: Tensor, bits: Tensor, query: int) -> Tensor:
        """Return the points clipped to a distance, with a random change unless the last step succeeded."""
        clean, eps = self.clean[rows], spread(distance, self.clean).to(self.clean)
        clipped = self.ball.clip(self.point[rows], clean, distance)
        change = squares if self.attack.norm == "linf" else bumps
        share = self.schedule.share(query)
        return torch.where(spread(again, clean), clipped, change(clean, clipped, eps, bits, share, self.problem.bounds))

    def _query(self, rows: Tensor, points: Tensor) -> Tensor:
        """Evaluate points and keep those that are misclassified and nearer; return which, bool (k,)."""
        return self.update(points, self.problem.forward(points), rows)[1]
