"""Gradient-based attacks in a norm ball: FGSM (one step) and PGD (many steps)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from suite.attacks.constraints import Constraint, constraint
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.base import Attack, Control, Training, ascending
from suite.attacks.engine.problem import Problem
from suite.decorators import attack
from suite.errors import AttackError, SpecError


@dataclass(frozen=True)
class NormAttack(Attack):
    """Base class of the attacks in a norm ball.

    Attributes:
        eps: radii of the ball, ascending, in units of the pixel range [0, 1]; for l0 a number of pixels.
        norm: ``linf``, ``l2``, ``l1``, ``l0`` or another norm with a ball.
        loss: the kind's loss that is maximized.
        budget_field: name of the field that `with_double_steps` doubles; None if there is none.
        norms: the norms that the attack supports; empty for every norm with a ball.
        _bounds: range of the inputs; set by `fit`.
    """

    budget_field: ClassVar[str | None] = None
    norms: ClassVar[tuple[str, ...]] = ()

    eps: tuple[float, ...] = (1 / 255, 2 / 255, 4 / 255, 8 / 255)
    norm: str = "linf"
    loss: str | None = "margin"
    _bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", ascending(self.eps, "eps"))
        if self.norms and self.norm not in self.norms:
            name = type(self).__name__.lower()
            raise SpecError(f"{name} supports {' and '.join(self.norms)}; got norm={self.norm!r}.")
        constraint(self.norm).check_sizes(self.eps)

    @property
    def sizes(self) -> tuple[float, ...]:
        """The radii."""
        return self.eps

    @property
    def constraint(self) -> Constraint:
        """The norm ball, intersected with the range of the inputs."""
        return constraint(self.norm, self._bounds)

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with the range of the inputs; no training samples are needed."""
        return replace(self, _bounds=problem.bounds)

    def state(self) -> dict[str, Any]:
        """Return the range of the inputs."""
        return {"bounds": list(self._bounds)}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with the range of the inputs."""
        low, high = state["bounds"]
        return replace(self, _bounds=(low, high))

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the steps or queries, or None if it has neither."""
        name = self.budget_field
        return None if name is None else replace(self, **{name: 2 * vars(self)[name]})

    def controls(self) -> Mapping[str, Control]:
        """Return the control: a random perturbation of the same size, clipped to the bounds."""

        def random(pixels: Tensor, eps: float, seeds: Tensor) -> Tensor:
            return self.constraint.control(pixels, torch.full((len(pixels),), eps, device=pixels.device), seeds)

        return {"random": random}

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how much each perturbation exceeds the radius."""
        eps = torch.full((len(clean),), size, dtype=torch.float64, device=clean.device)
        return self.constraint.excess(clean, adversarial, eps)


@dataclass(frozen=True)
class TargetedAttack(NormAttack):
    """Base class of the attacks that can be targeted at one class.

    Attributes:
        goal: index of the target class; samples of this class are not changed. None for an untargeted attack.
    """

    goal: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_goal(self.goal)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return adversarial inputs; samples of the target class are returned unchanged."""
        if self.goal is None:
            return self._perturb(problem, pixels, targets, size, seeds)
        moved, rows = pixels.clone(), (targets != self.goal).nonzero()[:, 0]
        if len(rows):
            moved[rows] = self._perturb(self._problem(problem), pixels[rows], targets[rows], size, seeds[rows])
        return moved

    def _perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return adversarial inputs for the problem's definition of success."""
        raise NotImplementedError

    def succeeded(self, problem: Problem, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return which samples are wrongly predicted as the target class, or as any class if untargeted, bool (n,)."""
        success = self._problem(problem).outcome(pixels, targets) >= 0.5
        return success if self.goal is None else success & (targets != self.goal)

    def _problem(self, problem: Problem) -> Problem:
        return problem if self.goal is None else targeted(problem, self.goal)


@attack(name="fgsm")
@dataclass(frozen=True)
class FGSM(TargetedAttack):
    """One step of the full radius along the gradient of the cross-entropy (Goodfellow et al. 2014)."""

    loss: str | None = "ce"
    supports_graded_outcomes: ClassVar[bool] = True

    def _perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the clean inputs after one step, clipped to the bounds."""
        moved, ball = pixels.clone(), self.constraint
        for chunk in problem.chunks(len(pixels)):  # gradients of all samples at once would take memory
            clean = pixels[chunk]
            gradient, output = problem.gradient(clean, targets[chunk], self.loss or "ce")
            for values, name in ((output, "output"), (gradient, "gradient")):
                require_finite(~torch.isfinite(values).flatten(1).all(dim=1), name)
            eps = torch.full((len(clean),), size, device=clean.device)
            moved[chunk] = ball.clip(clean + size * ball.direction(gradient, clean), clean, eps)
        return moved


@attack(name="pgd")
@dataclass(frozen=True)
class PGD(TargetedAttack):
    """Projected gradient ascent from random starts (Madry et al. 2017) with a cosine schedule of the step size.

    For each sample the first misclassified iterate is returned, or the one with the highest margin if there is none.

    Attributes:
        steps: gradient steps per start.
        restarts: random starts.
        loss: the kind's loss that is maximized. Without a target class, scaled cross-entropy finds more than the
            margin, whose runner-up class may be the wrong one to follow.
        stop: stop working on a sample once it is misclassified; off for adversarial training.
    """

    steps: int = 20
    restarts: int = 2
    loss: str | None = "scaled_ce"
    stop: bool = True
    supports_graded_outcomes: ClassVar[bool] = True
    budget_field: ClassVar[str | None] = "steps"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.restarts < 1:
            raise SpecError(f"pgd needs steps and restarts of at least 1; got {self.steps} and {self.restarts}.")

    def _perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the first misclassified iterate of each sample, or the one with the highest margin."""
        search = Search.of(pixels, targets, size, seeds)
        random = problem.draws > 1  # one draw proves no success, and the best iterate is the luckiest one
        budget = Budget(self.steps, self.loss or "scaled_ce", stop=self.stop and not random, last=random)
        for restart in range(1 if random else self.restarts):
            rows = None if budget.stop else torch.arange(len(pixels), device=pixels.device)
            maximize(problem, search, self.constraint, budget, rows=rows, stream=restart)
        return finite_best(search)


def check_goal(goal: object) -> None:
    """Raise SpecError unless a target class is None or a non-negative integer."""
    if goal is not None and (isinstance(goal, bool) or not isinstance(goal, int) or goal < 0):
        raise SpecError(f"goal={goal!r}; expected the index of a class, or None.")


def targeted(problem: Problem, goal: int) -> Problem:
    """Return the problem of making the model predict a target class; its margin is positive exactly where it does.

    It negates the untargeted problem in which the target class is the label. The margin between the target class and
    the true class alone would also be positive where a third class is predicted.
    """

    def target_classes(output: Tensor) -> Tensor:
        if goal >= output.shape[1]:
            raise AttackError(f"goal={goal}, but the model has {output.shape[1]} classes; use an index below that.")
        return torch.full((len(output),), goal, device=output.device)

    def loss(output: Tensor, targets: Tensor, name: str, rivals: Tensor | None) -> Tensor:
        return -problem.loss(output, target_classes(output), name, None)

    def misclassified(output: Tensor, targets: Tensor) -> Tensor:
        return ~problem.misclassified(output, target_classes(output))

    return replace(problem, loss=loss, misclassified=misclassified)


def finite_best(search: Search) -> Tensor:
    """Return the best points of a search.

    Raises:
        AttackError: the model's output or gradient was not finite for some sample.
    """
    require_finite(search.invalid, "output")
    require_finite(search.nonfinite_gradients > 0, "gradient")
    return search.best


def require_finite(bad: Tensor, what: str) -> None:
    """Raise AttackError if the output or gradient of any sample is marked as not finite."""
    if bad.any():
        raise AttackError(
            f"The {what} of {int(bad.sum())} of {len(bad)} samples is NaN or infinite, so this attack cannot measure "
            f"robustness. Check the model's {what}, or use cascade, which does not depend on gradients alone."
        )


def require_images(problem: Problem, name: str) -> None:
    """Raise SpecError unless the inputs are images (n, channels, height, width); `name` is that of the attack."""
    if problem.input.type != "image":
        raise SpecError(
            f"{name} changes images, but the inputs are of type {problem.input.type}. Use fgsm or pgd, which change "
            "any numbers."
        )
