"""Robust accuracy under gradient masking: the suite, the official AutoAttack and torchattacks on the same samples.

    python -m tests.benchmarks.masks [--mnist] [--quick] [--only NAME] [--count 100] [--part 0/2] [--resume]

Every defense of `tests.attacks.fakes` wraps the same undefended network; models without any masking ("honest") are the
negative controls and must not be marked as suspect. The suite's number is that of the robustness axis with `cascade`;
its passes include all checks. AutoAttack is the official code with the warnings it logs, in version `standard`, or
`rand` for stochastic models, as its warning recommends; if it fails because the graph is detached from the pixels, it
is run again on a copy whose gradient is zero. torchattacks runs PGD with its defaults except for eps. For defenses that
predict as the undefended network does, the true robust accuracy is the one that AutoAttack reports for that network;
for all others it is unknown, and the lowest accuracy of any attack is used. All numbers of stochastic models are means
over fresh draws. The table is written to tests/benchmarks/results/masks.md.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from suite.attacks.engine.problem import Problem
from suite.axes.base import Context
from suite.axes.robustness.axis import Robustness
from suite.axes.robustness.setup import DRAWS
from suite.data import DataReport, Split, TaskData, TaskInfo
from suite.errors import AttackError, ModelError
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from suite.runner.settings import silent
from tests.attacks import digits, fakes
from tests.attacks.fakes import FAKES, Fake, Labeled
from tests.axes.contexts import finding_of
from tests.benchmarks import zoo
from tests.benchmarks.reference import Counted, autoattack

RESULTS = Path(__file__).parent / "results"
CLOSE = 3
"""Tolerated difference from the true robust accuracy, in percentage points."""

SIGNS = {
    "PROB": "probability distribution",
    "ZEROGRAD": "zero gradient",
    "SQUARE": "Square Attack has decreased",
    "RAND": "randomized",
    "DYNAMIC": "dynamic",
}
"""A phrase that identifies each of AutoAttack's warnings."""


@dataclass(frozen=True)
class Setup:
    """The networks, data and radius of a comparison.

    Attributes:
        name: name of the data.
        base: an undefended network in eval mode.
        hardened: an adversarially trained network.
        train: training pixels and labels of both networks.
        test: pixels and labels of the attacked samples.
        eps: Linf radius at which the undefended network has a robust accuracy of 15 to 20 % under AutoAttack.
    """

    name: str
    base: nn.Module
    hardened: nn.Module
    train: Labeled
    test: Labeled
    eps: float


@dataclass(frozen=True)
class Ours:
    """Result of the robustness axis: accuracy in percent, or None with the reason in `failed`."""

    value: float | None
    verdict: str
    failed: tuple[str, ...]
    passes: int
    seconds: float


@dataclass(frozen=True)
class Theirs:
    """Result of AutoAttack: accuracy in percent, passes and warnings; `helped` if it ran with a zero gradient."""

    value: float | None
    passes: int
    flags: tuple[str, ...]
    seconds: float
    helped: bool = False


@dataclass(frozen=True)
class Row:
    """The results of all attacks on one model."""

    name: str
    ours: Ours
    theirs: Theirs
    plain: float | None
    truth: float | None
    flags: frozenset[str]

    @property
    def target(self) -> float:
        """The true robust accuracy, or the lowest accuracy under any attack if it is unknown."""
        values = (self.truth, self.ours.value, self.theirs.value, self.plain)
        return (
            self.truth if self.truth is not None else min((value for value in values if value is not None), default=0)
        )

    @property
    def close(self) -> bool:
        """Whether the suite's number exceeds the target by at most `CLOSE` points; lower numbers are fine."""
        return self.ours.value is not None and self.ours.value <= self.target + CLOSE

    @property
    def correct(self) -> bool:
        """Whether the number is close, or suspect for an expected reason; without masking it must also be valid."""
        if not self.flags:
            return self.close and self.ours.verdict == "valid"
        return self.close or bool(self.flags & set(self.ours.failed))

    @property
    def pass_ratio(self) -> float:
        """The suite's passes divided by AutoAttack's."""
        return self.ours.passes / max(1, self.theirs.passes)


def digits_setup(count: int) -> Setup:
    """Return the setup on 8x8 digits; its networks have batch norm and dropout."""
    train, _ = digits.splits()
    train_data = torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)
    base = frozen(digits.trained().module)
    return Setup("digits", base, frozen(hardened(train_data, 0.1)), train_data, digits.first(count), eps=0.135)


