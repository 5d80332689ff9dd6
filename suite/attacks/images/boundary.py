"""A minimum-norm attack: the smallest adversarial perturbation of each sample, for accuracy at every eps at once.

It starts from linear approximations: if the margin to a rival class were linear, the nearest point of the box beyond
the decision boundary would be known in closed form. That point is exact for a linear model and otherwise shows which
rivals are near (as in DeepFool, Moosavi-Dezfooli et al. 2016, and FAB, Croce and Hein 2020). Gradient steps then
maximize the margin inside a ball that shrinks while the sample is misclassified and grows while it is not (as in FMN,
Pintor et al. 2021). Finally, bisection moves every point towards the clean sample as far as it stays misclassified.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.attacks import rng as random
from suite.attacks.constraints import constraint
from suite.attacks.constraints.base import spread
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack
from suite.decorators import attack
from suite.errors import SpecError

STARTS = 1200
"""Stream of the random starts."""

BEYOND = 1e-5
"""Overshoot beyond a linearized boundary, as a share of the step; an allowance for rounding is added."""

SHRINK = (0.1, 0.005)
"""Relative change of the radius per step, in the first and in the last step."""

LEAST = 1e-3
"""Minimum initial radius as a share of the pixel range, so that the radius can grow."""

HALVINGS = 14
"""Bisection steps between the misclassified point and the clean sample."""


@attack(name="boundary")
@dataclass(frozen=True)
class Boundary(NormAttack):
    """The smallest adversarial perturbation of each sample, if it is within eps.

    The search takes at most 3 met + 2 (aimed + 1) steps + 15 passes per sample.

    Attributes:
        steps: gradient steps of each run.
        aimed: number of runs that each target one rival class, in addition to the untargeted run.
        met: number of rival classes whose boundaries are linearized.
    """

    steps: int = 25
    aimed: int = 5
    met: int = 9
    budget_field: ClassVar[str | None] = "steps"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1 or self.met < 1 or not 0 <= self.aimed <= self.met:
            raise SpecError(
                "boundary needs steps and met of at least 1 and aimed between 0 and met; got "
                f"steps={self.steps}, met={self.met} and aimed={self.aimed}."
            )

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the smallest perturbation if it is within the size, or the clean inputs."""
        nearest, distance = self.smallest(problem, pixels, targets, seeds)
        return torch.where(spread(distance <= size, pixels), nearest, pixels)

    def smallest(self, problem: Problem, pixels: Tensor, targets: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest misclassified points and their distances.

        Args:
            problem: the model.
            pixels: clean samples (n, ...) within the bounds.
            targets: (n, ...).
            seeds: int64 (n,).

        Returns:
            Points (n, ...), the clean ones where none was found, and distances (n,) in float64, inf where none was
            found and 0 where the clean sample is misclassified.
        """
        own = random.as_seeds(seeds, pixels.device)
        nearest, distance = pixels.clone(), torch.full_like(own, math.inf, dtype=torch.float64)
        for chunk in problem.chunks(len(pixels)):
            run = _Run(self, problem, pixels[chunk], targets[chunk], own[chunk])
            nearest[chunk], distance[chunk] = run.smallest()
        return nearest, distance


class NearestPoints:
    """The nearest misclassified point found so far for each sample of a batch, and its distance."""

    def __init__(self, problem: Problem, norm: str, clean: Tensor, targets: Tensor, seeds: Tensor) -> None:
        self.problem, self.ball = problem, constraint(norm, problem.bounds)
        self.clean, self.targets, self.seeds = clean, targets, seeds
        self.point = clean.clone()
        self.distance = torch.full((len(clean),), math.inf, dtype=torch.float64, device=clean.device)

    def update(self, point: Tensor, output: Tensor, rows: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Keep points that are misclassified and nearer than before; return which are misclassified, and nearer."""
        misclassified = self.problem.misclassified(output, self.targets[rows])
        misclassified = misclassified & torch.isfinite(output).flatten(1).all(dim=1)
        size = self.ball.size(point.double() - self.clean[rows].double())
        nearer = misclassified & (size < self.distance[rows])
        self.point[rows] = torch.where(spread(nearer, self.clean), point, self.point[rows])
        self.distance[rows] = torch.where(nearer, size, self.distance[rows])
        return misclassified, nearer


class _Run(NearestPoints):
    """The search for one batch."""

    def __init__(self, attack: Boundary, problem: Problem, clean: Tensor, targets: Tensor, seeds: Tensor) -> None:
        super().__init__(problem, attack.norm, clean, targets, seeds)
        self.attack, self.guess = attack, self.distance.clone()

    def smallest(self) -> tuple[Tensor, Tensor]:
        """Return the nearest misclassified points and their distances."""
        rivals = self._planes()
        self._descend(None, 0)
        for number in range(min(self.attack.aimed, rivals.shape[1])):
            self._descend(rivals[:, number], number + 1)
        self._bisect()
        return self.point, self.distance

    def _try(self, point: Tensor) -> Tensor:
        """Evaluate points; return which are misclassified."""
        with torch.no_grad():
            return self.update(point, self.problem.forward(point))[0]

    def _planes(self) -> Tensor:
        """Try the nearest point beyond each rival's linearized boundary; return the rivals, the nearest first."""
        with torch.no_grad():
            output = self.problem.forward(self.clean)
        self.update(self.clean, output)
        rivals = self.problem.rivals(output, self.targets, self.attack.met)
        distances = []
        for target_classes in rivals.unbind(1):
            gradient, output = self.problem.gradient(self.clean, self.targets, "margin", target_classes)
            missing = torch.nan_to_num(-self.problem.loss(output, self.targets, "margin", target_classes).double())
            point = beyond_plane(self.clean, _finite(gradient), missing, self.attack.norm, self.problem.bounds)
            self._try(point)
            distances.append(self.ball.size(point.double() - self.clean.double()))
        far = torch.stack(distances, dim=1)
        low, high = self.problem.bounds
        self.guess = far.amin(dim=1).clamp_min(LEAST * (high - low))
        return rivals.gather(1, far.argsort(dim=1, stable=True))

    def _descend(self, target_classes: Tensor | None, number: int) -> None:
        """Maximize the margin in a ball that shrinks while the sample is misclassified and grows while it is not."""
        radius = torch.where(self.distance.isfinite(), self.distance, self.guess)
        point = self.ball.start(self.clean, radius, self.seeds, STARTS + number) if number else self.clean
        for step in range(self.attack.steps):
            gradient, output = self.problem.gradient(point, self.targets, "margin", target_classes)
            misclassified = self.update(point, output)[0]
            radius = self._radius(radius, misclassified, step)
            share = 0.5 * (1 + math.cos(math.pi * step / self.attack.steps))
            move = self.ball.direction(_finite(gradient), point) * spread(radius * max(share, 0.01), point).to(point)
            point = self.ball.clip(point + move, self.clean, radius)
        self._try(point)

    def _radius(self, radius: Tensor, misclassified: Tensor, step: int) -> Tensor:
        first, last = SHRINK
        share = last + (first - last) * 0.5 * (1 + math.cos(math.pi * step / self.attack.steps))
        grown = torch.minimum(radius * (1 + share), self.distance * (1 - last))
        adapted = torch.where(misclassified, torch.minimum(radius, self.distance) * (1 - share), grown)
        return torch.where(self.distance.isfinite(), adapted, radius * 1.25)

    def _bisect(self) -> None:
        """Bisect between the clean sample and the nearest misclassified point."""
        low, high = torch.zeros_like(self.distance), torch.ones_like(self.distance)
        end = self.point.clone()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            misclassified = self._try(torch.lerp(self.clean, end, spread(middle, end).to(end)))
            low, high = torch.where(misclassified, low, middle), torch.where(misclassified, middle, high)


def beyond_plane(clean: Tensor, gradient: Tensor, missing: Tensor, norm: str, bounds: tuple[float, float]) -> Tensor:
    """Return the nearest point in the box at which a linear function has risen by what is missing.

    Each pixel moves along its gradient by the same step (linf) or by a step proportional to its gradient (l2), until it
    reaches its bound. The rise is piecewise linear in the step, with a breakpoint wherever a pixel reaches its bound;
    the breakpoints are sorted. If the rise is not possible within the box, the point of the highest rise is returned.

    Args:
        clean: (n, ...).
        gradient: gradient of the function, (n, ...), finite.
        missing: the required rise (n,).
        norm: ``linf`` or ``l2``.
        bounds: the range of a pixel.
    """
    slope = gradient.double().flatten(1)
    sign, flat = slope.sign(), clean.double().flatten(1)
    slope = slope.abs()
    room = torch.where(sign > 0, bounds[1] - flat, flat - bounds[0])
    pace = (slope > 0).double() if norm == "linf" else slope
    stops = torch.where(slope > 0, room / pace.clamp_min(torch.finfo(pace.dtype).tiny), 0.0)
    rounding = torch.finfo(clean.dtype).eps / 2 * max(abs(bound) for bound in bounds) * slope.sum(dim=1)
    required = missing.double() * (1 + BEYOND) + torch.where(missing > 0, rounding, 0.0)
    step = _step(stops, slope * pace, required)
    return (flat + torch.minimum(step[:, None] * pace, room) * sign).to(clean).view_as(clean).clamp(*bounds)


def _step(stops: Tensor, rates: Tensor, missing: Tensor) -> Tensor:
    """Return the smallest step t with sum(rates * min(t, stops)) = missing, or the last stop if there is none."""
    ordered, places = stops.sort(dim=1)
    rate = rates.gather(1, places)
    stopped = (rate * ordered).cumsum(dim=1)
    going = rate.sum(dim=1, keepdim=True) - rate.cumsum(dim=1)
    reached = stopped + going * ordered
    index = torch.searchsorted(reached, missing[:, None]).clamp(max=stops.shape[1] - 1)
    before = (stopped - rate * ordered).gather(1, index)
    speed = (going + rate).gather(1, index).clamp_min(torch.finfo(rate.dtype).tiny)
    step = (missing[:, None] - before) / speed
    return torch.minimum(step, ordered[:, -1:])[:, 0].clamp_min(0)


def _finite(gradient: Tensor) -> Tensor:
    """Return the gradient, zero for samples where any of it is NaN or infinite."""
    return torch.where(spread(torch.isfinite(gradient).flatten(1).all(dim=1), gradient), gradient, 0.0)
