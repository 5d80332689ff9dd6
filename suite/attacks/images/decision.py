"""A decision-based attack: it sees which samples are fooled, and neither scores nor gradients.

It starts from a point that fools the model, another image where it has some, and walks towards the clean sample along
the boundary: a random change is kept where the model stays fooled nearer to the clean sample (the walk is that of
Brendel et al. 2018; the changes are the squares of Andriushchenko et al. 2020, which suit the geometry of the balls).
"""

import math
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks import rng as random
from suite.attacks.constraints import Constraint, constraint
from suite.attacks.constraints.base import spread
from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack
from suite.attacks.images.square import Square, bumps, squares
from suite.decorators import attack
from suite.errors import SpecError

NOISE, QUERIES = 1300, 1400
"""Streams of random numbers: of the noise to start from, and of the first block of queries."""

BLOCK = 32
"""Queries whose random numbers are drawn together."""

POOL = 64
"""Training images that an attack may start from."""

TRIES = 10
"""Random images tried per sample where the pool has none that fools the model."""

FIRST, LEAST, MOST = 0.1, 0.002, 0.5
"""Shares of the distance by which a step goes nearer: at first, at least and at most."""


@attack(name="decision")
@dataclass(frozen=True)
class Decision(NormAttack):
    """A walk along the boundary towards each sample, by labels alone.

    Attributes:
        queries: forward passes per sample, at most; asking the pool costs one per image of the pool once.
        p: share of the pixels that the first change covers.
        pool: images to start from, (k, ...); `fit` takes them from the training samples. Without any, or where they
            do not fool the model, the walk starts from random images.
    """

    loss: str | None = None
    queries: int = 1000
    p: float = 0.8
    pool: Tensor | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in ("linf", "l2"):
            raise SpecError(f"decision knows linf and l2; got norm={self.norm!r}.")
        if self.queries < 1 or not 0 < self.p <= 1:
            raise SpecError(
                f"decision needs queries of at least 1 and p in (0, 1]; got queries={self.queries} and p={self.p}."
            )

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with a pool of training images."""
        pixels, _ = training()
        order = random.integers(random.as_seeds([seed], pixels.device), NOISE, len(pixels))[0].argsort()
        return replace(self, pool=pixels[order[:POOL]])

    def with_double_steps(self) -> Self:
        """Return the attack with twice the queries."""
        return replace(self, queries=2 * self.queries)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the nearest point found where it is within the size, else the clean pixels."""
        found, distance = self.nearest(problem, pixels, targets, seeds, enough=size)
        return torch.where(spread(distance <= size, pixels), found, pixels)

    def nearest(
        self, problem: Problem, pixels: Tensor, targets: Tensor, seeds: Tensor, *, enough: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the nearest points found that fool the model, (n, ...), and their distances in float64 (n,).

        Args:
            problem: the model, asked for `problem.misclassified` alone.
            pixels: clean images (n, channels, height, width).
            targets: (n, ...).
            seeds: int64 (n,).
            enough: the distance at which a sample is left alone.

        Returns:
            Points, the clean ones where none was found, and distances, inf where none was found.
        """
        if pixels.ndim != 4:
            raise SpecError(f"decision changes images (channels, height, width); got samples of {pixels.shape[1:]}.")
        own = random.as_seeds(seeds, pixels.device)
        points, distance = pixels.clone(), torch.full_like(own, math.inf, dtype=torch.float64)
        with torch.no_grad():
            pool = _asked(problem, self.pool.to(pixels)) if self.pool is not None and len(self.pool) else None
            for chunk in problem.chunks(len(pixels)):
                walk = _Walk(self, problem, pixels[chunk], targets[chunk], own[chunk])
                walk.begin(pool)
                walk.run(enough)
                points[chunk], distance[chunk] = walk.point, walk.distance
        return points, distance


class _Walk:
    """One batch: the nearest point of each sample so far, and its distance."""

    def __init__(self, plan: Decision, problem: Problem, clean: Tensor, targets: Tensor, seeds: Tensor) -> None:
        self.plan, self.problem, self.clean, self.targets, self.seeds = plan, problem, clean, targets, seeds
        self.ball: Constraint = constraint(plan.norm, problem.bounds)
        self.schedule = Square(norm=plan.norm, p=plan.p, queries=plan.queries)
        self.point = clean.clone()
        self.distance = torch.full((len(clean),), math.inf, dtype=torch.float64, device=clean.device)

    def begin(self, pool: tuple[Tensor, Tensor] | None) -> None:
        """Start from the clean sample where it fools the model, else the nearest of the pool, else random images."""
        everyone = torch.arange(len(self.clean), device=self.clean.device)
        self._keep(everyone, self.clean)
        if pool is not None:
            self._from_pool(*pool)
        for number in range(min(TRIES, self.plan.queries - 1)):
            rows = (~self.distance.isfinite()).nonzero()[:, 0]
            if not len(rows):
                break
            low, high = self.problem.bounds
            drawn = random.uniform(self.seeds[rows], NOISE + number, self.clean.shape[1:]).to(self.clean)
            self._keep(rows, (low + (high - low) * drawn).clamp(low, high))

    def _from_pool(self, images: Tensor, output: Tensor) -> None:
        for image, said in zip(images, output, strict=True):
            fools = self.problem.misclassified(said.expand(len(self.clean), *said.shape), self.targets)
            size = self.ball.size(image.double() - self.clean.double())
            nearer = fools & torch.isfinite(said).all() & (size < self.distance)
            self.point = torch.where(spread(nearer, self.point), image, self.point)
            self.distance = torch.where(nearer, size, self.distance)

    def run(self, enough: float) -> None:
        """Go nearer until the queries are used up; a step that works is repeated twice as long, one that fails shrinks.

        A sample of distance `enough` or less, or without a point to start from, is left alone.
        """
        rows = ((self.distance > enough) & self.distance.isfinite()).nonzero()[:, 0]
        share = torch.full_like(self.distance, FIRST)
        again = torch.ones_like(self.distance, dtype=torch.bool)
        bits = self.seeds[:, None, None]
        for query in range(self.plan.queries - 1 - TRIES):
            if query % BLOCK == 0:
                rows = rows[self.distance[rows] > enough]
                count = self.clean.shape[1] + 5
                bits = random.integers(self.seeds[rows], QUERIES + query // BLOCK, BLOCK * count).view(-1, BLOCK, count)
            if self.clean.device.type == "cpu":
                keep = (self.distance[rows] > enough).nonzero()[:, 0]
                rows, bits = rows[keep], bits[keep]
            if not len(rows):
                return
            wanted = self.distance[rows] * (1 - share[rows])
            misclassified = self._keep(rows, self._changed(rows, wanted, again[rows], bits[:, query % BLOCK], query))
            grown = torch.where(again[rows], 2 * share[rows], share[rows])
            fallen = torch.where(again[rows], share[rows] / 4, share[rows] * 0.97)
            share[rows] = torch.where(misclassified, grown, fallen).clamp(LEAST, MOST)
            again[rows] = misclassified

    def _changed(self, rows: Tensor, wanted: Tensor, again: Tensor, bits: Tensor, query: int) -> Tensor:
        """Return the points drawn to a distance, as they are where the last step worked, else with a random change."""
        clean, eps = self.clean[rows], spread(wanted, self.clean).to(self.clean)
        drawn = self.ball.clip(self.point[rows], clean, wanted)
        change = squares if self.plan.norm == "linf" else bumps
        share = self.schedule.share(query)
        return torch.where(spread(again, clean), drawn, change(clean, drawn, eps, bits, share, self.problem.bounds))

    def _keep(self, rows: Tensor, points: Tensor) -> Tensor:
        """Ask about points and keep those that fool the model from nearer; return which, bool (k,)."""
        output = self.problem.forward(points)
        misclassified = self.problem.misclassified(output, self.targets[rows]) & torch.isfinite(output).flatten(1).all(
            dim=1
        )
        size = self.ball.size(points.double() - self.clean[rows].double())
        nearer = misclassified & (size < self.distance[rows])
        self.point[rows] = torch.where(spread(nearer, points), points, self.point[rows])
        self.distance[rows] = torch.where(nearer, size, self.distance[rows])
        return nearer


def _asked(problem: Problem, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return images and the model's output for each."""
    return images, torch.cat([problem.forward(images[chunk]) for chunk in problem.chunks(len(images))])
