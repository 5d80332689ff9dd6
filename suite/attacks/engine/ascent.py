"""Gradient ascent on an attack loss inside a constraint, for a fixed number of steps and a batch of samples at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import torch
from torch import Tensor

from suite.attacks.constraints import Constraint
from suite.attacks.constraints.base import all_finite, spread
from suite.attacks.engine.problem import Problem

CHECK_EVERY = 8
"""Steps between two removals of finished samples on an accelerator, where each removal forces a synchronization."""


class Steps(Protocol):
    """A rule for the length of each step of an ascent."""

    def update(self, point: Tensor, gradient: Tensor, score: Callable[[], Tensor]) -> None:
        """Record the gradient at the current point, and the ranking loss there if the rule needs it."""

    def step_from(
        self, step: int, constraint: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor
    ) -> Tensor:
        """Return the next point."""

    def rows(self, index: Tensor) -> Self:
        """Return the rule for some of the samples."""


@dataclass(frozen=True)
class Cosine:
    """Steps whose length decays from `Budget.first` to zero along a cosine."""

    first: float
    steps: int

    @classmethod
    def begin(cls, point: Tensor, eps: Tensor, budget: Budget) -> Self:
        """Return the rule for one ascent."""
        return cls(budget.first, budget.steps)

    def update(self, point: Tensor, gradient: Tensor, score: Callable[[], Tensor]) -> None:
        """Record nothing: the step lengths are fixed."""

    def step_from(
        self, step: int, constraint: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor
    ) -> Tensor:
        """Return the point after one step along the gradient."""
        share = self.first * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return constraint.clip(point + spread(eps * share, point) * constraint.direction(gradient, point), clean, eps)

    def rows(self, index: Tensor) -> Self:
        """Return the rule itself; it is the same for all samples."""
        return self


@dataclass(frozen=True)
class Budget:
    """The settings of one ascent.

    Attributes:
        steps: gradient steps; a sample that stays correctly classified costs one forward and one backward pass per
            step, and one more forward pass.
        loss: name of the kind's loss that is maximized.
        start: ``random``, ``clean`` or ``best``, the best point so far.
        first: length of the first step as a share of eps.
        stop: drop samples as soon as they are misclassified; off for adversarial training.
        last: keep the last point instead of the best one: for a randomized model the best point may just be a
            lucky draw. With several target classes, keep the point of the last class.
        step_rule: function of (start, eps, budget) that returns the rule for the step lengths.
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
    """The results so far of attacks on a set of samples.

    Attributes:
        pixels, targets, eps, seeds: the clean samples (n, ...), and the target, radius and seed of each.
        best: the point with the highest ranking loss, (n, ...); at first the clean sample.
        score: the ranking loss at `best`, (n,) in float64.
        misclassified: whether each sample is misclassified at its best point, bool (n,).
        invalid: where the model returned NaN or infinity, bool (n,); such a sample counts neither as robust nor as
            misclassified.
        nonfinite_gradients: number of gradients with NaN or infinity, (n,).
        rung: number of the stage in which each sample was first misclassified, (n,); -1 for none.
        stage: number of the current stage.
    """

    pixels: Tensor
    targets: Tensor
    eps: Tensor
    seeds: Tensor
    best: Tensor
    score: Tensor
    misclassified: Tensor
    invalid: Tensor
    nonfinite_gradients: Tensor
    rung: Tensor
    stage: int = 0

    @classmethod
    def of(cls, pixels: Tensor, targets: Tensor, eps: float | Tensor, seeds: Tensor) -> Self:
        """Return a search before any attack."""
        count, device = len(pixels), pixels.device
        return cls(
            pixels,
            targets,
            eps.to(pixels) if isinstance(eps, Tensor) else torch.full((count,), float(eps), device=device),
            seeds.to(device),
            best=pixels.clone(),
            score=torch.full((count,), -math.inf, dtype=torch.float64, device=device),
            misclassified=torch.zeros(count, dtype=torch.bool, device=device),
            invalid=torch.zeros(count, dtype=torch.bool, device=device),
            nonfinite_gradients=torch.zeros(count, dtype=torch.int64, device=device),
            rung=torch.full((count,), -1, dtype=torch.int64, device=device),
        )

    @property
    def remaining(self) -> Tensor:
        """Rows of the samples whose prediction no attack has changed yet, (k,)."""
        return (~(self.misclassified | self.invalid)).nonzero()[:, 0]

    def nearest(self, share: float) -> Tensor:
        """Return the rows of the given share of the remaining samples with the highest score, highest first."""
        rows = self.remaining
        count = math.ceil(share * len(rows) - 1e-9)
        return rows[self.score[rows].argsort(descending=True, stable=True)[:count]]

    def update(self, problem: Problem, rows: Tensor, points: Tensor, output: Tensor) -> Tensor:
        """Record the model's output at some points; return which of the rows are finished, bool (k,).

        A score of NaN is never the best, and a sample with a non-finite output is never misclassified.

        Args:
            problem: the model.
            rows: the rows, each once, (k,).
            points: one or more points for each row, those of one row in succession, (k * each, ...).
            output: the model's output at the points.
        """
        each = len(points) // max(1, len(rows))
        targets = self.targets[rows].repeat_interleave(each, dim=0)
        finite = all_finite(output)
        score = problem.loss(output, targets, problem.ranking_loss, None).double()
        misclassified = problem.misclassified(output, targets) & finite
        score = torch.where(finite & ~score.isnan(), score, -math.inf)
        invalid = ~finite.view(-1, each).all(dim=1)
        if each > 1:  # keep the best point of each row; a misclassified one beats any other
            succeeded = misclassified.view(-1, each).any(dim=1).repeat_interleave(each)
            ranked = torch.where(succeeded & ~misclassified, -math.inf, score).view(-1, each)
            chosen = ranked.argmax(dim=1) + each * torch.arange(len(rows), device=rows.device)
            points, score, misclassified = points[chosen], score[chosen], misclassified[chosen]
        better = (misclassified & ~self.misclassified[rows]) | (
            (score > self.score[rows]) & (misclassified | ~self.misclassified[rows])
        )
        self.best[rows] = torch.where(spread(better, points), points, self.best[rows])
        self.score[rows] = torch.where(better, score, self.score[rows])
        self.rung[rows] = torch.where(misclassified & (self.rung[rows] < 0), self.stage, self.rung[rows])
        self.misclassified[rows] |= misclassified
        self.invalid[rows] |= invalid
        return misclassified | invalid

    def evaluate(self, problem: Problem, rows: Tensor, points: Tensor) -> None:
        """Evaluate the model at one point for each of some rows, and record the results."""
        with torch.no_grad():
            for chunk in problem.chunks(len(rows)):
                self.update(problem, rows[chunk], points[chunk], problem.forward(points[chunk]))

    def rivals(self, problem: Problem, rows: Tensor, count: int) -> Tensor:
        """Return the nearest target classes at the best points of some rows, (len(rows), count or fewer)."""
        classes = [torch.zeros((0, 0), dtype=torch.int64, device=rows.device)] if not len(rows) else []
        with torch.no_grad():
            for chunk in problem.chunks(len(rows)):
                output = problem.forward(self.best[rows[chunk]])
                classes.append(problem.rivals(output, self.targets[rows[chunk]], count))
        return torch.cat(classes)

    def confirm(self, problem: Problem, rows: Tensor) -> int:
        """Evaluate misclassified rows without gradients, reset those the model gets right, and return their number."""
        wrong = rows[problem.outcome(self.best[rows], self.targets[rows]) < 0.5]
        self.misclassified[wrong], self.rung[wrong] = False, -1
        self.best[wrong], self.score[wrong] = self.pixels[wrong], -math.inf
        return len(wrong)


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
    """Run one ascent for each row, or for each of its target classes, and record the results in the search.

    Args:
        problem: the model.
        search: the samples and the best points so far; changed in place.
        constraint: the allowed perturbations.
        budget: loss, start and steps.
        rows: the rows to attack, each at most once; None for all that remain.
        target_classes: the classes to aim at for each row, (len(rows), classes per row). All are attacked in parallel,
            and a row is dropped as soon as one of them succeeds.
        stream: number of the first ascent; other numbers give other random starts. Each target class takes one number.
    """
    chosen = search.remaining if rows is None else rows
    each = 1 if target_classes is None else target_classes.shape[1]
    if not each:
        return
    # Never split the target classes of a row: its result must not depend on how many fit into a forward pass.
    width = max(1, problem.batch_size // each)
    for begin in range(0, len(chosen), width):
        part = slice(begin, begin + width)
        classes = None if target_classes is None else target_classes[part].flatten()
        _Ascent(problem, search, budget, stream, chosen[part], classes, each).run(constraint)


@dataclass
class _Ascent:
    """The ascent of one batch, which holds each row once per target class."""

    problem: Problem
    search: Search
    budget: Budget
    stream: int
    rows: Tensor
    target_classes: Tensor | None
    each: int

    def run(self, constraint: Constraint) -> None:
        """Take all steps and drop finished samples from the batch."""
        problem, search, budget = self.problem, self.search, self.budget
        paths = self.rows.repeat_interleave(self.each)
        clean, targets, eps = search.pixels[paths], search.targets[paths], search.eps[paths]
        point = self._start(constraint, paths)
        rule = budget.step_rule(point, eps, budget)
        done = torch.zeros(len(self.rows), dtype=torch.bool, device=point.device)
        wait = 1 if point.device.type == "cpu" else CHECK_EVERY
        for step in range(budget.steps):
            progress = step / budget.steps
            gradient, output = problem.gradient(point, targets, budget.loss, self.target_classes, progress)
            done = done | search.update(problem, self.rows, point, output)
            gradient = self._usable(gradient)
            score = partial(problem.loss, output, targets, problem.ranking_loss, self.target_classes)
            rule.update(point, gradient, score)
            if budget.stop and step % wait == 0 and bool(done.any()):
                done = self._confirmed(done)
                keep = (~done).repeat_interleave(self.each).nonzero()[:, 0]
                self.rows, done = self.rows[~done], done[~done]
                if not len(keep):
                    return
                rule = rule.rows(keep)
                self.target_classes = None if self.target_classes is None else self.target_classes[keep]
                clean, targets, eps, point, gradient = (part[keep] for part in (clean, targets, eps, point, gradient))
            point = rule.step_from(step, constraint, point, gradient, clean, eps)
        if not budget.last:
            self._confirmed(done)
        with torch.no_grad():
            search.update(problem, self.rows, point, problem.forward(point))
        if budget.last:
            search.best[self.rows] = point.view(len(self.rows), self.each, *point.shape[1:])[:, -1]

    def _start(self, constraint: Constraint, paths: Tensor) -> Tensor:
        search = self.search
        if self.budget.start == "random":
            numbers = self.stream + torch.arange(len(paths), device=paths.device) % self.each
            return constraint.start(search.pixels[paths], search.eps[paths], search.seeds[paths], numbers)
        return search.best[paths] if self.budget.start == "best" else search.pixels[paths]

    def _confirmed(self, done: Tensor) -> Tensor:
        """Return which rows are finished, bool (k,); with a guide, the model itself is evaluated to confirm it."""
        if self.problem.guide is None:
            return done
        self.search.invalid[self.rows] = False  # set by the guide: rows with an invalid model output are not attacked
        self.search.confirm(self.problem, self.rows[done])
        return self.search.misclassified[self.rows]

    def _usable(self, gradient: Tensor) -> Tensor:
        """Return the gradient, with non-finite ones counted and set to zero."""
        finite = all_finite(gradient)
        self.search.nonfinite_gradients[self.rows] += (~finite).view(-1, self.each).sum(dim=1)
        return torch.where(spread(finite, gradient), gradient, 0.0)
