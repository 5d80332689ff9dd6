"""The adversarial patch for one image: its pixels and its place are chosen for that image alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Problem
from suite.attacks.images.patch_common import Sticker, placed
from suite.attacks.images.patch_placement import gain_of_best, ranked
from suite.attacks.rng import as_seeds, uniform
from suite.decorators import attack
from suite.errors import SpecError

START = 100
"""First of the streams that a sample's starts are drawn from."""


@attack(name="image_patch")
@dataclass(frozen=True)
class ImagePatch(Sticker):
    """A patch of each image's own: short gradient ascents at one promising place after the other.

    With a place that is random or given, every try starts there from other random pixels. A sample is left alone as
    soon as it is fooled; of the others the point of the highest loss is returned.

    Attributes:
        steps: gradient steps per try, of the gradient's sign, that shrink from the whole range of a pixel to nothing.
        tries: how many places, or starts at one place, are tried.
    """

    position: str | tuple[int, int] = "search"
    steps: int = 10
    tries: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.tries < 1:
            raise SpecError(f"image_patch needs steps and tries of at least 1; got {self.steps} and {self.tries}.")

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack; training samples serve only as a control, where there is a goal."""
        return self.with_example(training)

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps."""
        return replace(self, steps=2 * self.steps)

    def perturb(
        self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Sequence[int] | Tensor
    ) -> Tensor:
        """Return the pixels, each sample's with the best patch that was found for it."""
        side, seeds = self.side(pixels, size), as_seeds(seeds, pixels.device)
        corners = self._corners(problem, pixels, targets, side, seeds)
        found = _Found(pixels, targets, pixels.clone(), torch.full((len(pixels),), -math.inf).to(pixels).double())
        alive = torch.arange(len(pixels), device=pixels.device)
        for turn in range(self.tries):
            place = corners[:, min(turn, corners.shape[1] - 1)]
            noise = uniform(seeds[alive], START + turn, (pixels.shape[1], side, side)).to(pixels)
            for rows in problem.chunks(len(alive)):
                self._climb(problem, found, alive[rows], noise[rows], place)
            alive = alive[found.highest[alive] < math.inf]
            if not len(alive):
                break
        return found.best

    def _corners(self, problem: Problem, pixels: Tensor, targets: Tensor, side: int, seeds: Tensor) -> Tensor:
        """Return the corners to try, (n, tries, 2), or (n, 1, 2) where the place is not searched for."""
        if self.position != "search":
            return self.corners(pixels, side, seeds)[:, None]
        parts = []
        for rows in problem.chunks(len(pixels)):
            clean, wanted = pixels[rows], targets[rows]
            gradient, _ = problem.gradient(clean, wanted, self.loss or "margin", self.target_classes(wanted))
            gain = gain_of_best(clean, gradient, side, problem.bounds)
            parts.append(ranked(gain, self.tries, max(1, side // 2)))
        return torch.cat(parts) if parts else torch.zeros(0, 1, 2, dtype=torch.long, device=pixels.device)

    def _climb(self, problem: Problem, found: _Found, rows: Tensor, noise: Tensor, corners: Tensor) -> None:
        """Raise the loss of some rows from random pixels at a place each; write down what is found."""
        low, high = problem.bounds
        point = placed(found.pixels[rows], low + (high - low) * noise, corners[rows])
        inside = placed(torch.zeros_like(point[:, :1]), torch.ones_like(noise[0, :1]), corners[rows]) > 0
        for step in range(self.steps + 1):
            targets = problem.hidden(found.targets[rows], inside[:, 0])
            gradient, output = problem.gradient(point, targets, self.loss or "margin", self.target_classes(targets))
            losses = problem.loss(output, targets, self.loss or "margin", self.target_classes(targets))
            found.update(rows, point, losses, self.reached(problem, output, targets))
            length = (high - low) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            moved = (point + length * gradient.nan_to_num(0).sign()).clamp(low, high)
            point = torch.where(inside, moved, point)
            if point.device.type == "cpu":  # elsewhere to ask who is left costs more than to carry them along
                left = found.highest[rows] < math.inf
                rows, point, inside = rows[left], point[left], inside[left]
            if not len(rows):
                break


@dataclass(frozen=True)
class _Found:
    """The best point of every sample, and its loss: infinite once the sample is where the attack wants it."""

    pixels: Tensor
    targets: Tensor
    best: Tensor
    highest: Tensor

    def update(self, rows: Tensor, point: Tensor, losses: Tensor, reached: Tensor) -> None:
        """Keep points that are better than all before; the first that reaches what is wanted stays."""
        worth = torch.where(reached, math.inf, losses.double().nan_to_num(-math.inf))
        better = worth > self.highest[rows]
        self.best[rows] = torch.where(better[:, None, None, None], point, self.best[rows])
        self.highest[rows] = torch.where(better, worth, self.highest[rows])
