"""Attacks on pixels that follow the gradient: FGSM in one step, PGD in many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks import norms
from suite.attacks.engine import Control, Problem, Training, ascending
from suite.decorators import attack
from suite.errors import SpecError


@dataclass(frozen=True)
class NormAttack:
    """What all attacks on pixels inside a norm ball share.

    Attributes:
        eps: radii of the ball, ascending, in units of the pixel range [0, 1].
        norm: ``linf`` or ``l2``.
        loss: the kind's loss that is raised.
    """

    eps: tuple[float, ...] = (1 / 255, 2 / 255, 4 / 255, 8 / 255)
    norm: str = "linf"
    loss: str | None = "margin"

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", ascending(self.eps, "eps"))
        norms.known(self.norm)

    @property
    def sizes(self) -> tuple[float, ...]:
        """The radii."""
        return self.eps

    @property
    def size_name(self) -> str:
        """A radius is called eps."""
        return "eps"

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack itself; it needs no training samples."""
        return self

    def longer(self) -> Self | None:
        """Return None: one step cannot be doubled."""
        return None

    def controls(self) -> Mapping[str, Control]:
        """Return random signs (linf) or a random direction (l2) of the same size."""
        return {"random": lambda pixels, eps, seeds: norms.random_perturbation(pixels, self.norm, eps, seeds)}

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how much each perturbation exceeds the radius."""
        return norms.excess(clean, adversarial, self.norm, size)


@attack(name="fgsm")
@dataclass(frozen=True)
class FGSM(NormAttack):
    """One step of the full radius along the gradient of the cross-entropy (Goodfellow et al. 2014)."""

    loss: str | None = "ce"

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Sequence[int]) -> Tensor:
        """Return the clean pixels moved once and clipped to the bounds."""
        gradient, _, _ = problem.gradient(pixels, targets, self.loss or "ce")
        return (pixels + size * norms.steepest(gradient, self.norm)).clamp(*problem.bounds)


@attack(name="pgd")
@dataclass(frozen=True)
class PGD(NormAttack):
    """Projected gradient ascent from a random start (Madry et al. 2017), with steps that shrink along a cosine.

    Of every sample the iterate of the highest loss is returned, or the first that fools the model.

    Attributes:
        steps: gradient steps per start.
        restarts: random starts.
        stop: let a sample leave the batch as soon as it is fooled; off for training on the worst case.
    """

    steps: int = 20
    restarts: int = 2
    stop: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.restarts < 1:
            raise SpecError(f"pgd needs steps and restarts of at least 1; got {self.steps} and {self.restarts}.")

    def longer(self) -> Self:
        """Return the attack with twice the steps."""
        return replace(self, steps=2 * self.steps)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Sequence[int]) -> Tensor:
        """Return, per sample, the first iterate that fools the model, else the one of the highest loss."""
        best = pixels.clone()
        highest = torch.full((len(pixels),), -math.inf, dtype=torch.float64, device=pixels.device)
        alive = torch.arange(len(pixels), device=pixels.device)
        for restart in range(self.restarts):
            chosen = [seeds[int(row)] + restart for row in alive.tolist()]
            alive = self._ascend(problem, (pixels, targets, best, highest), alive, size, chosen)
            if not len(alive):
                break
        return best

    def _ascend(
        self,
        problem: Problem,
        state: tuple[Tensor, Tensor, Tensor, Tensor],
        alive: Tensor,
        size: float,
        seeds: Sequence[int],
    ) -> Tensor:
        """Climb once from a random start; write what is found into `best`, return the rows that still resist."""
        pixels, targets, best, highest = state
        delta = norms.start(pixels[alive], self.norm, size, seeds)
        for step in range(self.steps + 1):
            clean = pixels[alive]
            point = (clean + norms.project(delta, self.norm, size)).clamp(*problem.bounds)
            gradient, losses, fooled = problem.gradient(point, targets[alive], self.loss or "margin")
            better = (fooled & self.stop) | (losses.double() > highest[alive])
            best[alive[better]], highest[alive[better]] = point[better], losses.double()[better]
            stays = ~fooled if self.stop else torch.ones_like(fooled)
            alive = alive[stays]
            if not len(alive) or step == self.steps:
                break
            length = size * 0.5 * (1 + math.cos(math.pi * step / self.steps))
            delta = (point - clean)[stays] + length * norms.steepest(gradient[stays], self.norm)
        return alive