def mnist_setup(count: int) -> Setup:
    """Return the setup on MNIST with two convolutional networks of the zoo, which have no batch norm."""
    base, other = (zoo.load(zoo.entry(name)) for name in ("test-mnist-cnn", "test-mnist-cnn-linf"))
    pixels, labels = zoo.points("mnist", "test")
    return Setup("mnist", base, other, zoo.points("mnist", "train"), (pixels[:count], labels[:count]), eps=0.1)


def hardened(data: Labeled, eps: float, epochs: int = 20) -> nn.Module:
    """Return the digits network after adversarial training with a Linf radius that grows over the first epochs."""
    pixels, labels = data
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = digits.network()
        adam = torch.optim.Adam(net.parameters(), lr=4e-3)
        for epoch in range(epochs):
            radius = eps * min(1, 2 * (epoch + 1) / epochs)
            for rows in torch.randperm(len(pixels)).split(64):
                perturbed = zoo.pgd(net.eval(), pixels[rows], labels[rows], ("linf", radius))
                net.train()
                adam.zero_grad()
                cross_entropy(net(perturbed), labels[rows]).backward()
                adam.step()
    return net


def frozen(net: nn.Module) -> nn.Module:
    """Return the network in eval mode without parameter gradients."""
    return net.eval().requires_grad_(False)


def context_of(module: nn.Module, setup: Setup) -> Context:
    """Return the context that the harness would pass to the axis."""
    train, test = (_split(name, data) for name, data in (("train", setup.train), ("test", setup.test)))
    shape = tuple(setup.test[0].shape[1:])
    info = TaskInfo(setup.name, "classification", "1", digits.CLASSES, shape)
    data = TaskData(info, train, train.take(range(0)), test, DataReport({}), setup.name)
    return Context(
        kind=Classification().kind(),
        data=data,
        test=test,
        model=TorchClassifier(module),
        members=lambda count: [],
        track=silent,
        device=torch.device("cpu"),
        names=(setup.name, "net", "robustness"),
        batch_size=256,
    )


def _split(name: str, data: Labeled) -> Split:
    pixels, labels = data
    return Split(tuple(f"{name}-{number}" for number in range(len(labels))), pixels.numpy(), labels.numpy())


def ours(module: nn.Module, setup: Setup, tier: str = "standard") -> Ours:
    """Evaluate a model with the robustness axis; the passes include all checks."""
    start = time.perf_counter()
    context = context_of(copy.deepcopy(module), setup)
    try:
        finding = finding_of(Robustness(f"cascade(eps=[{setup.eps}], tier={tier})"), context)
    except (AttackError, ModelError) as error:
        return Ours(None, "invalid", (str(error),), 0, time.perf_counter() - start)
    measure = next(item for item in finding.measures if item.metric == "robust_accuracy")
    failed = tuple(name for name, status in measure.checks.items() if status == "fail")
    value = None if measure.value is None else 100 * measure.value
    passes = finding.facts["passes"]["with checks"]
    return Ours(value, measure.verdict, failed, passes, time.perf_counter() - start)


def plain(module: nn.Module, setup: Setup) -> float | None:
    """Return the accuracy under torchattacks' PGD with default settings, in percent; None if it fails."""
    try:
        context = context_of(copy.deepcopy(module), setup)
        finding = finding_of(Robustness(f"torchattacks:PGD(eps=[{setup.eps}])", audit=0), context)
    except (AttackError, ModelError, RuntimeError):
        return None
    value = next(item.value for item in finding.measures if item.metric == "robust_accuracy")
    return None if value is None else 100 * value


class Attached(nn.Module):
    """A model with a zero gradient in place of none, so that the official code can run."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the module's output."""
        return self.module(pixels) + 0 * pixels.flatten(1).sum(dim=1, keepdim=True)


def theirs(module: nn.Module, setup: Setup, *, stochastic: bool, quick: bool) -> Theirs:
    """Evaluate a model with AutoAttack."""
    run = _lighter if quick else partial(_official, version="rand" if stochastic else "standard")
    try:
        outcome, helped = run(copy.deepcopy(module), setup), False
    except RuntimeError:  # the graph is detached from the pixels
        outcome, helped = run(Attached(copy.deepcopy(module)), setup), True
    points, accuracy, passes, flags, seconds = outcome
    if stochastic:
        problem = replace(Problem.of(Classification().kind(), module), draws=DRAWS)
        accuracy = 1 - float(problem.outcome(points, setup.test[1]).double().mean())
    return Theirs(100 * accuracy, passes, flags, seconds, helped)


