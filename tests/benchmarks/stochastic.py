"""Attacks on a randomized defense: Gaussian input noise in front of a network trained without noise.

    python -m tests.benchmarks.stochastic [--count 300] [--settings]

Compares four attacks on the same samples by the accuracy over fresh draws: the robustness axis with `cascade`, version
`rand` of the official AutoAttack, 20-step PGD with one gradient per step, and 20-step PGD with the mean gradient of 20
draws (expectation over transformation, Athalye et al. 2018). A pass is one sample through the network, forward or
backward; the passes of the final evaluation are counted for the suite only. The table is written to
tests/benchmarks/results/stochastic.md; --settings prints a comparison of other budgets of the suite's ascent instead.
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
from suite.axes.robustness.axis import Robustness
from suite.axes.robustness.setup import DRAWS
from suite.kinds.classification.kind import Classification
from tests.attacks.fakes import Before, noisy_input
from tests.axes.contexts import finding_of
from tests.benchmarks import zoo
from tests.benchmarks.masks import RESULTS, Setup, context_of, digits_setup
from tests.benchmarks.reference import Counted, autoattack

Array = np.ndarray

SETTINGS = (
    *((20, 8, "margin"), (20, 8, "ce"), (20, 8, "scaled_ce"), (20, 8, "probability_margin")),
    *((40, 4, "margin"), (40, 4, "ce"), (80, 2, "margin"), (80, 2, "ce"), (160, 1, "ce"), (10, 16, "ce")),
)
"""Steps, draws per step and loss of the ascents compared by --settings."""


@dataclass(frozen=True)
class Outcome:
    """The result of one attack.

    Attributes:
        held: fraction of fresh draws in which each sample is classified correctly, (n,) in [0, 1].
        passes: passes per sample.
        seconds: wall time.
        note: remarks for the table.
    """

    held: Array
    passes: float
    seconds: float
    note: str = ""

    def against(self, other: Outcome) -> str:
        """Return the mean difference to another attack in percentage points, with its 95 % interval over samples."""
        gap = 100 * (self.held - other.held)
        return f"{gap.mean():+.1f} ± {1.96 * gap.std(ddof=1) / len(gap) ** 0.5:.1f}"


def mnist_setup(count: int) -> Setup:
    """Return the setup on MNIST with a network of the zoo trained on clean images."""
    pixels, labels = zoo.points("mnist", "test")
    base = zoo.load(zoo.entry("test-mnist-cnn"))
    return Setup("mnist", base, base, zoo.points("mnist", "train"), (pixels[:count], labels[:count]), eps=0.1)


def measured(module: nn.Module, setup: Setup, attack: Callable[[nn.Module], Tensor], seed: int = 0) -> Outcome:
    """Run an attack on a model with a pass counter and evaluate its result on many fresh draws."""
    counted, start = Counted(module), time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        points = attack(counted)
        seconds = time.perf_counter() - start
        held = share_correct(module, points, setup.test[1])
    return Outcome(held, counted.passes / len(points), seconds)


def share_correct(module: nn.Module, points: Tensor, labels: Tensor) -> Array:
    """Return the fraction of fresh draws in which each sample is classified correctly, (n,)."""
    problem = replace(Problem.of(Classification().kind(), module), draws=DRAWS)
    return 1 - problem.outcome(points, labels).double().numpy()


def suite(module: nn.Module, setup: Setup) -> Outcome:
    """Run the robustness axis; its columns hold the fractions of correct predictions over fresh draws."""
    start = time.perf_counter()
    finding = finding_of(Robustness(f"cascade(eps=[{setup.eps}])"), context_of(module, setup))
    seconds = time.perf_counter() - start
    row = next(item for item in finding.measures if item.metric == "robust_accuracy")
    count, passes = len(setup.test[1]), finding.facts["passes"]
    failed = [name for name, status in row.checks.items() if status == "fail"]
    note = f"{row.verdict}; with all checks {passes['with checks'] / count:,.0f}" + (f"; {failed}" if failed else "")
    held = np.asarray(finding.quality(setup.eps), dtype=float)
    return Outcome(held, passes["attack"] / count, seconds, note)


def pgd(setup: Setup, draws: int, steps: int = 20) -> Callable[[nn.Module], Tensor]:
    """Return PGD with sign steps of 2.5 eps / steps on the cross-entropy, `draws` gradients per step, last iterate."""
    (pixels, labels), eps = setup.test, setup.eps

    def attack(module: nn.Module) -> Tensor:
        point = (pixels + (2 * torch.rand_like(pixels) - 1) * eps).clamp(0, 1)
        for _ in range(steps):
            total = torch.zeros_like(point)
            for _ in range(draws):
                point.requires_grad_()
                cost = nn.functional.cross_entropy(module(point), labels, reduction="sum")
                total += torch.autograd.grad(cost, point)[0]
            perturbed = point.detach() + 2.5 * eps / steps * total.sign()
            point = (pixels + (perturbed - pixels).clamp(-eps, eps)).clamp(0, 1)
        return point

    return attack


def ascent(setup: Setup, budget: Budget, draws: int) -> Callable[[nn.Module], Tensor]:
    """Return the suite's ascent with another budget."""
    pixels, labels = setup.test

    def attack(module: nn.Module) -> Tensor:
        problem = replace(Problem.of(Classification().kind(), module), average=draws)
        search = Search.of(pixels, labels, setup.eps, as_seeds(range(len(pixels)), pixels.device))
        maximize(problem, search, constraint("linf"), budget, rows=torch.arange(len(pixels)))
        return search.best

    return attack


