"""Gradient ascent on an attack loss inside a constraint, for a fixed number of steps and many samples at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import torch
from torch import Tensor

from suite.attacks.constraints import Constraint
from suite.attacks.constraints.base import all_finite, spread
from suite.attacks.engine.paths import Cosine, PerPath, Steps
from suite.attacks.engine.problem import Problem

CHECK_EVERY = 8
"""Sweeps between two removals of finished rows on an accelerator, where each removal forces a synchronization."""

HELD = 2**24
"""Maximum number of elements of a tensor of the paths that are worked on, 64 MiB, or one batch if that is larger."""


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
    if each and len(chosen):
        _Ascent(problem, search, constraint, budget, chosen, target_classes, each, stream).run()


@dataclass
class _Paths(PerPath):
    """Paths of the ascent, those of one row in succession.

    Attributes:
        rows: the row of each path, (k,).
        steps: steps taken so far, (k,) on the CPU.
        done: whether some path of the same row has finished the row, bool (k,).
        point: (k, ...).
        clean, targets, eps: those of the row.
        target_classes: the class that each path aims at, (k,); None for any wrong one.
        rule: the rule for the step lengths.
    """

    rows: Tensor
    steps: Tensor
    done: Tensor
    point: Tensor
    clean: Tensor
    targets: Tensor
    eps: Tensor
    target_classes: Tensor | None
    rule: Steps


@dataclass
class _Ascent:
    """One ascent for each row and target class, in full batches over all rows.

    A *sweep* takes one step on as many paths as fill whole batches; the others, those that have taken the most steps,
    wait for the next sweep. Paths of one row are at the same step. After a sweep finished rows leave, and rows that
    have not begun take their place. So only the last batches are padded. What happens to a row depends on no other.
    """

    problem: Problem
    search: Search
    constraint: Constraint
    budget: Budget
    rows: Tensor
    target_classes: Tensor | None
    each: int
    stream: int
    begun: int = 0
    sweeps: int = 0
    last: list[_Paths] = field(default_factory=list)

    def run(self) -> None:
        """Take all steps of all paths."""
        paths = self._admitted([])
        while paths is not None:
            count = self._count(len(paths.rows))
            block = self.each * self.problem.batch_size  # whole rows in whole batches
            parts = [paths.take(slice(at, min(at + block, count))) for at in range(0, count, block)]
            for part in parts:
                self._advance(part)
            rest = [paths.take(slice(count, None))] if count < len(paths.rows) else []
            paths = self._admitted(self._staying([*rest, *parts]))
            self._evaluate_last(final=paths is None)

    def _admitted(self, parts: list[_Paths]) -> _Paths | None:
        """Return the paths with those of rows that begin now, in the order of the steps taken; None if all is done."""
        present, graded = sum(len(part.rows) for part in parts), self.problem.objective is not None
        width, held = self.problem.batch_size, HELD // max(1, self.search.pixels[0].numel())
        capacity = max(1, max(width, held // width * width) // self.each) - present // self.each
        # A graded objective depends on the share of steps taken, one number for a batch: its rows begin together.
        count = 0 if graded and present else min(capacity, len(self.rows) - self.begun)
        if count > 0:
            parts = [self._new(slice(self.begun, self.begun + count)), *parts]
            self.begun += count
        if not parts:
            return None
        paths = _Paths.joined(parts)
        in_order = bool((paths.steps.diff() >= 0).all())
        return paths if in_order else paths.take(paths.steps.argsort(stable=True))

    def _new(self, part: slice) -> _Paths:
        search, rows = self.search, self.rows[part].repeat_interleave(self.each)
        clean, eps = search.pixels[rows], search.eps[rows]
        classes = None if self.target_classes is None else self.target_classes[part].flatten()
        point = self._start(rows)
        rule = self.budget.step_rule(point, eps, self.budget)
        steps = torch.zeros(len(rows), dtype=torch.int64)
        done = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        return _Paths(rows, steps, done, point, clean, search.targets[rows], eps, classes, rule)

    def _start(self, rows: Tensor) -> Tensor:
        search = self.search
        if self.budget.start == "random":
            numbers = self.stream + torch.arange(len(rows), device=rows.device) % self.each
            return self.constraint.start(search.pixels[rows], search.eps[rows], search.seeds[rows], numbers)
        return search.best[rows] if self.budget.start == "best" else search.pixels[rows]

    def _count(self, present: int) -> int:
        """Return on how many of the paths the next sweep takes a step: whole rows that fill whole batches."""
        width = self.problem.batch_size
        if present < width or self.problem.objective is not None:
            return present
        return max(1, present // width * width // self.each) * self.each

    def _advance(self, part: _Paths) -> None:
        """Take one step on some paths and record the outputs."""
        problem, search, classes = self.problem, self.search, part.target_classes
        progress = int(part.steps[0]) / self.budget.steps
        gradient, output = problem.gradient(part.point, part.targets, self.budget.loss, classes, progress)
        done = search.update(problem, part.rows[:: self.each], part.point, output)
        part.done = part.done | done.repeat_interleave(self.each)
        gradient = self._usable(part, gradient)
        part.rule.update(
            part.point, gradient, partial(problem.loss, output, part.targets, problem.ranking_loss, classes)
        )
        part.point = part.rule.step_from(part.steps, self.constraint, part.point, gradient, part.clean, part.eps)
        part.steps = part.steps + 1

    def _usable(self, part: _Paths, gradient: Tensor) -> Tensor:
        """Return the gradient, with non-finite ones counted and set to zero."""
        finite = all_finite(gradient)
        self.search.nonfinite_gradients[part.rows[:: self.each]] += (~finite).view(-1, self.each).sum(dim=1)
        return torch.where(spread(finite, gradient), gradient, 0.0)

    def _staying(self, parts: list[_Paths]) -> list[_Paths]:
        """Return the paths of rows that are not finished, and set those aside that have taken all steps."""
        self.sweeps += 1
        finished = [part.steps == self.budget.steps for part in parts]
        on_cpu = self.rows.device.type == "cpu"
        if not (on_cpu or self.sweeps % CHECK_EVERY == 0 or any(bool(each.any()) for each in finished)):
            return parts
        done = torch.split(self._done(parts, torch.cat(finished)), [len(part.rows) for part in parts])
        staying = []
        for part, dropped, ended in zip(parts, done, finished, strict=True):
            if bool((ended & ~dropped).any()):
                self.last.append(part.take((ended & ~dropped).nonzero()[:, 0]))
            kept = (~(ended | dropped)).nonzero()[:, 0]
            if len(kept):
                staying.append(part if len(kept) == len(part.rows) else part.take(kept))
        return staying

    def _done(self, parts: list[_Paths], finished: Tensor) -> Tensor:
        """Return which paths belong to finished rows, bool (k,) on the CPU; the only synchronization of a sweep."""
        stop, guided = self.budget.stop, self.problem.guide is not None
        if not stop and (not guided or self.budget.last):
            return torch.zeros_like(finished)
        done = torch.cat([part.done for part in parts]).cpu()
        if not guided:
            return done
        return self._confirmed(parts, done if stop else done & finished)

    def _confirmed(self, parts: list[_Paths], done: Tensor) -> Tensor:
        """Evaluate the model itself where its guide is misclassified; return which rows really are."""
        search, rows = self.search, torch.cat([part.rows for part in parts])
        claimed = rows[done.to(rows.device)][:: self.each]
        if not len(claimed):
            return done
        search.invalid[claimed] = False  # set by the guide: rows with an invalid model output are not attacked
        search.confirm(self.problem, claimed)
        for part in parts:
            part.done = torch.zeros_like(part.done)
        return search.misclassified[rows].cpu() & done & self.budget.stop

    def _evaluate_last(self, *, final: bool) -> None:
        """Evaluate the last points of paths that have taken all steps: full batches now, the rest at the end."""
        if not self.last:
            return
        paths = _Paths.joined(self.last)
        present, width = len(paths.rows), self.problem.batch_size
        count = present if final else present // width * width // self.each * self.each
        self.last = [paths.take(slice(count, None))] if count < present else []
        rows, points = paths.rows[:count][:: self.each], paths.point[:count]
        with torch.no_grad():
            for part in self.problem.chunks(len(rows), batches=self.each):
                own = points[part.start * self.each : part.stop * self.each]
                self.search.update(self.problem, rows[part], own, self.problem.forward(own))
        if self.budget.last:
            self.search.best[rows] = points.view(len(rows), self.each, *points.shape[1:])[:, -1]
