"""The cascade: cheap attacks on all samples, then ever dearer ones on the few that are nearest to falling.

How near a sample is, its margin at the best point so far, tells well which samples more steps would still break: on
the models the plans were chosen on, nearly all that fell late were among the nearest tenth. So each rung works on a
share of the samples that still stand, and a budget that would be hopeless on all of them is small.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor

from suite.attacks.diagnostics.probes import SAMPLES
from suite.attacks.diagnostics.remedies import Remedy, find_remedy
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.base import Training
from suite.attacks.engine.problem import Problem
from suite.attacks.images.boundary import Boundary
from suite.attacks.images.gradient import NormAttack
from suite.attacks.images.square import Square
from suite.attacks.images.transfer import Transfer
from suite.decorators import attack
from suite.errors import SpecError


@dataclass(frozen=True)
class Rung:
    """One round of ascents.

    Attributes:
        share: of the samples that still stand, the nearest to falling first.
        steps: gradient steps of an ascent.
        goals: how many rivals are aimed at in turn, one ascent for each; 0 for one untargeted ascent.
        loss: the kind's loss.
        start: where ascents start, see `Budget`.
    """

    share: float
    steps: int
    goals: int = 0
    loss: str = "margin"
    start: str = "random"


PLANS: Mapping[str, tuple[Rung, ...]] = MappingProxyType(
    {
        "quick": (
            Rung(1, 5, loss="scaled_ce", start="clean"),
            Rung(0.7, 6, 3),
            Rung(0.3, 10, 5),
            Rung(0.06, 15, 6),
        ),
        "standard": (
            Rung(1, 6, loss="scaled_ce", start="clean"),
            Rung(0.8, 8, 3),
            Rung(0.4, 15, 9),
            Rung(0.15, 50, 9),
            Rung(0.1, 100, 9, loss="dlr"),
            Rung(0.05, 100, 9),
            Rung(0.05, 200, loss="scaled_ce"),
        ),
        "max": (
            Rung(1, 10, loss="scaled_ce", start="clean"),
            Rung(1, 20, 9),
            Rung(1, 50),
            Rung(0.6, 50, 9),
            Rung(0.3, 100, 9, loss="dlr"),
            Rung(0.1, 200, 9, loss="scaled_ce"),
        ),
    }
)
"""Rungs by tier."""


SIGHTS: Mapping[str, tuple[float, int]] = MappingProxyType(
    {"quick": (0, 0), "standard": (0.1, 200), "max": (0.5, 1000)}
)
"""By tier: the share of the samples still standing that are searched without gradients, and the queries for each."""

QUERIES = 1000
"""Queries for every sample still standing, once a search without gradients has found what gradients had missed."""

LATE = 50
"""Steps of a rung from which on honest models hardly lose another sample."""

STUBBORN = 0.01
"""Share of all samples that fall in such rungs from which on ascents alone are not trusted: the model masks, most
likely because it is attacked beyond what it was trained for."""

BOUNDARY = 50
"""Steps of each run towards the boundary of such a model, which finds what ascents at a fixed eps miss."""

ROUNDS = 3
"""Rounds of such queries at most; each must fool somebody for the next to begin."""

RANDOM = Budget(20, stop=False, last=True)
"""The ascent against a model that answers at random; every step follows the mean of many gradients."""


@attack(name="cascade")
@dataclass(frozen=True)
class Cascade(NormAttack):
    """Cheap attacks on all samples, dear ones on those nearest to falling, and a way round what hides gradients.

    Attributes:
        tier: ``quick``, ``standard`` or ``max``.
        times: by how much the steps of every rung are multiplied.
    """

    tier: str = "standard"
    times: int = 1
    _remedy: Remedy | None = None
    _transfer: Transfer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tier not in PLANS:
            raise SpecError(f"cascade has the tiers {', '.join(PLANS)}; got tier={self.tier!r}.")

    @property
    def cures(self) -> Mapping[str, str]:
        """Flags that the attack knows a way round, and the way."""
        return self._remedy.cures if self._remedy else {}

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with the remedies that the model's flags ask for."""
        if not any(item.status == "fail" for item in problem.probes.values()):
            return self
        pixels, targets = training()
        right = (problem.outcome(pixels[:SAMPLES], targets[:SAMPLES]) < 0.5).nonzero()[:, 0]
        remedy = find_remedy(problem, pixels[right], targets[right])
        learned = remedy.no_gradient and len(pixels) > 0
        transfer = Transfer(self.eps, self.norm).fit(problem, training, seed=seed) if learned else None
        return replace(self, _remedy=remedy, _transfer=transfer)

    @property
    def plan(self) -> tuple[Rung, ...]:
        """The rungs in turn."""
        return tuple(replace(rung, steps=self.times * rung.steps) for rung in PLANS[self.tier])

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps in every rung."""
        return replace(self, times=2 * self.times)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return, per sample, the first point that fools the model, else the one of the highest margin."""
        return self.explored(problem, pixels, targets, size, seeds)[0].best

    def explored(
        self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor
    ) -> tuple[Search, list[str]]:
        """Return the whole search, and the name of every stage by number."""
        guided = self._remedy.problem if self._remedy else problem
        search = Search.of(pixels, targets, size, seeds)
        everyone = torch.arange(len(pixels), device=pixels.device)
        if guided.average > 1:
            budget = replace(RANDOM, steps=self.times * RANDOM.steps)
            maximize(guided, search, self.constraint, budget, rows=everyone)
            return search, ["mean of gradients"]
        run = _Run(problem, guided, search, self)
        run.go(everyone)
        return search, run.stages


