"""The universal adversarial patch: one square patch for all images, effective at any position."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.patch import covered
from suite.attacks.engine.base import Training, stored
from suite.attacks.engine.problem import Problem
from suite.attacks.images.patch_common import BATCHES, BestCandidates, PatchAttack, apply_patch
from suite.attacks.images.patch_placement import patch_gain, rank_corners
from suite.attacks.rng import as_seeds, uniform
from suite.decorators import attack
from suite.errors import AttackError, SpecError

BATCH = 64
"""Samples per training step. Fixed, so that the patch does not depend on the batch size of forward passes."""

HELD = 256
"""Maximum number of training samples held out to choose among the restarts; never more than a fifth of all."""

MOMENTUM = 0.9

TEMPERATURE = 2.0
"""Temperature of the sigmoid of the loss. Samples near the decision boundary get the largest weights, samples that are
already misclassified or out of reach get small ones. `scaled_ce` has a range of 10."""

SPLIT, CHOICE, BEGIN, STEP = 0, 1, 1000, 1_000_000
"""Streams of random numbers: held-out samples, their views, the initial patch of each restart, and its steps."""


@attack(name="patch")
@dataclass(frozen=True)
class Patch(PatchAttack):
    """A patch trained in expectation over position, scale and brightness on training samples (Brown et al. 2017).

    Attributes:
        steps: training steps of each restart, each on one batch with new random transformations of the patch.
        restarts: patches that are trained from random pixels; the best on held-out training samples is kept.
        step_size: change of a patch pixel in the first step, as a share of the range; it falls to zero along a cosine.
        scale: minimum side in training as a share of the full side; the evaluation uses the full side.
        brightness: maximum change of brightness in training, as a factor and as a share of the range.
        places: number of positions evaluated on each sample with ``position=search``.
        _patches: the trained patches by area; set by `fit`.
    """

    steps: int = 60
    restarts: int = 3
    step_size: float = 0.2
    scale: float = 0.8
    brightness: float = 0.1
    places: int = 64
    _patches: tuple[tuple[float, Tensor], ...] = ()

    trained = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.steps, self.restarts, self.places) < 1 or self.step_size <= 0:
            raise SpecError("patch needs steps, restarts and places of at least 1 and a step_size above 0.")
        if not 0 < self.scale <= 1 or not 0 <= self.brightness < 1:
            raise SpecError(
                f"patch got scale={self.scale} and brightness={self.brightness}; expected scale above 0 and at most 1, "
                "and brightness from 0 to below 1."
            )

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with one patch per area, trained on training samples.

        For a targeted attack, samples of the target class are left out.

        Raises:
            AttackError: there are no training samples, or no gradient is finite.
        """
        pixels, targets = training()
        if self.goal is not None:
            pixels, targets = pixels[targets != self.goal], targets[targets != self.goal]
        if not len(pixels):
            raise AttackError("A universal patch is trained on training samples, and the task has none.")
        seeds = as_seeds([seed], pixels.device)
        trained = [(area, self._best(problem, (pixels, targets), area, seeds)) for area in self.area]
        return replace(super().fit(problem, training, seed=seed), _patches=tuple(trained))

    def state(self) -> dict[str, Any]:
        """Return the example of the target class, and the areas with their patches."""
        return super().state() | {"patches": [[area, stored(patch)] for area, patch in self._patches]}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with its patches."""
        patches = tuple(
            (area, torch.from_numpy(np.array(patch)).to(problem.device)) for area, patch in state["patches"]
        )
        return replace(super().with_state(state, problem), _patches=patches)

    def patches(self) -> Mapping[float, Tensor]:
        """Return the trained patches by area."""
        return dict(self._patches)

    def perturb(
        self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Sequence[int] | Tensor
    ) -> Tensor:
        """Return the images with the patch, in full size, at each sample's position."""
        patch = self.patches().get(size)
        if patch is None:
            raise AttackError(f"There is no trained patch of area {size:g}; call fit on training samples first.")
        patch = patch.to(pixels)
        if self.position == "search":
            return apply_patch(pixels, patch, self.search(problem, pixels, targets, patch))
        return apply_patch(pixels, patch, self.corners(pixels, patch.shape[-1], seeds))

    def search(self, problem: Problem, pixels: Tensor, targets: Tensor, patch: Tensor) -> Tensor:
        """Return the corner with the highest loss on each sample among the most promising ones, (n, 2).

        The search stops at the first corner where the attack succeeds.
        """
        chosen = torch.zeros(len(pixels), 2, dtype=torch.long, device=pixels.device)
        for rows in problem.chunks(len(pixels), batches=BATCHES):
            chosen[rows] = self._search_batch(problem, pixels[rows], targets[rows], patch)
        return chosen

    def _search_batch(self, problem: Problem, pixels: Tensor, targets: Tensor, patch: Tensor) -> Tensor:
        gradient, _ = problem.gradient(pixels, targets, self._loss, self.target_classes(targets))
        corners = rank_corners(patch_gain(pixels, gradient, patch), self.places, max(1, patch.shape[-1] // 3))
        best, alive = BestCandidates.of(pixels, targets, corners[:, 0]), torch.arange(len(pixels), device=pixels.device)
        for turn in range(corners.shape[1]):
            place = corners[alive, turn]
            tried = apply_patch(pixels[alive], patch, place)
            remaining = problem.mask_covered_targets(targets[alive], covered(pixels[alive], tried))
            with torch.no_grad():
                output = problem.forward(tried)
            losses = problem.loss(output, remaining, self._loss, self.target_classes(remaining))
            best.update(alive, place, losses, self.reached(problem, output, remaining))
            alive = alive[best.loss[alive] < math.inf]
            if not len(alive):
                break
        return best.candidates

    @property
    def _loss(self) -> str:
        return self.loss or "ce"

    def _best(self, problem: Problem, samples: tuple[Tensor, Tensor], area: float, seeds: Tensor) -> Tensor:
        """Return the patch of the restart that is best on held-out samples."""
        pixels, targets = samples
        order = uniform(seeds, SPLIT, (len(pixels),))[0].argsort()
        count = min(HELD, len(pixels) // 5)
        held, rest = (order[:count], order[count:]) if count else (order, order)
        patches = [
            self._train(problem, (pixels[rest], targets[rest]), area, (seeds, restart))
            for restart in range(self.restarts)
        ]
        if len(patches) == 1:
            return patches[0]
        return max(patches, key=lambda patch: self._score(problem, patch, (pixels[held], targets[held]), seeds))

    def _train(
        self, problem: Problem, samples: tuple[Tensor, Tensor], area: float, start: tuple[Tensor, int]
    ) -> Tensor:
        (pixels, targets), (seeds, restart), (low, high) = samples, start, problem.bounds
        side, count = self.side(pixels, area), min(BATCH, len(pixels))
        first = uniform(seeds, BEGIN + restart, (pixels.shape[1], side, side))[0].to(pixels)
        patch = low + (high - low) * first
        velocity, finite = torch.zeros_like(patch), torch.zeros((), dtype=torch.long, device=pixels.device)
        for step in range(self.steps):
            numbers = uniform(seeds, STEP * (restart + 1) + step, (count, 6))[0].double()
            rows = (numbers[:, 5] * len(pixels)).long()
            gradient, usable = self._gradient(problem, patch, (pixels[rows], targets[rows]), numbers)
            finite += usable
            velocity = MOMENTUM * velocity + gradient / gradient.abs().amax().clamp_min(1e-30)
            length = (high - low) * self.step_size * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            patch = (patch + length * velocity.sign()).clamp(low, high)
        if not finite:
            raise AttackError("The gradient of the patch is NaN or infinite; check the model's backward pass.")
        return patch

    def _gradient(
        self, problem: Problem, patch: Tensor, samples: tuple[Tensor, Tensor], numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of the sum of sigmoids of the losses, and how many gradients were finite."""
        pixels, targets = samples
        movable = patch.clone().requires_grad_(True)
        with torch.enable_grad():
            views = self.transformed(pixels, movable, numbers, problem.bounds)
        targets = problem.mask_covered_targets(targets, covered(pixels, views.detach()))
        gradients, usable = [], torch.zeros((), dtype=torch.long, device=pixels.device)
        for rows in problem.chunks(len(pixels)):
            target_classes = self.target_classes(targets[rows])
            gradient, output = problem.gradient(views[rows].detach(), targets[rows], self._loss, target_classes)
            finite = torch.isfinite(gradient).flatten(1).all(dim=1)
            share = torch.sigmoid(problem.loss(output, targets[rows], self._loss, target_classes) / TEMPERATURE)
            weight = (share * (1 - share)).to(gradient)  # the derivative of the sigmoid
            gradients.append(torch.where(finite[:, None, None, None], gradient * weight[:, None, None, None], 0))
            usable += finite.sum()
        return torch.autograd.grad(views, movable, torch.cat(gradients))[0], usable

    def transformed(self, pixels: Tensor, patch: Tensor, numbers: Tensor, bounds: tuple[float, float]) -> Tensor:
        """Return images with a randomly transformed patch: moved, smaller, darker or brighter.

        With a fixed position it stays within the square of the full patch.

        Args:
            pixels: images (n, c, h, w).
            patch: the patch (c, side, side).
            numbers: five random numbers in [0, 1) for each image, float64 (n, 5 or more).
            bounds: the range of a pixel.
        """
        (low, high), side = bounds, patch.shape[-1]
        smallest = math.ceil(self.scale * side - 1e-9)
        sides = smallest + (numbers[:, 0] * (side - smallest + 1)).long()
        if isinstance(self.position, str):
            room = torch.stack([length - sides for length in pixels.shape[-2:]], dim=1)
            corners = (numbers[:, 1:3] * (room + 1)).long()
        else:
            fixed = self.corners(pixels, side, numbers.new_zeros(len(pixels)))
            corners = fixed + (numbers[:, 1:3] * (side - sides + 1)[:, None]).long()
        factor, shift = (self.brightness * (2 * numbers[:, 3:5].to(patch) - 1)).T[:, :, None, None, None]
        transformed = (patch * (1 + factor) + (high - low) * shift).clamp(low, high)
        return apply_patch(pixels, transformed, corners, sides)

    def _score(
        self, problem: Problem, patch: Tensor, samples: tuple[Tensor, Tensor], seeds: Tensor
    ) -> tuple[float, float]:
        """Return the success rate of the patch, and the mean loss to break ties."""
        pixels, targets = samples
        views = self.transformed(pixels, patch, uniform(seeds, CHOICE, (len(pixels), 5))[0].double(), problem.bounds)
        targets = problem.mask_covered_targets(targets, covered(pixels, views))
        reached, losses = [], []
        for rows in problem.chunks(len(pixels)):
            with torch.no_grad():
                output = problem.forward(views[rows])
            reached.append(self.reached(problem, output, targets[rows]))
            losses.append(problem.loss(output, targets[rows], self._loss, self.target_classes(targets[rows])))
        return float(torch.cat(reached).double().mean()), float(torch.cat(losses).mean())