RawResult = tuple[Tensor, float, int, tuple[str, ...], float]


def _official(module: nn.Module, setup: Setup, version: str) -> RawResult:
    result = autoattack(module, *setup.test, "linf", setup.eps, version=version)
    flags = tuple(name for name, words in SIGNS.items() if any(words in flag for flag in result.flags))
    return result.adversarial, result.accuracy, result.passes, flags, result.seconds


def _lighter(module: nn.Module, setup: Setup) -> RawResult:
    """Run shortened versions of two of AutoAttack's four attacks: a smoke test, not a reference."""
    import pyautoattack

    counted, start = Counted(module), time.perf_counter()
    options: dict[str, Any] = {"version": "custom", "device": "cpu"}
    with torch.random.fork_rng(devices=[]):
        attack = pyautoattack.AutoAttack(counted, norm="Linf", eps=setup.eps, seed=0, **options)
        attack.attacks_to_run = ["apgd-ce", "square"]
        attack.apgd.n_iter, attack.square.n_queries = 20, 200
        points, _ = attack.run_standard_evaluation(*setup.test, batch_size=500)
    passes = counted.passes
    return points, zoo.accuracy(module, points, setup.test[1]), passes, (), time.perf_counter() - start


def models(setup: Setup) -> Iterator[tuple[str, Fake | None, Callable[[], nn.Module]]]:
    """Yield the models without masking, then every fake defense."""
    yield "honest: undefended", None, lambda: setup.base
    yield "honest: adversarially trained", None, lambda: setup.hardened
    yield "honest: adversarially trained, log-softmax", None, lambda: _log_softmax(setup.hardened)
    norms = any(isinstance(module, nn.BatchNorm2d) for module in setup.base.modules())
    for fake in FAKES.values():
        if fake.name != "none" and (norms or fake.name != "batch statistics"):
            yield fake.name, fake, lambda fake=fake: frozen(fake.build(_free(setup.base), setup.train))


def _free(net: nn.Module) -> nn.Module:
    return copy.deepcopy(net).requires_grad_(True)  # some defenses are retrained


def _log_softmax(net: nn.Module) -> nn.Module:
    return frozen(nn.Sequential(copy.deepcopy(net), nn.LogSoftmax(dim=1)))


def rows(setup: Setup, arguments: argparse.Namespace) -> Iterator[Row]:
    """Yield one row per model, with cached results of AutoAttack; --resume reads entire cached rows."""
    stored = ResultCache(setup, arguments.quick)
    bare = stored.theirs("honest: undefended", lambda: setup.base, stochastic=False)
    part, parts = (int(number) for number in arguments.part.split("/"))
    for place, (name, fake, build) in enumerate(models(setup)):
        if arguments.only not in (None, name) or place % parts != part:
            continue
        path = stored.path(name, "row")
        if arguments.resume and path.exists():
            yield pickle.loads(path.read_bytes())
            continue
        module, same = cache(build), fake is not None and fake.same_as_base
        result = stored.theirs(name, module, stochastic=fake is not None and fake.stochastic)
        truth = bare.value if same else result.value if fake is None else None
        flags = fake.flags if fake else frozenset()
        tier = "quick" if arguments.quick else "standard"
        row = Row(name, ours(module(), setup, tier), result, plain(module(), setup), truth, flags)
        path.write_bytes(pickle.dumps(row))
        yield row


@dataclass(frozen=True)
class ResultCache:
    """AutoAttack's results in the zoo's cache; they do not depend on the suite's code."""

    setup: Setup
    quick: bool

    def path(self, name: str, kind: str) -> Path:
        """Return the path of the cached result of a model."""
        source = Path(fakes.__file__).read_bytes()
        about = (name, self.setup.name, self.setup.eps, len(self.setup.test[1]), self.quick)
        return zoo.folder() / f"masks-{hashlib.sha256(repr(about).encode() + source).hexdigest()[:12]}.{kind}"

    def theirs(self, name: str, build: Callable[[], nn.Module], *, stochastic: bool) -> Theirs:
        """Return the cached result; run AutoAttack if there is none."""
        path = self.path(name, "json")
        if not path.exists():
            result = theirs(build(), self.setup, stochastic=stochastic, quick=self.quick)
            path.write_text(json.dumps(vars(result)), "utf-8")
        values = json.loads(path.read_text("utf-8"))
        return Theirs(**{**values, "flags": tuple(values["flags"])})


