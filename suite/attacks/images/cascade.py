"""The cascade: cheap attacks on all samples, then more expensive ones on the samples closest to the decision boundary.

The margin at the best point so far predicts well which samples more steps would still break: on the models used to
choose the plans, nearly all samples that were broken late were among the closest tenth. So each stage works on a share
of the remaining samples, and a budget that would be infeasible for all samples is affordable.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor

from suite.attacks.diagnostics.probes import SAMPLES
from suite.attacks.diagnostics.workarounds import Workaround, find_workaround
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
class Stage:
    """One stage of gradient ascents.

    Attributes:
        share: share of the remaining samples to work on, those with the highest margin first.
        steps: gradient steps of an ascent.
        goals: number of target classes, with one ascent for each; 0 for one untargeted ascent.
        loss: the kind's loss that is maximized.
        start: where ascents start, see `Budget`.
    """

    share: float
    steps: int
    goals: int = 0
    loss: str = "margin"
    start: str = "random"


PLANS: Mapping[str, tuple[Stage, ...]] = MappingProxyType(
    {
        "quick": (
            Stage(1, 5, loss="scaled_ce", start="clean"),
            Stage(0.7, 6, 3),
            Stage(0.3, 10, 5),
            Stage(0.06, 15, 6),
        ),
        "standard": (
            Stage(1, 6, loss="scaled_ce", start="clean"),
            Stage(0.8, 8, 3),
            Stage(0.4, 15, 9),
            Stage(0.15, 50, 9),
            Stage(0.1, 100, 9, loss="dlr"),
            Stage(0.05, 100, 9),
            Stage(0.05, 200, loss="scaled_ce"),
        ),
        "max": (
            Stage(1, 10, loss="scaled_ce", start="clean"),
            Stage(1, 20, 9),
            Stage(1, 50),
            Stage(0.6, 50, 9),
            Stage(0.3, 100, 9, loss="dlr"),
            Stage(0.1, 200, 9, loss="scaled_ce"),
        ),
    }
)
"""The stages of each tier."""

SQUARE: Mapping[str, tuple[float, int]] = MappingProxyType(
    {"quick": (0, 0), "standard": (0.1, 200), "max": (0.5, 1000)}
)
"""By tier: the share of the remaining samples that the Square Attack works on, and its queries."""

QUERIES = 1000
"""Queries for every remaining sample, once there is evidence that gradient ascents miss adversarial examples."""

LATE = 50
"""Minimum steps of a late stage; models without gradient masking hardly lose another sample in such stages."""

LATE_SHARE = 0.01
"""If a larger share of all samples is broken in late stages, ascents alone are not trusted: gradients are masked, most
likely because eps is larger than in training."""

LATE_COUNT = 3
"""Most samples that may be broken in late stages whatever their share: in a small cohort a few of them say little."""

BOUNDARY = 50
"""Steps of each run of the boundary attack on such a model, which finds what ascents at a fixed eps miss."""

ROUNDS = 3
"""Maximum number of rounds of such queries; another round starts only if the last one broke a sample."""

RANDOM = Budget(20, stop=False, last=True)
"""The ascent against a stochastic model; every step follows the mean of several gradients."""


@attack(name="cascade")
@dataclass(frozen=True)
class Cascade(NormAttack):
    """Cheap attacks on all samples, expensive ones near the decision boundary, and workarounds for masked gradients.

    Attributes:
        tier: ``quick``, ``standard`` or ``max``.
        times: factor by which the steps of every stage are multiplied.
    """

    tier: str = "standard"
    times: int = 1
    _workaround: Workaround | None = None
    _transfer: Transfer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tier not in PLANS:
            raise SpecError(f"cascade has the tiers {', '.join(PLANS)}; got tier={self.tier!r}.")

    @property
    def workarounds(self) -> Mapping[str, str]:
        """Failed probes that the attack handles, by name, each with its workaround."""
        return self._workaround.handled if self._workaround else {}

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack with workarounds for the model's failed probes."""
        bounded = super().fit(problem, training, seed=seed)
        if not any(item.status == "fail" for item in problem.probes.values()):
            return bounded
        pixels, targets = training()
        right = (problem.outcome(pixels[:SAMPLES], targets[:SAMPLES]) < 0.5).nonzero()[:, 0]
        workaround = find_workaround(problem, pixels[right], targets[right])
        learned = workaround.no_gradient and len(pixels) > 0
        transfer = Transfer(self.eps, self.norm).fit(problem, training, seed=seed) if learned else None
        return replace(bounded, _workaround=workaround, _transfer=transfer)

    def state(self) -> dict[str, Any]:
        """Return the range of the inputs, the workaround, and the state of the transfer attack."""
        workaround = None if self._workaround is None else asdict(self._workaround)
        transfer = None if self._transfer is None else self._transfer.state()
        return super().state() | {"workaround": workaround, "transfer": transfer}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack with the workaround and the transfer attack."""
        workaround, transfer = state["workaround"], state["transfer"]
        return replace(
            super().with_state(state, problem),
            _workaround=None if workaround is None else Workaround(**workaround),
            _transfer=None if transfer is None else Transfer(self.eps, self.norm).with_state(transfer, problem),
        )

    @property
    def plan(self) -> tuple[Stage, ...]:
        """The stages, in order."""
        return tuple(replace(stage, steps=self.times * stage.steps) for stage in PLANS[self.tier])

    def with_double_steps(self) -> Self:
        """Return the attack with twice the steps in every stage."""
        return replace(self, times=2 * self.times)

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return the first misclassified point of each sample, or the one with the highest margin."""
        return self.explored(problem, pixels, targets, size, seeds)[0].best

    def explored(
        self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor
    ) -> tuple[Search, list[str]]:
        """Return the search, and the names of its stages."""
        guided = self._workaround.applied(problem) if self._workaround else problem
        search = Search.of(pixels, targets, size, seeds)
        everyone = torch.arange(len(pixels), device=pixels.device)
        if guided.average > 1:
            budget = replace(RANDOM, steps=self.times * RANDOM.steps)
            maximize(guided, search, self.constraint, budget, rows=everyone)
            return search, ["mean of gradients"]
        run = _Run(problem, guided, search, self)
        run.run(everyone)
        return search, run.stages


