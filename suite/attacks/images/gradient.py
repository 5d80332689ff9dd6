"""Attacks on pixels that follow the gradient: FGSM in one step, PGD in many."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from suite.attacks.constraints import Constraint, constraint
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.base import Control, Training, ascending
from suite.attacks.engine.problem import Problem
from suite.decorators import attack
from suite.errors import AttackError, SpecError


@dataclass(frozen=True)
class NormAttack:
    """What all attacks on pixels inside a norm ball share.

    Attributes:
        eps: radii of the ball, ascending, in units of the pixel range [0, 1]; for l0 a number of pixels.
        norm: ``linf``, ``l2``, ``l1`` or ``l0``.
        loss: the kind's loss that is raised.
        bounds: the range of the numbers that are moved; given by `fit`.
    """

    eps: tuple[float, ...] = (1 / 255, 2 / 255, 4 / 255, 8 / 255)
    norm: str = "linf"
    loss: str | None = "margin"
    _bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", ascending(self.eps, "eps"))
        constraint(self.norm)
        if self.norm == "l0" and self.eps[0] < 1:
            raise SpecError(f"eps={list(self.eps)} with norm=l0; expected numbers of pixels, like eps=[5, 10, 20].")

    @property
    def sizes(self) -> tuple[float, ...]:
        """The radii."""
        return self.eps

    @property
    def size_name(self) -> str:
        """A radius is called eps."""
        return "eps"

    @property
    def constraint(self) -> Constraint:
        """The norm ball within the range of the numbers that are moved."""
        return constraint(self.norm, self._bounds)

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with the range of the numbers that are moved; it needs no training samples."""
        return replace(self, _bounds=problem.bounds) if problem.bounds != self._bounds else self

    def with_double_steps(self) -> Self | None:
        """Return None: one step cannot be doubled."""
        return None

    def controls(self) -> Mapping[str, Control]:
        """Return a random perturbation of the same size, clipped to the bounds."""
        rule = self.constraint

        def random(pixels: Tensor, eps: float, seeds: Tensor) -> Tensor:
            return rule.control(pixels, torch.full((len(pixels),), eps, device=pixels.device), seeds)

        return {"random": random}

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how much each perturbation exceeds the radius."""
        eps = torch.full((len(clean),), size, dtype=torch.float64, device=clean.device)
        return self.constraint.excess(clean, adversarial, eps)


@dataclass(frozen=True)
class Aimed(NormAttack):
    """What attacks share that can be aimed at one class.

    Attributes:
        goal: index of the class that all samples shall be taken for, and samples of it are left as they are; None where
            any wrong answer will do.
    """

    goal: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.goal is not None and (isinstance(self.goal, bool) or not isinstance(self.goal, int) or self.goal < 0):
            raise SpecError(f"goal={self.goal!r}; expected the index of a class, or None.")

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return what is found, and samples that are of the goal's class as they are."""
        if self.goal is None:
            return self.found(problem, pixels, targets, size, seeds)
        moved, rows = pixels.clone(), (targets != self.goal).nonzero()[:, 0]
        if len(rows):
            moved[rows] = self.found(self.towards_target(problem), pixels[rows], targets[rows], size, seeds[rows])
        return moved

    def found(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return adversarial pixels for whatever the problem calls fooled."""
        raise NotImplementedError

    def succeeded(self, problem: Problem, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return who is not of the goal's class but answers it, bool (n,); without a goal, who is fooled."""
        found = self.towards_target(problem).outcome(pixels, targets) >= 0.5
        return found if self.goal is None else found & (targets != self.goal)

    def towards_target(self, problem: Problem) -> Problem:
        """Return the problem itself, or that of reaching the goal."""
        return problem if self.goal is None else towards(problem, self.goal)


@attack(name="fgsm")
@dataclass(frozen=True)
class FGSM(Aimed):
    """One step of the full radius along the gradient of the cross-entropy (Goodfellow et al. 2014)."""

    loss: str | None = "ce"
    supports_graded_outcomes: ClassVar[bool] = True

    def found(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the clean pixels moved once and clipped to the bounds."""
        moved, rule = pixels.clone(), self.constraint
        for chunk in problem.chunks(len(pixels)):
            clean = pixels[chunk]
            gradient, output = problem.gradient(clean, targets[chunk], self.loss or "ce")
            finite_or_refused(~torch.isfinite(output).flatten(1).all(dim=1), "output")
            finite_or_refused(~torch.isfinite(gradient).flatten(1).all(dim=1), "gradient")
            eps = torch.full((len(clean),), size, device=clean.device)
            moved[chunk] = rule.clip(clean + size * rule.direction(gradient, clean), clean, eps)
        return moved


@attack(name="pgd")
@dataclass(frozen=True)
class PGD(Aimed):
    """Projected gradient ascent from a random start (Madry et al. 2017), with steps that shrink along a cosine.

    Of every sample the first iterate that fools the model is returned, else the one of the highest margin.

    Attributes:
        steps: gradient steps per start.
        restarts: random starts.
        loss: untargeted, scaled cross-entropy finds more than the margin, whose runner-up may be the wrong one.
        stop: let a sample leave the batch as soon as it is fooled; off for training on the worst case.
    """

    steps: int = 20
    restarts: int = 2
    loss: str | None = "scaled_ce"
    stop: bool = True
    supports_graded_outcomes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.restarts < 1:
            raise SpecError(f"pgd needs steps and restarts of at least 1; got {self.steps} and {self.restarts}.")

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps."""
        return replace(self, steps=2 * self.steps)

    def found(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return, per sample, the first iterate that fools the model, else the one of the highest margin."""
        search = Search.of(pixels, targets, size, seeds)
        random = problem.draws > 1  # then one lucky draw is no success, and the best point the luckiest
        budget = Budget(self.steps, self.loss or "scaled_ce", stop=self.stop and not random, last=random)
        for restart in range(1 if random else self.restarts):
            rows = None if budget.stop else torch.arange(len(pixels), device=pixels.device)
            maximize(problem, search, self.constraint, budget, rows=rows, stream=restart)
        finite_or_refused(search.invalid, "output")
        finite_or_refused(search.nonfinite_gradients > 0, "gradient")
        return search.best


def towards(problem: Problem, goal: int) -> Problem:
    """Return the problem of making the model answer one class, with a margin above zero where it does and only there.

    It is the problem of making the model wrong about that class, turned round. The margin between the goal and the
    right class alone would be content where a third one stands above both.
    """

    def target_classes(output: Tensor) -> Tensor:
        if goal >= output.shape[1]:
            raise AttackError(f"goal={goal}, but the model has {output.shape[1]} classes; give an index below that.")
        return torch.full((len(output),), goal, device=output.device)

    def loss(output: Tensor, targets: Tensor, name: str, rivals: Tensor | None) -> Tensor:
        return -problem.loss(output, target_classes(output), name, None)

    def misclassified(output: Tensor, targets: Tensor) -> Tensor:
        return ~problem.misclassified(output, target_classes(output))

    return replace(problem, loss=loss, misclassified=misclassified)


def finite_or_refused(bad: Tensor, what: str) -> None:
    """Raise AttackError where the model's output or gradient was not finite: it is neither robust nor broken."""
    if bad.any():
        raise AttackError(
            f"The {what} of {int(bad.sum())} of {len(bad)} samples is NaN or infinite; a model that hides its {what} "
            "is neither robust nor broken. Check its passes, or use cascade, which finds a way round gradients."
        )
