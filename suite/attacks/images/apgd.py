"""Auto-PGD: projected gradient ascent with momentum and adaptive step sizes (Croce and Hein 2020).

Unlike in the paper, points are compared by the problem's ranking loss, whatever loss is maximized. A loss that
normalizes the scale of the logits at every point cannot rank points, and with two classes it is constant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from suite.attacks.constraints import Constraint
from suite.attacks.constraints.base import per_sample, spread
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.paths import Budgeted, Steps
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import TargetedAttack, finite_best
from suite.decorators import attack
from suite.errors import SpecError

MOMENTUM = 0.75
"""Weight of the new step; the rest of the weight is on the previous one."""

RISING = 0.75
"""Share of steps between two checkpoints that must raise the loss, or the step size is halved."""


def checkpoints(steps: int) -> frozenset[int]:
    """Return the numbers of steps after which the step size is checked.

    The first check comes after 22% of the steps; each gap is 3% shorter than the last, but at least 6% (section 3.1 of
    the paper).
    """
    gap = place = 22
    checks = set()
    while place < 100:
        checks.add(-(-place * steps // 100))
        gap = max(gap - 3, 6)
        place += gap
    return frozenset(checks)


@attack(name="apgd")
@dataclass(frozen=True)
class APGD(TargetedAttack):
    """Auto-PGD (Croce and Hein 2020): steps of twice eps with momentum, halved where there is too little progress.

    For each sample the first misclassified iterate is returned, or the one with the highest margin if there is none.

    Attributes:
        loss: the kind's loss that is maximized; None for ``scaled_ce``, or ``dlr`` if `goals` is positive.
        steps: gradient steps per start.
        restarts: random starts, for each target class.
        goals: number of target classes per sample, attacked in parallel, nearest to the clean sample first; 0 for an
            untargeted attack. With 9 it is the targeted attack of AutoAttack.
    """

    loss: str | None = None
    steps: int = 100
    restarts: int = 1
    goals: int = 0
    budget_field: ClassVar[str | None] = "steps"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.restarts < 1 or self.goals < 0:
            raise SpecError(
                f"apgd needs steps and restarts of at least 1 and goals of at least 0; got {self.steps}, "
                f"{self.restarts} and {self.goals}."
            )
        if self.goal is not None and self.goals:
            raise SpecError(
                f"apgd got goal={self.goal} and goals={self.goals}; use goal (one target class for all samples) or "
                "goals (a number of target classes for each sample), not both."
            )
        object.__setattr__(self, "loss", self.loss or ("dlr" if self.goals else "scaled_ce"))

    def _perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the first misclassified iterate of each sample, or the one with the highest margin."""
        search = Search.of(pixels, targets, size, seeds)
        first, random = self.constraint.first_step, problem.draws > 1  # one draw proves no success
        budget = Budget(self.steps, self.loss or "scaled_ce", first=first, stop=not random, step_rule=AutoSteps.begin)
        everyone = torch.arange(len(pixels), device=pixels.device)
        rivals = search.rivals(problem, everyone, self.goals) if self.goals else None
        for restart in range(self.restarts):
            rows = everyone if random else search.remaining
            classes, stream = None if rivals is None else rivals[rows], restart * (self.goals + 1)
            maximize(problem, search, self.constraint, budget, rows=rows, target_classes=classes, stream=stream)
        return finite_best(search)


@dataclass
class AutoSteps(Steps):
    """The step rule of Auto-PGD, and the state of each sample.

    Attributes:
        before: the previous point, (n, ...).
        top, slope: the best point so far, and the gradient there, (n, ...).
        highest, last: the ranking loss at the best and at the present point, (n,).
        length: step size, (n,).
        rises: steps since the last checkpoint that raised the ranking loss, (n,).
        mark: `highest` at the last checkpoint, (n,).
        halved: whether the step size was halved there, bool (n,).
        since: by number of steps, the steps since the last checkpoint if there is one after them, else 0, on the CPU.
    """

    shared: ClassVar[frozenset[str]] = frozenset({"since"})

    before: Tensor
    top: Tensor
    slope: Tensor
    highest: Tensor
    last: Tensor
    length: Tensor
    rises: Tensor
    mark: Tensor
    halved: Tensor
    since: Tensor

    @classmethod
    def begin(cls, point: Tensor, eps: Tensor, budget: Budgeted) -> Self:
        """Return the rule for one ascent."""
        length = budget.first * eps
        lowest, none = torch.full_like(length, -torch.inf, dtype=torch.float64), torch.zeros_like(length).long()
        checks, since = sorted(checkpoints(budget.steps)), torch.zeros(budget.steps + 1, dtype=torch.int64)
        since[checks] = torch.tensor([0, *checks]).diff()
        return cls(point, point, torch.zeros_like(point), lowest, -lowest, length, none, lowest, none.bool(), since)

    def update(self, point: Tensor, gradient: Tensor, score: Callable[[], Tensor]) -> None:
        """Record the ranking loss and the gradient at the present point."""
        loss = score()
        better = loss > self.highest
        self.rises = self.rises + (loss > self.last)
        self.top = torch.where(spread(better, point), point, self.top)
        self.slope = torch.where(spread(better, point), gradient, self.slope)
        self.highest, self.last = torch.where(better, loss, self.highest), loss

    def step_from(
        self, steps: Tensor, constraint: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor
    ) -> Tensor:
        """Return the next points: a gradient step with momentum, after a check where the step is a checkpoint."""
        since = self.since[steps]
        if since.any():  # on the CPU
            point, gradient = self.check(point, gradient, since.to(point.device, non_blocking=True))
        # The first step has no predecessor.
        weight = per_sample(torch.where(steps == 0, 1.0, MOMENTUM).to(point, non_blocking=True), point)
        ahead = point + per_sample(self.length, point) * constraint.direction(gradient, point)
        move, momentum = constraint.clip(ahead, clean, eps) - point, point - self.before
        moved = constraint.clip(point + weight * move + (1 - weight) * momentum, clean, eps)
        self.before = point
        return moved

    def check(self, point: Tensor, gradient: Tensor, since: Tensor) -> tuple[Tensor, Tensor]:
        """Halve the step size of samples without progress in the steps since the last checkpoint.

        These are samples where too few steps raised the loss, or where the best point is unchanged although the step
        size was not halved at the last checkpoint. They continue from their best point.

        Args:
            point: the present points (n, ...).
            gradient: the gradients there.
            since: steps since the last checkpoint, int64 (n,); 0 for samples that are not at a checkpoint.

        Returns:
            The points and gradients to continue from.
        """
        due = since > 0
        stuck = due & ((self.rises < RISING * since) | (~self.halved & (self.highest <= self.mark)))
        self.length = torch.where(stuck, self.length / 2, self.length)
        self.last = torch.where(stuck, self.highest, self.last)
        self.rises = torch.where(due, 0, self.rises)
        self.mark = torch.where(due, self.highest, self.mark)
        self.halved = torch.where(due, stuck, self.halved)
        back = spread(stuck, point)
        return torch.where(back, self.top, point), torch.where(back, self.slope, gradient)