@dataclass
class _Run:
    """One cascade on its way: the stages so far, and what the model was caught at."""

    problem: Problem
    guided: Problem
    search: Search
    attack: Cascade
    stages: list[str] = field(default_factory=list)
    stream: int = 0

    def go(self, everyone: Tensor) -> None:
        """Climb all rungs, then look without gradients, as far as the tier and the model's flags ask for."""
        self.begin("clean")
        self.search.evaluate(self.problem, everyone, self.search.pixels)
        masked, no_gradient = False, self.attack._remedy is not None and self.attack._remedy.no_gradient
        if not no_gradient:
            fell = [(rung.steps >= LATE * self.attack.times, self.climb(rung)) for rung in self.attack.plan]
            if sum(count for late, count in fell if late) > STUBBORN * len(everyone):
                masked = self.nearest() > 0
        lied = self.search.confirm(self.problem, self.search.misclassified.nonzero()[:, 0])
        if no_gradient:
            self.transferred()
        share, queries = SIGHTS[self.attack.tier]
        found = self.queried(share, queries) if queries else 0
        for _ in range(ROUNDS if found or lied or masked or no_gradient or self.attack.cures else 0):
            if not self.queried(1, QUERIES):
                break
            if not no_gradient:
                self.climb(Rung(1, 20, start="best"))

    def begin(self, name: str) -> None:
        """Begin a stage."""
        self.search.stage = len(self.stages)
        self.stages.append(name)

    def climb(self, rung: Rung) -> int:
        """Run one rung on the samples nearest to falling; return how many fell."""
        rows, before = self.search.nearest(rung.share), int(self.search.misclassified.sum())
        budget = Budget(rung.steps, rung.loss, rung.start)
        name = f"{rung.loss} towards {rung.goals} rivals" if rung.goals else rung.loss
        self.begin(f"{name}, {rung.steps} steps")
        target_classes = self.search.rivals(self.problem, rows, rung.goals) if rung.goals else None
        first = self.next(max(1, rung.goals))
        maximize(
            self.guided,
            self.search,
            self.attack.constraint,
            budget,
            rows=rows,
            target_classes=target_classes,
            stream=first,
        )
        return int(self.search.misclassified.sum()) - before

    def nearest(self) -> int:
        """Look for the nearest point that fools each sample still standing; return how many lie within eps."""
        self.begin("boundary")
        search, rows = self.search, self.search.remaining
        if self.attack.norm not in ("linf", "l2"):
            return 0
        boundary = Boundary(self.attack.eps, self.attack.norm, steps=BOUNDARY, aimed=9)
        points, distance = boundary.smallest(self.guided, search.pixels[rows], search.targets[rows], search.seeds[rows])
        close = distance <= search.eps[rows]
        search.evaluate(self.problem, rows[close], points[close])
        return int(search.misclassified[rows].sum())

    def next(self, count: int = 1) -> int:
        """Return the first of some streams of random numbers that nobody has used."""
        self.stream += count
        return self.stream - count + 1

    def transferred(self) -> None:
        """Try what fools a surrogate."""
        self.begin("transfer from a surrogate")
        search, rows = self.search, self.search.remaining
        if self.attack._transfer is None or not len(rows):
            return
        arguments = search.pixels[rows], search.targets[rows], float(search.eps[0]), search.seeds[rows]
        search.evaluate(self.problem, rows, self.attack._transfer.perturb(self.problem, *arguments))

    def queried(self, share: float, queries: int) -> int:
        """Search at random with scores alone; return how many samples that gradients had left standing it fools."""
        self.begin(f"square, {queries} queries")
        search, rows = self.search, self.search.nearest(share)
        if not len(rows) or self.attack.norm not in ("linf", "l2"):
            return 0
        seeds = search.seeds[rows] + 7919 * self.next()  # another search each time
        square = Square(self.attack.eps, self.attack.norm, queries=queries)
        targets, eps = search.targets[rows], search.eps[rows].double()
        points, _, misclassified = square.search(self.problem, search.pixels[rows], targets, eps, seeds)
        search.evaluate(self.problem, rows, points)
        return int(misclassified.sum())
