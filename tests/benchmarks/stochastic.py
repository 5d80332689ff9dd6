"""A defence that answers at random: Gaussian noise on the pixels in front of a network trained without any.

    python -m tests.benchmarks.stochastic [--count 300] [--settings]

Side by side, on the same points, in accuracy over fresh draws that no attack has seen: the robustness axis with
`cascade`, official AutoAttack's version `rand`, PGD in 20 steps that asks once per step, and PGD in 20 steps that
follows the mean gradient of 20 draws (expectation over transformation, Athalye et al. 2018). A pass is one sample
through the network forward or backward, the draws that judge a result are counted on the suite's side only. The table
goes to tests/benchmarks/results/stochastic.md; with --settings other budgets of the suite's ascent follow, printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from suite.attacks.constraints import constraint
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.problem import Problem
from suite.attacks.rng import as_seeds
from suite.axes.robustness.axis import DRAWS, Robustness
from suite.kinds.classification.kind import Classification
from tests.attacks.fakes import Before, shaken
from tests.benchmarks import zoo
from tests.benchmarks.masks import RESULTS, World, context_of, digits_world
from tests.benchmarks.reference import Counted, autoattack

Array = np.ndarray

SETTINGS = (
    *((20, 8, "margin"), (20, 8, "ce"), (20, 8, "scaled_ce"), (20, 8, "probability_margin")),
    *((40, 4, "margin"), (40, 4, "ce"), (80, 2, "margin"), (80, 2, "ce"), (160, 1, "ce"), (10, 16, "ce")),
)
"""Steps, draws per step and loss of the ascents that --settings compares."""


@dataclass(frozen=True)
class Outcome:
    """What one attack leaves.

    Attributes:
        held: how often the model is right about each sample over fresh draws, (n,) in [0, 1].
        passes: per sample.
        seconds: wall time.
        note: what else is to be said.
    """

    held: Array
    passes: float
    seconds: float
    note: str = ""

    def against(self, other: Outcome) -> str:
        """Return the mean difference to another attack in points, with its 95 % interval over samples."""
        gap = 100 * (self.held - other.held)
        return f"{gap.mean():+.1f} ± {1.96 * gap.std(ddof=1) / len(gap) ** 0.5:.1f}"


def mnist_world(count: int) -> World:
    """Return MNIST with a network of the zoo that was trained on clean images."""
    pixels, labels = zoo.points("mnist", "judged")
    base = zoo.load(zoo.entry("judged-mnist-cnn"))
    return World("mnist", base, base, zoo.points("mnist", "train"), (pixels[:count], labels[:count]), eps=0.1)


def measured(module: nn.Module, world: World, attack: Callable[[nn.Module], Tensor], seed: int = 0) -> Outcome:
    """Run an attack on a counted model and ask the model many times about what it found."""
    counted, began = Counted(module), time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        points = attack(counted)
        seconds = time.perf_counter() - began
        held = share_wrong(module, points, world.test[1])
    return Outcome(held, counted.passes / len(points), seconds)


def share_wrong(module: nn.Module, points: Tensor, labels: Tensor) -> Array:
    """Return how often a model is right about each point over fresh draws, (n,)."""
    problem = replace(Problem.of(Classification(), module), draws=DRAWS)
    return 1 - problem.outcome(points, labels).double().numpy()


def suite(module: nn.Module, world: World) -> Outcome:
    """Measure the robustness axis: its columns hold the shares of right answers over fresh draws."""
    began = time.perf_counter()
    finding = Robustness(f"cascade(eps=[{world.eps}])").measure(context_of(module, world))
    seconds = time.perf_counter() - began
    row = next(item for item in finding.measures if item.metric == "robust_accuracy")
    count, passes = len(world.test[1]), finding.details["passes"]
    failed = [name for name, status in row.checks.items() if status == "fail"]
    note = f"{row.verdict}; with all checks {passes['with checks'] / count:,.0f}" + (f"; {failed}" if failed else "")
    held = np.asarray(finding.samples[f"robust@{world.eps!r}"], dtype=float)
    return Outcome(held, passes["attack"] / count, seconds, note)


def pgd(world: World, draws: int, steps: int = 20) -> Callable[[nn.Module], Tensor]:
    """Return textbook PGD: cross-entropy, signs, a step of 2.5 eps / steps, the last iterate; `draws` a step."""
    (pixels, labels), eps = world.test, world.eps

    def attack(module: nn.Module) -> Tensor:
        point = (pixels + (2 * torch.rand_like(pixels) - 1) * eps).clamp(0, 1)
        for _ in range(steps):
            total = torch.zeros_like(point)
            for _ in range(draws):
                point.requires_grad_()
                cost = nn.functional.cross_entropy(module(point), labels, reduction="sum")
                total += torch.autograd.grad(cost, point)[0]
            moved = point.detach() + 2.5 * eps / steps * total.sign()
            point = (pixels + (moved - pixels).clamp(-eps, eps)).clamp(0, 1)
        return point

    return attack


def ascent(world: World, budget: Budget, draws: int) -> Callable[[nn.Module], Tensor]:
    """Return the suite's ascent with another budget."""
    pixels, labels = world.test

    def attack(module: nn.Module) -> Tensor:
        problem = replace(Problem.of(Classification(), module), average=draws)
        search = Search.of(pixels, labels, world.eps, as_seeds(range(len(pixels)), pixels.device))
        maximize(problem, search, constraint("linf"), budget, rows=torch.arange(len(pixels)))
        return search.best

    return attack


