"""The worst case over several losses: which loss works best depends on the model."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack, finite_best
from suite.decorators import attack
from suite.errors import SpecError


@attack(name="worst_case")
@dataclass(frozen=True)
class WorstCase(NormAttack):
    """Projected gradient ascent on several losses in turn; the most damaging point of each sample is returned.

    Attributes:
        losses: the kind's losses that are maximized in turn, each from its own random start.
        steps: gradient steps per loss.
    """

    loss: str | None = "ce"
    losses: tuple[str, ...] = ("ce", "segpgd", "cospgd", "mask_ce")
    steps: int = 20
    supports_graded_outcomes: ClassVar[bool] = True
    budget_field: ClassVar[str | None] = "steps"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.losses or self.steps < 1:
            raise SpecError(f"worst_case needs losses and steps of at least 1; got {self.losses} and {self.steps}.")
        if self.loss not in ("ce", self.losses[0]):
            raise SpecError(
                f"worst_case got loss={self.loss}; it maximizes several losses; use losses=[{self.loss}, ...]."
            )
        object.__setattr__(self, "losses", tuple(self.losses))
        object.__setattr__(self, "loss", self.losses[0])

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the most damaging point of each sample."""
        return self.explored(problem, pixels, targets, size, seeds)[0].best

    def explored(
        self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor
    ) -> tuple[Search, tuple[str, ...]]:
        """Return the search, and the loss of each of its stages."""
        search = Search.of(pixels, targets, size, seeds)
        everyone = torch.arange(len(pixels), device=pixels.device)
        for stage, loss in enumerate(self.losses):
            search.stage, before = stage, search.score.clone()
            rows = search.remaining if len(everyone) else everyone
            maximize(problem, search, self.constraint, Budget(self.steps, loss), rows=rows, stream=stage)
            search.rung[search.score > before] = stage  # the search records a stage only on misclassification
        finite_best(search)
        return search, self.losses
