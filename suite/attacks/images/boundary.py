"""A minimum-norm attack: the smallest perturbation of each sample, and with it a whole curve of accuracy against eps.

It starts from planes: a margin that is taken to be linear gives the nearest point of the box beyond each rival's plane,
which is exact for a linear model and otherwise says which rivals are near (as DeepFool and FAB do: Moosavi-Dezfooli
et al. 2016, Croce and Hein 2020). From there the margin is climbed inside a ball that shrinks whenever the sample is
fooled and grows whenever it is not (as in FMN: Pintor et al. 2021). In the end every point is drawn towards the clean
one as far as it stays fooled.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks import rng as random
from suite.attacks.constraints import Constraint, constraint
from suite.attacks.constraints.base import spread
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack
from suite.decorators import attack
from suite.errors import SpecError

STARTS = 1200
"""Stream of the random starts."""

BEYOND = 1e-5
"""How far beyond a plane its nearest point is put, as a share of the way; what rounding can take back comes on top."""

SHRINK = (0.1, 0.005)
"""Shares by which a ball shrinks or grows per step, first and last."""

LEAST = 1e-3
"""Share of the pixel range that a ball has at least as long as no sample is fooled: it must be able to grow."""

HALVINGS = 14
"""Halvings of the way between the last fooled and the last not fooled point towards the clean sample."""


@attack(name="boundary")
@dataclass(frozen=True)
class Boundary(NormAttack):
    """The smallest perturbation of each sample, cut off at eps.

    The search takes at most 3 r + 2 (t + 1) steps + 15 passes per sample, with r rivals met and t aimed at.

    Attributes:
        steps: gradient steps of each run.
        aimed: runs at one rival each, beside the run at whichever is nearest.
        met: rivals whose planes are looked at.
    """

    steps: int = 25
    aimed: int = 5
    met: int = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in ("linf", "l2"):
            raise SpecError(f"boundary knows the planes of linf and l2; got norm={self.norm!r}.")
        if self.steps < 1 or self.met < 1 or not 0 <= self.aimed <= self.met:
            raise SpecError(
                "boundary needs steps and met of at least 1 and aimed between 0 and met; got "
                f"steps={self.steps}, met={self.met} and aimed={self.aimed}."
            )

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps."""
        return replace(self, steps=2 * self.steps)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the smallest perturbation where it is within the size, else the clean pixels."""
        found, distance = self.smallest(problem, pixels, targets, seeds)
        return torch.where(spread(distance <= size, pixels), found, pixels)

    def smallest(self, problem: Problem, pixels: Tensor, targets: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest points that fool the model, and how far they are.

        Args:
            problem: the model.
            pixels: clean samples (n, ...) within the bounds.
            targets: (n, ...).
            seeds: int64 (n,).

        Returns:
            Points (n, ...), the clean ones where none was found, and distances (n,) in float64, inf where none was
            found and 0 where the model is wrong about the clean sample.
        """
        own = random.as_seeds(seeds, pixels.device)
        nearest, distance = pixels.clone(), torch.full_like(own, math.inf, dtype=torch.float64)
        for chunk in problem.chunks(len(pixels)):
            run = _Run(self, problem, constraint(self.norm, problem.bounds), pixels[chunk], targets[chunk], own[chunk])
            nearest[chunk], distance[chunk] = run.smallest()
        return nearest, distance


