"""The adversarial patch: a square sticker, one for all images, that works wherever it is put."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks.engine import Control, Problem, Training, ascending, differentiated, generators
from suite.decorators import attack
from suite.errors import AttackError, SpecError

GREY = 0.5
"""Pixel value of the grey control."""

TRAINING_BATCH = 64
"""Samples per training step. Fixed, because the patch must not depend on how many samples a forward pass takes."""


@attack(name="patch")
@dataclass(frozen=True)
class Patch:
    """A universal patch, trained on training samples with random placement (Brown et al. 2017), untargeted.

    Attributes:
        area: shares of the image that the patch covers at most, ascending; its side is a whole number of pixels.
        steps: training steps, each on one batch with fresh placements.
        step_size: change of a patch pixel in the first step; it shrinks to zero along a cosine.
        loss: the kind's loss that is raised.
        patches: the trained patches by area; given by `fit`.
    """

    area: tuple[float, ...] = (0.05, 0.1)
    steps: int = 150
    step_size: float = 0.2
    loss: str | None = "ce"
    _patches: tuple[tuple[float, Tensor], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "area", ascending(self.area, "area"))
        if self.area[-1] >= 1 or self.steps < 1:
            raise SpecError(f"patch needs area below 1 and at least one step; got {self.area} and {self.steps}.")

    norm = "patch"
    size_name = "area"

    @property
    def sizes(self) -> tuple[float, ...]:
        """The areas."""
        return self.area

    def side(self, pixels: Tensor, area: float) -> int:
        """Return the side of the largest square of whole pixels that covers no more than the area.

        Raises:
            AttackError: not even one pixel fits.
        """
        height, width = pixels.shape[-2:]
        allowed = int(area * height * width * (1 + 1e-9))  # 25/144 of 144 pixels is 25 pixels, not 24.999
        if not allowed:
            raise AttackError(f"A patch of area {area:g} covers less than one pixel of {height}x{width}; give more.")
        return min(height, width, math.isqrt(allowed))

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with one patch per area, trained on training samples.

        Raises:
            AttackError: there are no samples to train on.
        """
        pixels, targets = training()
        if not len(pixels):
            raise AttackError("A universal patch is trained on training samples, and the task has none.")
        trained = [(area, self._train(problem, pixels, targets, area, seed)) for area in self.area]
        return replace(self, _patches=tuple(trained))

    def _train(self, problem: Problem, pixels: Tensor, targets: Tensor, area: float, seed: int) -> Tensor:
        source = torch.Generator().manual_seed(seed)
        side = self.side(pixels, area)
        patch = torch.rand((pixels.shape[1], side, side), generator=source).to(pixels)
        for step in range(self.steps):
            rows = torch.randint(len(pixels), (min(TRAINING_BATCH, len(pixels)),), generator=source)
            corners = random_corners(pixels, side, [source] * len(rows))
            movable = patch.clone().requires_grad_(True)
            with torch.enable_grad():
                output = problem.forward(placed(pixels[rows], movable, corners))
                loss = problem.loss(output, targets[rows], self.loss or "ce").sum()
                gradient = differentiated(loss, movable)
            if not torch.isfinite(gradient).all():
                raise AttackError("The gradient of the patch is NaN or infinite; check the model's backward pass.")
            length = self.step_size * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            patch = (patch + length * gradient.sign()).clamp(*problem.bounds)
        return patch

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Sequence[int]) -> Tensor:
        """Return the pixels with the patch at each sample's own random place."""
        patch = dict(self._patches).get(size)
        if patch is None:
            raise AttackError(f"There is no trained patch of area {size:g}; call fit on training samples first.")
        return placed(pixels, patch, random_corners(pixels, patch.shape[-1], generators(seeds)))

    def longer(self) -> None:
        """Return None: the patch is trained once, not per sample."""
        return None

    def controls(self) -> Mapping[str, Control]:
        """Return a grey patch and a patch of random pixels, at the same places and of the same size."""

        def random(pixels: Tensor, area: float, seeds: Sequence[int]) -> Tensor:
            side = self.side(pixels, area)
            noise = torch.rand((pixels.shape[1], side, side), generator=torch.Generator().manual_seed(0)).to(pixels)
            return placed(pixels, noise, random_corners(pixels, side, generators(seeds)))

        def grey(pixels: Tensor, area: float, seeds: Sequence[int]) -> Tensor:
            side = self.side(pixels, area)
            flat = torch.full((pixels.shape[1], side, side), GREY).to(pixels)
            return placed(pixels, flat, random_corners(pixels, side, generators(seeds)))

        return {"random": random, "grey": grey}

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return how many rows or columns the changed box has beyond the patch's side, (n,)."""
        side = self.side(clean, size)
        changed = (clean != adversarial).any(dim=1)
        extents = torch.stack([_extent(changed.any(dim=2)), _extent(changed.any(dim=1))])
        return (extents.amax(dim=0) - side).double()


def random_corners(pixels: Tensor, side: int, sources: Sequence[torch.Generator]) -> Tensor:
    """Return a random upper left corner (row, column) per sample, (n, 2), so that the patch lies inside."""
    height, width = pixels.shape[-2:]
    shares = torch.stack([torch.rand(2, generator=source) for source in sources])
    return (shares * torch.tensor([height - side + 1, width - side + 1])).long()


def placed(pixels: Tensor, patch: Tensor, corners: Tensor) -> Tensor:
    """Return pixels (n, c, h, w) with a patch (c, s, s) at each sample's corner, differentiable in the patch."""
    side = patch.shape[-1]
    rows = torch.arange(pixels.shape[-2], device=pixels.device)[None] - corners[:, :1].to(pixels.device)
    columns = torch.arange(pixels.shape[-1], device=pixels.device)[None] - corners[:, 1:].to(pixels.device)
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    spread = patch[:, rows.clamp(0, side - 1)[:, :, None], columns.clamp(0, side - 1)[:, None, :]].movedim(0, 1)
    return torch.where(inside[:, None], spread, pixels)


def _extent(changed: Tensor) -> Tensor:
    """Return the length of the shortest interval that holds all true entries of each row, (n,)."""
    places = torch.arange(changed.shape[1], device=changed.device)
    last = torch.where(changed, places, -1).amax(dim=1)
    first = torch.where(changed, places, changed.shape[1]).amin(dim=1)
    return torch.where(changed.any(dim=1), last - first + 1, 0)