def settings(module: nn.Module, world: World) -> Iterator[str]:
    """Yield a line per budget of the suite's own ascent, against the mean of 20 draws a step."""
    averaged = measured(module, world, pgd(world, 20))
    yield f"EOT-20: {100 * averaged.held.mean():.1f} at {averaged.passes:.0f} passes"
    for steps, draws, loss in SETTINGS:
        budget = Budget(steps, loss, stop=False, last=True)
        found = measured(module, world, ascent(world, budget, draws))
        yield (
            f"{steps} steps x {draws} draws, {loss}: {100 * found.held.mean():.1f} "
            f"({found.against(averaged)} to EOT-20) at {found.passes:.0f} passes"
        )


def compared(module: nn.Module, world: World) -> Iterator[tuple[str, Outcome]]:
    """Yield every attack's outcome by name."""
    yield "no attack", measured(module, world, lambda counted: world.test[0])
    yield "suite: axis with cascade", suite(module, world)
    yield "PGD, 20 steps, one draw", measured(module, world, pgd(world, 1))
    yield "PGD, 20 steps x 20 draws", measured(module, world, pgd(world, 20))
    told = autoattack(module, *world.test, "linf", world.eps, version="rand")
    held = share_wrong(module, told.adversarial, world.test[1])
    note = f"it claims {100 * told.by_stage.get('apgd-dlr', told.accuracy):.1f}"
    yield "AutoAttack rand", Outcome(held, told.passes / len(held), told.seconds, note)


def report(world: World) -> Iterator[str]:
    """Yield the lines of the result."""
    module = Before(world.base, shaken).eval()
    yield f"# Gaussian noise of sd 0.3 on {world.name}: {len(world.test[1])} points, Linf eps {world.eps}"
    yield ""
    yield f"Accuracy in percent, the mean over {DRAWS} fresh draws. Written by `python -m tests.benchmarks.stochastic`."
    yield ""
    yield "| attack | accuracy | suite minus this | passes per point | seconds | |\n|---|---|---|---|---|---|"
    found = {}
    for name, outcome in compared(module, world):
        found[name] = outcome
        own = found.get("suite: axis with cascade")
        gap = own.against(outcome) if own and outcome is not own else "-"
        accuracy = 100 * outcome.held.mean()
        yield f"| {name} | {accuracy:.1f} | {gap} | {outcome.passes:,.0f} | {outcome.seconds:.0f} | {outcome.note} |"
    own, reference = found["suite: axis with cascade"], found["AutoAttack rand"]
    below = 100 * (reference.held.mean() - own.held.mean())
    yield ""
    yield f"{below:.1f} points below AutoAttack rand at 1/{reference.passes / own.passes:.1f} of its passes."


def main() -> None:
    """Run the comparison and write the table, or try other budgets."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=300)
    options.add_argument("--digits", action="store_true", help="the small digits instead of MNIST; nothing is written")
    options.add_argument("--settings", action="store_true", help="compare budgets instead; nothing is written")
    asked = options.parse_args()
    torch.set_num_threads(1)
    world = digits_world(asked.count) if asked.digits else mnist_world(asked.count)
    lines = []
    for text in settings(Before(world.base, shaken).eval(), world) if asked.settings else report(world):
        print(text, flush=True)
        lines.append(text)
    if not (asked.settings or asked.digits):
        (RESULTS / "stochastic.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