@dataclass
class _Run:
    """One run of the cascade, and the names of the stages so far."""

    problem: Problem
    guided: Problem
    search: Search
    attack: Cascade
    stages: list[str] = field(default_factory=list)
    stream: int = 0

    def run(self, everyone: Tensor) -> None:
        """Run all stages, then searches without gradients, as the tier and the model's flags require."""
        self.begin("clean")
        self.search.evaluate(self.problem, everyone, self.search.pixels)
        masked, no_gradient = False, self.attack._workaround is not None and self.attack._workaround.no_gradient
        if not no_gradient:
            broken = [(stage.steps >= LATE * self.attack.times, self.ascend(stage)) for stage in self.attack.plan]
            if sum(count for late, count in broken if late) > max(LATE_SHARE * len(everyone), LATE_COUNT):
                masked = self.boundary() > 0
        unconfirmed = self.search.confirm(self.problem, self.search.misclassified.nonzero()[:, 0])
        if no_gradient:
            self.transfer()
        share, queries = SQUARE[self.attack.tier]
        missed = self.square(share, queries) if queries else 0
        for _ in range(ROUNDS if missed or unconfirmed or masked or no_gradient or self.attack.workarounds else 0):
            if not self.square(1, QUERIES):
                break
            if not no_gradient:
                self.ascend(Stage(1, 20, start="best"))

    def begin(self, name: str) -> None:
        """Begin a stage."""
        self.search.stage = len(self.stages)
        self.stages.append(name)

    def ascend(self, stage: Stage) -> int:
        """Run one stage on its share of the samples; return how many it broke."""
        rows, before = self.search.nearest(stage.share), int(self.search.misclassified.sum())
        budget = Budget(stage.steps, stage.loss, stage.start)
        name = f"{stage.loss} towards {stage.goals} rivals" if stage.goals else stage.loss
        self.begin(f"{name}, {stage.steps} steps")
        classes = self.search.rivals(self.problem, rows, stage.goals) if stage.goals else None
        stream, ball = self.next(max(1, stage.goals)), self.attack.constraint
        maximize(self.guided, self.search, ball, budget, rows=rows, target_classes=classes, stream=stream)
        return int(self.search.misclassified.sum()) - before

    def boundary(self) -> int:
        """Run the boundary attack on the remaining samples; return how many are broken within eps."""
        self.begin("boundary")
        search, rows = self.search, self.search.remaining
        if self.attack.norm not in Boundary.norms:
            return 0
        boundary = Boundary(self.attack.eps, self.attack.norm, steps=BOUNDARY, aimed=9)
        points, distance = boundary.smallest(self.guided, search.pixels[rows], search.targets[rows], search.seeds[rows])
        close = distance <= search.eps[rows]
        search.evaluate(self.problem, rows[close], points[close])
        return int(search.misclassified[rows].sum())

    def next(self, count: int = 1) -> int:
        """Return the first of some unused streams of random numbers."""
        self.stream += count
        return self.stream - count + 1

    def transfer(self) -> None:
        """Evaluate adversarial examples of a surrogate."""
        self.begin("transfer from a surrogate")
        search, rows = self.search, self.search.remaining
        if self.attack._transfer is None or not len(rows):
            return
        arguments = search.pixels[rows], search.targets[rows], float(search.eps[0]), search.seeds[rows]
        search.evaluate(self.problem, rows, self.attack._transfer.perturb(self.problem, *arguments))

    def square(self, share: float, queries: int) -> int:
        """Run the Square Attack on a share of the remaining samples; return how many it broke."""
        self.begin(f"square, {queries} queries")
        search, rows = self.search, self.search.nearest(share)
        if not len(rows) or self.attack.norm not in Square.norms:
            return 0
        seeds = search.seeds[rows] + 7919 * self.next()  # another search each time
        square = Square(self.attack.eps, self.attack.norm, queries=queries)
        targets, eps = search.targets[rows], search.eps[rows].double()
        points, _, misclassified = square.search(self.problem, search.pixels[rows], targets, eps, seeds)
        search.evaluate(self.problem, rows, points)
        return int(misclassified.sum())
