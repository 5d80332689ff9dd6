"""The engine: raise a loss inside a constraint on a budget of steps, for all samples at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import torch
from torch import Tensor

from suite.attacks.constraints import Constraint
from suite.attacks.constraints.base import spread
from suite.attacks.engine.problem import Problem

CHECK_EVERY = 8
"""Steps between two compactions on an accelerator, where asking who is fooled means waiting for it."""


class Steps(Protocol):
    """A rule that says how far each step of an ascent goes."""

    def update(self, point: Tensor, gradient: Tensor, score: Callable[[], Tensor]) -> None:
        """Take down the gradient at the present point, and the yardstick there if the rule asks for it."""
        ...

    def step_from(
        self, step: int, rule: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor
    ) -> Tensor:
        """Return the next point."""
        ...

    def rows(self, index: Tensor) -> Self:
        """Return the rule for some of the samples."""
        ...


@dataclass(frozen=True)
class Cosine:
    """Steps whose length falls to zero along a cosine, from `Budget.first`."""

    first: float
    steps: int

    @classmethod
    def begin(cls, point: Tensor, eps: Tensor, budget: Budget) -> Self:
        """Return the rule for one ascent."""
        return cls(budget.first, budget.steps)

    def update(self, point: Tensor, gradient: Tensor, score: Callable[[], Tensor]) -> None:
        """Take down nothing: the lengths are settled beforehand."""

    def step_from(
        self, step: int, rule: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor
    ) -> Tensor:
        """Return the point a step further along the gradient."""
        share = self.first * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rule.clip(point + spread(eps * share, point) * rule.direction(gradient, point), clean, eps)

    def rows(self, index: Tensor) -> Self:
        """Return the rule itself; it is the same for all samples."""
        return self


@dataclass(frozen=True)
class Budget:
    """How one ascent goes.

    Attributes:
        steps: gradient steps; a sample that stands to the end costs one forward and one backward pass per step, and
            one forward pass.
        loss: the kind's loss that is raised.
        start: ``random``, ``clean`` or ``best``, the best point so far.
        first: length of the first step as a share of eps.
        stop: let samples leave as soon as they are fooled; off for training on the worst case.
        last: keep the last point instead of the best one, which for a model that answers at random is the luckiest; of
            several target_classes the last one's.
        way: (start, eps, budget) to the rule of the steps.
    """

    steps: int
    loss: str = "margin"
    start: str = "random"
    first: float = 1.0
    stop: bool = True
    last: bool = False
    step_rule: Callable[[Tensor, Tensor, Budget], Steps] = Cosine.begin


@dataclass
class Search:
    """What attacks on a set of samples have found so far.

    Attributes:
        pixels, targets, eps, seeds: the clean samples (n, ...), what is true of them, the limit and the seed of each.
        best: the point of the highest yardstick, (n, ...); the clean one to begin with.
        score: the yardstick there, (n,) in float64.
        misclassified: which are fooled at their best point, bool (n,).
        invalid: where the model gave an output that is not finite, bool (n,); neither robust nor broken.
        blind: how many gradients were zero or not finite, (n,).
        broken: how many gradients were not finite, (n,).
        rung: number of the stage in which a sample was fooled, (n,); -1 for none.
        stage: number of the stage that is on.
    """

    pixels: Tensor
    targets: Tensor
    eps: Tensor
    seeds: Tensor
    best: Tensor
    score: Tensor
    misclassified: Tensor
    invalid: Tensor
    blind: Tensor
    nonfinite_gradients: Tensor
    rung: Tensor
    stage: int = 0

    @classmethod
    def of(cls, pixels: Tensor, targets: Tensor, eps: float | Tensor, seeds: Tensor) -> Self:
        """Return a search that has not begun."""
        count, device = len(pixels), pixels.device
        return cls(
            pixels,
            targets,
            torch.full((count,), float(eps), device=device) if not isinstance(eps, Tensor) else eps.to(pixels),
            seeds.to(device),
            best=pixels.clone(),
            score=torch.full((count,), -math.inf, dtype=torch.float64, device=device),
            misclassified=torch.zeros(count, dtype=torch.bool, device=device),
            invalid=torch.zeros(count, dtype=torch.bool, device=device),
            blind=torch.zeros(count, dtype=torch.int64, device=device),
            nonfinite_gradients=torch.zeros(count, dtype=torch.int64, device=device),
            rung=torch.full((count,), -1, dtype=torch.int64, device=device),
        )

    @property
    def remaining(self) -> Tensor:
        """Rows of the samples that still resist, (k,)."""
        return (~(self.misclassified | self.invalid)).nonzero()[:, 0]

    def nearest(self, share: float) -> Tensor:
        """Return rows of the share of the standing samples that are nearest to being fooled, the nearest first."""
        rows = self.remaining
        count = math.ceil(share * len(rows) - 1e-9)
        return rows[self.score[rows].argsort(descending=True, stable=True)[:count]]

    def update(self, problem: Problem, rows: Tensor, points: Tensor, output: Tensor) -> Tensor:
        """Take down what the model said at some points of some rows; return which rows are done with, bool (k,).

        A score that is NaN is never the best, and a sample whose output is not finite is never fooled.

        Args:
            problem: the model.
            rows: the rows, each once, (k,).
            points: one or more for each row, those of a row in succession, (k * each, ...).
            output: the model's output at the points.
        """
        each = len(points) // max(1, len(rows))
        targets = self.targets[rows].repeat_interleave(each, dim=0)
        finite = torch.isfinite(output).flatten(1).all(dim=1)
        score = problem.loss(output, targets, problem.selection_loss, None).double()
        misclassified = problem.misclassified(output, targets) & finite
        score = torch.where(finite & ~score.isnan(), score, -math.inf)
        broken = ~finite.view(-1, each).all(dim=1)
        if each > 1:  # of several points of a row the best one counts, and one that fools before one that does not
            ranked = torch.where(_any(misclassified, each) & ~misclassified, -math.inf, score).view(-1, each)
            chosen = ranked.argmax(dim=1) + each * torch.arange(len(rows), device=rows.device)
            points, score, misclassified = points[chosen], score[chosen], misclassified[chosen]
        better = (misclassified & ~self.misclassified[rows]) | (
            (score > self.score[rows]) & (misclassified | ~self.misclassified[rows])
        )
        self.best[rows] = torch.where(spread(better, points), points, self.best[rows])
        self.score[rows] = torch.where(better, score, self.score[rows])
        self.rung[rows] = torch.where(misclassified & (self.rung[rows] < 0), self.stage, self.rung[rows])
        self.misclassified[rows] |= misclassified
        self.invalid[rows] |= broken
        return misclassified | broken

    def evaluate(self, problem: Problem, rows: Tensor, points: Tensor) -> None:
        """Ask the model about some points of some rows, and take down what it says."""
        with torch.no_grad():
            for chunk in problem.chunks(len(rows)):
                self.update(problem, rows[chunk], points[chunk], problem.forward(points[chunk]))

    def rivals(self, problem: Problem, rows: Tensor, count: int) -> Tensor:
        """Return the target_classes nearest at the best points so far of some rows, (len(rows), count or fewer)."""
        found = [torch.zeros((0, 0), dtype=torch.int64, device=rows.device)] if not len(rows) else []
        with torch.no_grad():
            for chunk in problem.chunks(len(rows)):
                output = problem.forward(self.best[rows[chunk]])
                found.append(problem.rivals(output, self.targets[rows[chunk]], count))
        return torch.cat(found)

    def confirm(self, problem: Problem, rows: Tensor) -> int:
        """Ask the model cleanly about fooled rows and take back what does not hold; return how many did not."""
        lied = rows[problem.outcome(self.best[rows], self.targets[rows]) < 0.5]
        self.misclassified[lied], self.rung[lied] = False, -1
        self.best[lied], self.score[lied] = self.pixels[lied], -math.inf
        return len(lied)


def maximize(
    problem: Problem,
    search: Search,
    constraint: Constraint,
    budget: Budget,
    *,
    rows: Tensor | None = None,
    target_classes: Tensor | None = None,
    stream: int = 0,
) -> None:
    """Climb from a start for each row, or for each of its target_classes, and leave what is found in the search.

    Args:
        problem: the model.
        search: the samples and the best points so far; changed in place.
        constraint: what limits a perturbation.
        budget: loss, start and steps.
        rows: the rows to work on, each at most once; all that still stand if None.
        target_classes: the classes to aim at for each row, (len(rows), classes per row). All are attacked in parallel,
            and a row leaves as soon as one of them succeeds.
        stream: number of the first ascent; others have other random starts. Each goal takes a number of its own.
    """
    chosen = search.remaining if rows is None else rows
    each = 1 if target_classes is None else target_classes.shape[1]
    if not each:
        return
    # Never by target_classes: what becomes of a row must not depend on how many fit into a forward pass.
    width = max(1, problem.batch_size // each)
    for begin in range(0, len(chosen), width):
        part = slice(begin, begin + width)
        aims = None if target_classes is None else target_classes[part].flatten()
        _Climb(problem, search, budget, stream, chosen[part], aims, each).run(constraint)


@dataclass
class _Climb:
    """One batch on its way up: every row as many times as it has target_classes."""

    problem: Problem
    search: Search
    budget: Budget
    stream: int
    rows: Tensor
    target_classes: Tensor | None
    each: int

    def run(self, constraint: Constraint) -> None:
        """Take all steps; who is fooled leaves the batch."""
        search, budget = self.search, self.budget
        paths = self.rows.repeat_interleave(self.each)
        rule = constraint.rows(paths)
        clean, targets, eps = search.pixels[paths], search.targets[paths], search.eps[paths]
        point = self._start(rule, paths)
        way = budget.step_rule(point, eps, budget)
        done = torch.zeros(len(self.rows), dtype=torch.bool, device=point.device)
        wait = 1 if point.device.type == "cpu" else CHECK_EVERY
        for step in range(budget.steps):
            progress = step / budget.steps
            gradient, output = self.problem.gradient(point, targets, budget.loss, self.target_classes, progress)
            done = done | search.update(self.problem, self.rows, point, output)
            gradient = self._usable(gradient)
            way.update(point, gradient, partial(self._score, output, targets))
            if budget.stop and step % wait == 0 and bool(done.any()):
                done = self._sure(done)
                keep = (~done).repeat_interleave(self.each).nonzero()[:, 0]
                self.rows, done = self.rows[~done], done[~done]
                if not len(keep):
                    return
                rule, way = rule.rows(keep), way.rows(keep)
                self.target_classes = None if self.target_classes is None else self.target_classes[keep]
                clean, targets, eps, point, gradient = (part[keep] for part in (clean, targets, eps, point, gradient))
            point = way.step_from(step, rule, point, gradient, clean, eps)
        if not budget.last:
            self._sure(done)
        with torch.no_grad():
            search.update(self.problem, self.rows, point, self.problem.forward(point))
        if budget.last:
            search.best[self.rows] = point.view(len(self.rows), self.each, *point.shape[1:])[:, -1]

    def _start(self, rule: Constraint, paths: Tensor) -> Tensor:
        search = self.search
        if self.budget.start == "random":
            numbers = self.stream + torch.arange(len(paths), device=paths.device) % self.each
            return rule.start(search.pixels[paths], search.eps[paths], search.seeds[paths], numbers)
        return search.best[paths] if self.budget.start == "best" else search.pixels[paths]

    def _sure(self, done: Tensor) -> Tensor:
        """Return who is done with, bool (k,); a guide may be fooled where the model is not, which is asked then."""
        if self.problem.guide is None:
            return done
        self.search.invalid[self.rows] = False  # that was the guide, and nobody climbs whose model was
        self.search.confirm(self.problem, self.rows[done])
        return self.search.misclassified[self.rows]

    def _score(self, output: Tensor, targets: Tensor) -> Tensor:
        return self.problem.loss(output, targets, self.problem.selection_loss, self.target_classes)

    def _usable(self, gradient: Tensor) -> Tensor:
        """Return the gradient, zero where it is not finite; both are counted."""
        finite = torch.isfinite(gradient).flatten(1).all(dim=1)
        gradient = torch.where(spread(finite, gradient), gradient, 0.0)
        blind = ~(gradient != 0).flatten(1).any(dim=1)
        self.search.nonfinite_gradients[self.rows] += (~finite).view(-1, self.each).sum(dim=1)
        self.search.blind[self.rows] += blind.view(-1, self.each).sum(dim=1)
        return gradient


def _any(which: Tensor, each: int) -> Tensor:
    """Return for every point whether any point of its row is among those, bool."""
    return which.view(-1, each).any(dim=1).repeat_interleave(each)
