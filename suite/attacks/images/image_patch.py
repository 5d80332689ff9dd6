"""The image-specific adversarial patch: its pixels and its position are optimized for one image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks.engine.problem import Problem
from suite.attacks.images.patch_common import BATCHES, BestCandidates, PatchAttack, apply_patch
from suite.attacks.images.patch_placement import best_patch_gain, rank_corners
from suite.attacks.rng import as_seeds, uniform
from suite.decorators import attack
from suite.errors import SpecError

START = 100
"""First of the streams of random numbers for the starts of a sample."""


@attack(name="image_patch")
@dataclass(frozen=True)
class ImagePatch(PatchAttack):
    """A patch for each image, by short gradient ascents at one promising position after another.

    With a random or fixed position, every try starts there from other random pixels. The search stops for a sample
    once it is misclassified; for the others the point with the highest loss is returned.

    Attributes:
        steps: signed gradient steps per try; the step size falls from the whole pixel range to zero along a cosine.
        tries: number of positions, or of starts at one position.
    """

    position: str | tuple[int, int] = "search"
    steps: int = 10
    tries: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.tries < 1:
            raise SpecError(f"image_patch needs steps and tries of at least 1; got {self.steps} and {self.tries}.")

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps."""
        return replace(self, steps=2 * self.steps)

    def perturb(
        self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Sequence[int] | Tensor
    ) -> Tensor:
        """Return the images, each with the best patch that was found for it."""
        side, seeds = self.side(pixels, size), as_seeds(seeds, pixels.device)
        corners = self._corners(problem, pixels, targets, side, seeds)
        best = BestCandidates.of(pixels, targets, pixels)
        alive = torch.arange(len(pixels), device=pixels.device)
        for turn in range(self.tries):
            place = corners[:, min(turn, corners.shape[1] - 1)]
            noise = uniform(seeds[alive], START + turn, (pixels.shape[1], side, side)).to(pixels)
            for rows in problem.chunks(len(alive), batches=BATCHES):
                self._ascend(problem, best, alive[rows], noise[rows], place)
            alive = alive[best.loss[alive] < math.inf]
            if not len(alive):
                break
        return best.candidates

    def _corners(self, problem: Problem, pixels: Tensor, targets: Tensor, side: int, seeds: Tensor) -> Tensor:
        """Return the corners to try, (n, tries, 2), or (n, 1, 2) if the position is not searched."""
        if self.position != "search":
            return self.corners(pixels, side, seeds)[:, None]
        parts = []
        for rows in problem.chunks(len(pixels)):
            clean, classes = pixels[rows], self.target_classes(targets[rows])
            gradient, _ = problem.gradient(clean, targets[rows], self.loss or "margin", classes)
            gain = best_patch_gain(clean, gradient, side, problem.bounds)
            parts.append(rank_corners(gain, self.tries, max(1, side // 2)))
        return torch.cat(parts) if parts else torch.zeros(0, 1, 2, dtype=torch.long, device=pixels.device)

    def _ascend(self, problem: Problem, best: BestCandidates, rows: Tensor, noise: Tensor, corners: Tensor) -> None:
        """Maximize the loss of some rows from random pixels at one position each, and update the best points."""
        low, high = problem.bounds
        point = apply_patch(best.pixels[rows], low + (high - low) * noise, corners[rows])
        inside = apply_patch(torch.zeros_like(point[:, :1]), torch.ones_like(noise[0, :1]), corners[rows]) > 0
        for step in range(self.steps + 1):
            targets = problem.mask_covered_targets(best.targets[rows], inside[:, 0])
            gradient, output = problem.gradient(point, targets, self.loss or "margin", self.target_classes(targets))
            losses = problem.loss(output, targets, self.loss or "margin", self.target_classes(targets))
            best.update(rows, point, losses, self.reached(problem, output, targets))
            length = (high - low) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            moved = (point + length * gradient.nan_to_num(0).sign()).clamp(low, high)
            point = torch.where(inside, moved, point)
            if point.device.type == "cpu":  # on a GPU the synchronization would cost more than it saves
                left = best.loss[rows] < math.inf
                rows, point, inside = rows[left], point[left], inside[left]
            if not len(rows):
                break