class _Run:
    """The search for one batch: the nearest point so far of each sample, and its distance."""

    def __init__(
        self, plan: Boundary, problem: Problem, ball: Constraint, clean: Tensor, targets: Tensor, seeds: Tensor
    ) -> None:
        self.plan, self.problem, self.ball = plan, problem, ball
        self.clean, self.targets, self.seeds = clean, targets, seeds
        self.nearest = clean.clone()
        self.distance = torch.full((len(clean),), math.inf, dtype=torch.float64, device=clean.device)
        self.guess = self.distance.clone()

    def smallest(self) -> tuple[Tensor, Tensor]:
        """Return the nearest points found and their distances."""
        rivals = self._planes()
        self._descend(None, 0)
        for number in range(min(self.plan.aimed, rivals.shape[1])):
            self._descend(rivals[:, number], number + 1)
        self._draw_in()
        return self.nearest, self.distance

    def _note(self, point: Tensor, output: Tensor) -> Tensor:
        """Keep the points that fool the model from nearer by than before; return which fool it at all."""
        misclassified = self.problem.misclassified(output, self.targets) & torch.isfinite(output).flatten(1).all(dim=1)
        size = self.ball.size(point.double() - self.clean.double())
        nearer = misclassified & (size < self.distance)
        self.nearest = torch.where(spread(nearer, point), point, self.nearest)
        self.distance = torch.where(nearer, size, self.distance)
        return misclassified

    def _try(self, point: Tensor) -> Tensor:
        with torch.no_grad():
            return self._note(point, self.problem.forward(point))

    def _planes(self) -> Tensor:
        """Try the nearest point beyond each rival's plane; return the rivals, that of the nearest plane first."""
        with torch.no_grad():
            output = self.problem.forward(self.clean)
        self._note(self.clean, output)
        rivals = self.problem.rivals(output, self.targets, self.plan.met)
        ways = []
        for target_classes in rivals.unbind(1):
            gradient, output = self.problem.gradient(self.clean, self.targets, "margin", target_classes)
            missing = torch.nan_to_num(-self.problem.loss(output, self.targets, "margin", target_classes).double())
            point = beyond_plane(self.clean, _finite(gradient), missing, self.plan.norm, self.problem.bounds)
            self._try(point)
            ways.append(self.ball.size(point.double() - self.clean.double()))
        far = torch.stack(ways, dim=1)
        low, high = self.problem.bounds
        self.guess = far.amin(dim=1).clamp_min(LEAST * (high - low))
        return rivals.gather(1, far.argsort(dim=1, stable=True))

    def _descend(self, target_classes: Tensor | None, number: int) -> None:
        """Climb the margin inside a ball that shrinks where the sample is fooled and grows where it is not."""
        radius = torch.where(self.distance.isfinite(), self.distance, self.guess)
        point = self._start(radius, number)
        for step in range(self.plan.steps):
            gradient, output = self.problem.gradient(point, self.targets, "margin", target_classes)
            misclassified = self._note(point, output)
            radius = self._radius(radius, misclassified, step)
            share = 0.5 * (1 + math.cos(math.pi * step / self.plan.steps))
            move = self.ball.direction(_finite(gradient), point) * spread(radius * max(share, 0.01), point).to(point)
            point = self.ball.clip(point + move, self.clean, radius)
        self._try(point)

    def _start(self, radius: Tensor, number: int) -> Tensor:
        if number == 0:
            return self.clean
        return self.ball.start(self.clean, radius, self.seeds, STARTS + number)

    def _radius(self, radius: Tensor, misclassified: Tensor, step: int) -> Tensor:
        first, last = SHRINK
        share = last + (first - last) * 0.5 * (1 + math.cos(math.pi * step / self.plan.steps))
        grown = torch.minimum(radius * (1 + share), self.distance * (1 - last))
        found = torch.where(misclassified, torch.minimum(radius, self.distance) * (1 - share), grown)
        return torch.where(self.distance.isfinite(), found, radius * 1.25)

    def _draw_in(self) -> None:
        """Halve the way to the clean point as long as the model stays fooled."""
        low, high = torch.zeros_like(self.distance), torch.ones_like(self.distance)
        end = self.nearest
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            misclassified = self._try(torch.lerp(self.clean, end, spread(middle, end).to(end)))
            low, high = torch.where(misclassified, low, middle), torch.where(misclassified, middle, high)


def beyond_plane(clean: Tensor, gradient: Tensor, missing: Tensor, norm: str, bounds: tuple[float, float]) -> Tensor:
    """Return the nearest point in the box at which a linear function has risen by what is missing.

    A pixel moves along its gradient by the same step as all others (linf), or by one proportional to its gradient (l2),
    until it meets the bound; the rise is linear between the steps at which pixels do so, and these are gone through in
    ascending order. Where the box leaves too little room, the corner of the highest rise is returned.

    Args:
        clean: (n, ...).
        gradient: of the function, (n, ...), finite.
        missing: the rise (n,).
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
    wanted = missing.double() * (1 + BEYOND) + torch.where(missing > 0, rounding, 0.0)
    step = _step(stops, slope * pace, wanted)
    return (flat + torch.minimum(step[:, None] * pace, room) * sign).to(clean).view_as(clean).clamp(*bounds)


def _step(stops: Tensor, rates: Tensor, missing: Tensor) -> Tensor:
    """Return the least step t with sum(rates * min(t, stops)) = missing, or the last stop where that is too little."""
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
