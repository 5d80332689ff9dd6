"""The worst of several losses: one model falls to one loss, another to another."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack, finite_or_refused
from suite.decorators import attack
from suite.errors import SpecError


@attack(name="worst_case")
@dataclass(frozen=True)
class WorstCase(NormAttack):
    """Projected gradient ascent for one loss after the other; of each sample the point of the most damage counts.

    Attributes:
        losses: the kind's losses that are raised in turn, each from a random start of its own.
        steps: gradient steps per loss.
    """

    loss: str | None = "ce"
    losses: tuple[str, ...] = ("ce", "segpgd", "cospgd", "mask_ce")
    steps: int = 20
    supports_graded_outcomes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.losses or self.steps < 1:
            raise SpecError(f"worst_case needs losses and steps of at least 1; got {self.losses} and {self.steps}.")
        if self.loss not in ("ce", self.losses[0]):
            raise SpecError(f"worst_case got loss={self.loss}; it raises several, so give losses=[{self.loss}, ...].")
        object.__setattr__(self, "losses", tuple(self.losses))
        object.__setattr__(self, "loss", self.losses[0])

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps."""
        return replace(self, steps=2 * self.steps)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return, per sample, the point of the most damage."""
        return self.explored(problem, pixels, targets, size, seeds)[0].best

    def explored(
        self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor
    ) -> tuple[Search, tuple[str, ...]]:
        """Return the search, and the losses that its stages raised."""
        search = Search.of(pixels, targets, size, seeds)
        everyone = torch.arange(len(pixels), device=pixels.device)
        for stage, loss in enumerate(self.losses):
            search.stage, before = stage, search.score.clone()
            rows = search.remaining if len(everyone) else everyone
            maximize(problem, search, self.constraint, Budget(self.steps, loss), rows=rows, stream=stage)
            search.rung[search.score > before] = stage  # the search itself names a stage only once nothing is right
        finite_or_refused(search.invalid, "output")
        finite_or_refused(search.nonfinite_gradients > 0, "gradient")
        return search, self.losses
