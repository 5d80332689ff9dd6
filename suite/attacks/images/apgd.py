"""Auto-PGD: projected gradient ascent with momentum that chooses its step lengths itself (Croce and Hein 2020).

Unlike there, progress is judged by the problem's yardstick, whatever loss is raised: a loss that undoes the scale of
the logits at every point says little about which of two points is better, and of two classes it is a constant.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from suite.attacks.constraints import Constraint
from suite.attacks.constraints.base import per_sample, spread
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import Aimed, finite_or_refused
from suite.decorators import attack
from suite.errors import SpecError

MOMENTUM = 0.75
"""Weight of the new step; the rest goes on as the last one went."""

RISING = 0.75
"""Share of steps between two checkpoints that must go up, or the length is halved."""

LENGTHS = {"l1": 1.0}
"""Length of the first step as a share of eps; twice eps in the other norms (Croce and Hein 2021 for L1)."""


def checkpoints(steps: int) -> frozenset[int]:
    """Return after how many steps the length is looked at.

    The first time after 22% of the steps; each gap is 3% shorter than the last, but at least 6% (section 3.1 there).
    """
    gap = place = 22
    found = set()
    while place < 100:
        found.add(-(-place * steps // 100))
        gap = max(gap - 3, 6)
        place += gap
    return frozenset(found)


@attack(name="apgd")
@dataclass(frozen=True)
class APGD(Aimed):
    """Auto-PGD (Croce and Hein 2020): steps of twice eps, with momentum, halved where they bring too little.

    Of every sample the first iterate that fools the model is returned, else the one of the highest margin.

    Attributes:
        loss: the kind's loss that is raised; None for ``scaled_ce``, or ``dlr`` where rivals are aimed at.
        steps: gradient steps per start.
        restarts: random starts, of each rival where they are aimed at.
        goals: how many rivals are aimed at side by side, the nearest to each clean sample; 0 to be content with any
            wrong answer all along. With 9 it is the targeted attack of AutoAttack.
    """

    loss: str | None = None
    steps: int = 100
    restarts: int = 1
    goals: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.restarts < 1 or self.goals < 0:
            raise SpecError(
                f"apgd needs steps and restarts of at least 1 and goals of at least 0; got {self.steps}, "
                f"{self.restarts} and {self.goals}."
            )
        if self.goal is not None and self.goals:
            raise SpecError(
                f"apgd got goal={self.goal} and goals={self.goals}; give goal, a class for all samples, or goals, a "
                "number of rivals of each, but not both."
            )
        object.__setattr__(self, "loss", self.loss or ("dlr" if self.goals else "scaled_ce"))

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps."""
        return replace(self, steps=2 * self.steps)

    def found(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return, per sample, the first iterate that fools the model, else the one of the highest margin."""
        search = Search.of(pixels, targets, size, seeds)
        first, random = LENGTHS.get(self.norm, 2.0), problem.draws > 1  # one lucky draw is no success
        budget = Budget(self.steps, self.loss or "scaled_ce", first=first, stop=not random, step_rule=Auto.begin)
        everyone = torch.arange(len(pixels), device=pixels.device)
        rivals = search.rivals(problem, everyone, self.goals) if self.goals else None
        for restart in range(self.restarts):
            rows = everyone if random else search.remaining
            target_classes = None if rivals is None else rivals[rows]
            maximize(
                problem,
                search,
                self.constraint,
                budget,
                rows=rows,
                target_classes=target_classes,
                stream=restart * (self.goals + 1),
            )
        finite_or_refused(search.invalid, "output")
        finite_or_refused(search.nonfinite_gradients > 0, "gradient")
        return search.best


@dataclass
class Trail:
    """What Auto-PGD remembers of each sample's way.

    Attributes:
        before: the point before the present one, (n, ...).
        top, slope: the point where the yardstick is highest, and the gradient there, (n, ...).
        highest, last: the yardstick there, and at the present point, (n,).
        length: length of a step, (n,).
        rises: steps since the last checkpoint that raised the yardstick, (n,).
        mark: `highest` at the last checkpoint, (n,).
        halved: whether the length was halved there, bool (n,).
        weight: weight of the new step; 1 for the first, which has no last one to go on from.
    """

    before: Tensor
    top: Tensor
    slope: Tensor
    highest: Tensor
    last: Tensor
    length: Tensor
    rises: Tensor
    mark: Tensor
    halved: Tensor
    weight: float = 1.0

    @classmethod
    def from_start(cls, point: Tensor, length: Tensor) -> Self:
        """Return the trail of samples that have not taken a step."""
        lowest = torch.full_like(length, -torch.inf, dtype=torch.float64)
        none = torch.zeros_like(length, dtype=torch.int64)
        return cls(point, point, torch.zeros_like(point), lowest, -lowest, length, none, lowest, none.bool())

    def rows(self, index: Tensor) -> Self:
        """Return the trail of some of the samples."""
        parts: dict[str, Any] = {name: value[index] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **parts)

    def update(self, point: Tensor, gradient: Tensor, score: Tensor) -> None:
        """Take down the yardstick and the gradient at the present point."""
        better = score > self.highest
        self.rises = self.rises + (score > self.last)
        self.top = torch.where(spread(better, point), point, self.top)
        self.slope = torch.where(spread(better, point), gradient, self.slope)
        self.highest, self.last = torch.where(better, score, self.highest), score

    def check(self, point: Tensor, gradient: Tensor, taken: int) -> tuple[Tensor, Tensor]:
        """Halve the length where too few of the steps taken since the last checkpoint went up.

        Likewise where none found a new best point although the length was not halved there. Such samples go back to
        their best point. Returns the points and gradients to go on from.
        """
        stuck = (self.rises < RISING * taken) | (~self.halved & (self.highest <= self.mark))
        self.length = torch.where(stuck, self.length / 2, self.length)
        self.last = torch.where(stuck, self.highest, self.last)
        self.rises, self.mark, self.halved = torch.zeros_like(self.rises), self.highest, stuck
        back = spread(stuck, point)
        return torch.where(back, self.top, point), torch.where(back, self.slope, gradient)

    def step_from(self, rule: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the next point: a step along the gradient, mixed with a part of the last step."""
        ahead = point + per_sample(self.length, point) * rule.direction(gradient, point)
        step, drift = rule.clip(ahead, clean, eps) - point, point - self.before
        moved = rule.clip(point + self.weight * step + (1 - self.weight) * drift, clean, eps)
        self.before, self.weight = point, MOMENTUM
        return moved


@dataclass
class Auto:
    """Auto-PGD's rule of steps."""

    trail: Trail
    checks: frozenset[int]
    checked: int = 0

    @classmethod
    def begin(cls, point: Tensor, eps: Tensor, budget: Budget) -> Self:
        """Return the rule for one ascent."""
        return cls(Trail.from_start(point, budget.first * eps), checkpoints(budget.steps))

    def update(self, point: Tensor, gradient: Tensor, score: Callable[[], Tensor]) -> None:
        """Take down the yardstick and the gradient at the present point."""
        self.trail.update(point, gradient, score())

    def step_from(
        self, step: int, rule: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor
    ) -> Tensor:
        """Return the next point, from the best one so far where a checkpoint finds too little progress."""
        if step in self.checks:
            point, gradient = self.trail.check(point, gradient, step - self.checked)
            self.checked = step
        return self.trail.step_from(rule, point, gradient, clean, eps)

    def rows(self, index: Tensor) -> Self:
        """Return the rule for some of the samples."""
        return replace(self, trail=self.trail.rows(index))