def settings(module: nn.Module, setup: Setup) -> Iterator[str]:
    """Yield one line per budget of the suite's ascent, compared with PGD on the mean gradient of 20 draws."""
    averaged = measured(module, setup, pgd(setup, 20))
    yield f"EOT-20: {100 * averaged.held.mean():.1f} at {averaged.passes:.0f} passes"
    for steps, draws, loss in SETTINGS:
        budget = Budget(steps, loss, stop=False, last=True)
        outcome = measured(module, setup, ascent(setup, budget, draws))
        yield (
            f"{steps} steps x {draws} draws, {loss}: {100 * outcome.held.mean():.1f} "
            f"({outcome.against(averaged)} to EOT-20) at {outcome.passes:.0f} passes"
        )


def compared(module: nn.Module, setup: Setup) -> Iterator[tuple[str, Outcome]]:
    """Yield the name and outcome of every attack."""
    yield "no attack", measured(module, setup, lambda counted: setup.test[0])
    yield "suite: axis with cascade", suite(module, setup)
    yield "PGD, 20 steps, one draw", measured(module, setup, pgd(setup, 1))
    yield "PGD, 20 steps x 20 draws", measured(module, setup, pgd(setup, 20))
    result = autoattack(module, *setup.test, "linf", setup.eps, version="rand")
    held = share_correct(module, result.adversarial, setup.test[1])
    note = f"reports {100 * result.by_stage.get('apgd-dlr', result.accuracy):.1f}"
    yield "AutoAttack rand", Outcome(held, result.passes / len(held), result.seconds, note)


def report(setup: Setup) -> Iterator[str]:
    """Yield the lines of the report."""
    module = Before(setup.base, noisy_input).eval()
    yield f"# Gaussian noise of sd 0.3 on {setup.name}: {len(setup.test[1])} points, Linf eps {setup.eps}"
    yield ""
    yield f"Accuracy in percent, the mean over {DRAWS} fresh draws. Written by `python -m tests.benchmarks.stochastic`."
    yield ""
    yield "| attack | accuracy | suite minus this | passes per point | seconds | |\n|---|---|---|---|---|---|"
    outcomes = {}
    for name, outcome in compared(module, setup):
        outcomes[name] = outcome
        own = outcomes.get("suite: axis with cascade")
        gap = own.against(outcome) if own and outcome is not own else "-"
        accuracy = 100 * outcome.held.mean()
        yield f"| {name} | {accuracy:.1f} | {gap} | {outcome.passes:,.0f} | {outcome.seconds:.0f} | {outcome.note} |"
    own, reference = outcomes["suite: axis with cascade"], outcomes["AutoAttack rand"]
    below = 100 * (reference.held.mean() - own.held.mean())
    yield ""
    yield f"{below:.1f} points below AutoAttack rand at 1/{reference.passes / own.passes:.1f} of its passes."


def main() -> None:
    """Run the comparison and write the table, or print the comparison of budgets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--digits", action="store_true", help="8x8 digits instead of MNIST; no file is written")
    parser.add_argument("--settings", action="store_true", help="compare budgets instead; no file is written")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    setup = digits_setup(arguments.count) if arguments.digits else mnist_setup(arguments.count)
    lines = []
    for text in settings(Before(setup.base, noisy_input).eval(), setup) if arguments.settings else report(setup):
        print(text, flush=True)
        lines.append(text)
    if not (arguments.settings or arguments.digits):
        (RESULTS / "stochastic.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