HEAD = (
    "| model | truth | suite | verdict | failed checks | correct | AutoAttack | its flags | torchattacks PGD | "
    "suite's passes | AutoAttack's | ratio |\n|" + "---|" * 12
)


def line(row: Row) -> str:
    """Return one row of the table; accuracies in percent."""
    ours, theirs = row.ours, row.theirs
    truth = f"{row.truth:.1f}" if row.truth is not None else f"unknown, <= {row.target:.1f}"
    helped = " (with a zero gradient)" if theirs.helped else ""
    cells = (
        *(row.name, truth, _percent(ours.value), ours.verdict, ", ".join(ours.failed) or "-"),
        *("yes" if row.correct else "NO", _percent(theirs.value) + helped, ", ".join(theirs.flags) or "-"),
        *("fails" if row.plain is None else _percent(row.plain), f"{ours.passes:,}", f"{theirs.passes:,}"),
        f"{row.pass_ratio:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"


def summary(results: list[Row], setup: Setup) -> Iterator[str]:
    """Yield the summary below the table."""
    fakes, honest = [row for row in results if row.flags], [row for row in results if not row.flags]
    wrong = [row.name for row in results if not row.correct]
    expensive = [row.name for row in results if row.pass_ratio > 0.5]
    known = [row for row in fakes if row.truth is not None]
    yield ""
    yield f"Correct: {len(results) - len(wrong)} of {len(results)}; not correct: {', '.join(wrong) or 'none'}."
    missed = [row.name for row in fakes if row.ours.verdict == "valid" and not row.close]
    yield f"Valid, but more than {CLOSE} points above the true robust accuracy: {', '.join(missed) or 'none'}."
    false_alarms = [row.name for row in honest if row.ours.verdict != "valid"]
    yield f"Models without masking that are not valid: {', '.join(false_alarms) or 'none'}, of {len(honest)}."
    yield f"More than half of AutoAttack's passes: {', '.join(expensive) or 'none'}."
    for name, value in (("suite", lambda r: r.ours.value), ("AutoAttack", lambda r: r.theirs.value)):
        off = [f"{row.name} {value(row) - row.truth:+.1f}" for row in known if abs(value(row) - row.truth) > CLOSE]
        yield (
            f"{name}, of {len(known)} fakes with known robust accuracy, off by more than {CLOSE}: "
            f"{', '.join(off) or 'none'}."
        )
    off = [row.name for row in known if row.plain is None or row.plain - (row.truth or 0) > CLOSE]
    yield f"torchattacks' PGD, off or failed: {len(off)} of {len(known)}."


def main() -> None:
    """Run all models and write the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", action="store_true", help="a network of the zoo on MNIST instead of the digits")
    parser.add_argument("--quick", action="store_true", help="40 samples and two short attacks of AutoAttack")
    parser.add_argument("--only", help="name of one model; no file is written")
    parser.add_argument("--part", default="0/1", help="run a share of the models: 0/2 and 1/2 together run all")
    parser.add_argument("--resume", action="store_true", help="read finished models from the cache")
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    count = 40 if arguments.quick else arguments.count
    setup = mnist_setup(count) if arguments.mnist else digits_setup(count)
    title = f"# Fake defenses on {setup.name}: {count} points, Linf eps {setup.eps}"
    lines, results = [title, "", "Written by `python -m tests.benchmarks.masks`; accuracies in percent.", "", HEAD], []
    whole = not arguments.quick and not arguments.only and arguments.part == "0/1"
    path = RESULTS / f"masks{'-mnist' if arguments.mnist else ''}.md"
    for row in rows(setup, arguments):
        results.append(row)
        lines.append(line(row))
        print(lines[-1], flush=True)
        if whole:
            path.write_text("\n".join(lines) + "\n", "utf-8")
    ending = list(summary(results, setup))
    print("\n".join(ending))
    if whole:
        path.write_text("\n".join([*lines, *ending]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
