"""Who is fooled by defences that only hide: the suite, official AutoAttack and torchattacks, on the same points.

    python -m tests.benchmarks.masks [--mnist] [--quick] [--only NAME] [--count 100] [--part 0/2] [--resume]

Every defence of `tests.attacks.fakes` stands round one undefended network, and beside it stand honest models, which
nobody may call suspect. The suite's number is that of the robustness axis with `cascade`, its checks included in the
passes. AutoAttack is the official code with the warnings it logs, `standard` version, or `rand` for models that answer
at random, as its warning demands; where it breaks down because the graph ends before the pixels, it is run once more
on a copy that hands it a gradient of zero. torchattacks runs PGD at its defaults but for eps. The truth is what
AutoAttack leaves of the bare network, for defences that predict as it does; elsewhere nobody knows it, and the lowest
number that anybody reached stands in. Of models that answer at random every number is the mean over fresh draws. The
table goes to tests/benchmarks/results/masks.md.
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
from suite.axes.robustness.axis import DRAWS, Robustness
from suite.data import DataReport, Split, TaskData, TaskInfo
from suite.errors import AttackError, ModelError
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from suite.runner.settings import silent
from tests.attacks import digits, fakes
from tests.attacks.fakes import FAKES, Fake, Labelled
from tests.benchmarks import zoo
from tests.benchmarks.reference import Counted, autoattack

RESULTS = Path(__file__).parent / "results"
CLOSE = 3
"""Points from the truth that a number may be off."""

SIGNS = {
    "PROB": "probability distribution",
    "ZEROGRAD": "zero gradient",
    "SQUARE": "Square Attack has decreased",
    "RAND": "randomized",
    "DYNAMIC": "dynamic",
}
"""AutoAttack's warnings, by a few of their words."""


@dataclass(frozen=True)
class World:
    """What is attacked.

    Attributes:
        name: of the data.
        base: an undefended network in eval mode.
        hardened: an adversarially trained one.
        train: pixels and labels that both were trained on.
        test: pixels and labels that are attacked.
        eps: Linf radius at which AutoAttack leaves 15 to 20 % of the undefended network's accuracy.
    """

    name: str
    base: nn.Module
    hardened: nn.Module
    train: Labelled
    test: Labelled
    eps: float


@dataclass(frozen=True)
class Ours:
    """What the robustness axis says: accuracy in percent, or None with the reason."""

    value: float | None
    verdict: str
    failed: tuple[str, ...]
    passes: int
    seconds: float


@dataclass(frozen=True)
class Theirs:
    """What AutoAttack says: accuracy in percent, passes and warnings; `helped` where it needed a gradient of zero."""

    value: float | None
    passes: int
    flags: tuple[str, ...]
    seconds: float
    helped: bool = False


@dataclass(frozen=True)
class Row:
    """One model under all attacks."""

    name: str
    ours: Ours
    theirs: Theirs
    plain: float | None
    truth: float | None
    flags: frozenset[str]

    @property
    def aim(self) -> float:
        """The truth, or the lowest accuracy that anybody reached."""
        found = (self.truth, self.ours.value, self.theirs.value, self.plain)
        return self.truth if self.truth is not None else min((value for value in found if value is not None), default=0)

    @property
    def close(self) -> bool:
        """Whether the suite's number is no more than `CLOSE` points from the aim; below the aim is no fault."""
        return self.ours.value is not None and self.ours.value <= self.aim + CLOSE

    @property
    def right(self) -> bool:
        """Whether the number is close, or not believed for a right reason; an honest model must be believed too."""
        if not self.flags:
            return self.close and self.ours.verdict == "valid"
        return self.close or bool(self.flags & set(self.ours.failed))

    @property
    def share(self) -> float:
        """The suite's passes over AutoAttack's."""
        return self.ours.passes / max(1, self.theirs.passes)


def digits_world(count: int) -> World:
    """Return the 8x8 digits, with a network that has a batch norm and a dropout."""
    train, _ = digits.splits()
    labelled = torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)
    base = frozen(digits.trained().module)
    return World("digits", base, frozen(hardened(labelled, 0.1)), labelled, digits.first(count), eps=0.135)


def mnist_world(count: int) -> World:
    """Return MNIST with two convolutional networks of the zoo; they have no batch norm."""
    base, other = (zoo.load(zoo.entry(name)) for name in ("judged-mnist-cnn", "judged-mnist-cnn-linf"))
    pixels, labels = zoo.points("mnist", "judged")
    return World("mnist", base, other, zoo.points("mnist", "train"), (pixels[:count], labels[:count]), eps=0.1)


def hardened(data: Labelled, eps: float, epochs: int = 20) -> nn.Module:
    """Return the digits' network after adversarial training at a Linf radius that grows over the first epochs."""
    pixels, labels = data
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = digits.network()
        adam = torch.optim.Adam(net.parameters(), lr=4e-3)
        for epoch in range(epochs):
            radius = eps * min(1, 2 * (epoch + 1) / epochs)
            for rows in torch.randperm(len(pixels)).split(64):
                moved = zoo.pgd(net.eval(), pixels[rows], labels[rows], ("linf", radius))
                net.train()
                adam.zero_grad()
                cross_entropy(net(moved), labels[rows]).backward()
                adam.step()
    return net


def frozen(net: nn.Module) -> nn.Module:
    """Return the network in eval mode without parameter gradients."""
    return net.eval().requires_grad_(False)


def context_of(module: nn.Module, world: World) -> Context:
    """Return what the harness would give the axis."""
    train, test = (_split(name, data) for name, data in (("train", world.train), ("test", world.test)))
    shape = tuple(world.test[0].shape[1:])
    info = TaskInfo(world.name, "classification", "1", digits.CLASSES, shape)
    data = TaskData(info, train, train.take(range(0)), test, DataReport({}), world.name)
    return Context(
        kind=Classification(),
        data=data,
        test=test,
        model=TorchClassifier(module),
        members=lambda count: [],
        track=silent,
        device=torch.device("cpu"),
        names=(world.name, "net", "robustness"),
        batch_size=256,
    )


def _split(name: str, data: Labelled) -> Split:
    pixels, labels = data
    return Split(tuple(f"{name}-{number}" for number in range(len(labels))), pixels.numpy(), labels.numpy())


def ours(module: nn.Module, world: World, tier: str = "standard") -> Ours:
    """Return what the robustness axis says of a model, and what it spent with all checks."""
    began = time.perf_counter()
    context = context_of(copy.deepcopy(module), world)
    try:
        finding = Robustness(f"cascade(eps=[{world.eps}], tier={tier})").measure(context)
    except (AttackError, ModelError) as error:
        return Ours(None, "invalid", (str(error),), 0, time.perf_counter() - began)
    measure = next(item for item in finding.measures if item.metric == "robust_accuracy")
    failed = tuple(name for name, status in measure.checks.items() if status == "fail")
    value = None if measure.value is None else 100 * measure.value
    passes = finding.details["passes"]["with checks"]
    return Ours(value, measure.verdict, failed, passes, time.perf_counter() - began)


def plain(module: nn.Module, world: World) -> float | None:
    """Return what torchattacks' PGD leaves at its defaults but for eps, in percent; None where it breaks down."""
    try:
        context = context_of(copy.deepcopy(module), world)
        finding = Robustness(f"torchattacks:PGD(eps=[{world.eps}])", audit=0).measure(context)
    except (AttackError, ModelError, RuntimeError):
        return None
    value = next(item.value for item in finding.measures if item.metric == "robust_accuracy")
    return None if value is None else 100 * value


class Attached(nn.Module):
    """Hand out a gradient of zero where a model has none, so that the official code can run at all."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the module's answer."""
        return self.module(pixels) + 0 * pixels.flatten(1).sum(dim=1, keepdim=True)


def theirs(module: nn.Module, world: World, *, stochastic: bool, quick: bool) -> Theirs:
    """Return what AutoAttack says of a model."""
    run = _lighter if quick else partial(_official, version="rand" if stochastic else "standard")
    try:
        found, helped = run(copy.deepcopy(module), world), False
    except RuntimeError:  # the graph ends before the pixels
        found, helped = run(Attached(copy.deepcopy(module)), world), True
    points, accuracy, passes, flags, seconds = found
    if stochastic:
        problem = replace(Problem.of(Classification(), module), draws=DRAWS)
        accuracy = 1 - float(problem.outcome(points, world.test[1]).double().mean())
    return Theirs(100 * accuracy, passes, flags, seconds, helped)


Found = tuple[Tensor, float, int, tuple[str, ...], float]


def _official(module: nn.Module, world: World, version: str) -> Found:
    told = autoattack(module, *world.test, "linf", world.eps, version=version)
    flags = tuple(name for name, words in SIGNS.items() if any(words in flag for flag in told.flags))
    return told.adversarial, told.accuracy, told.passes, flags, told.seconds


def _lighter(module: nn.Module, world: World) -> Found:
    """Run two of AutoAttack's four attacks, shortened: a smoke run, not a reference."""
    import pyautoattack

    counted, began = Counted(module), time.perf_counter()
    options: dict[str, Any] = {"version": "custom", "device": "cpu"}
    with torch.random.fork_rng(devices=[]):
        attack = pyautoattack.AutoAttack(counted, norm="Linf", eps=world.eps, seed=0, **options)
        attack.attacks_to_run = ["apgd-ce", "square"]
        attack.apgd.n_iter, attack.square.n_queries = 20, 200
        points, _ = attack.run_standard_evaluation(*world.test, batch_size=500)
    passes = counted.passes
    return points, zoo.accuracy(module, points, world.test[1]), passes, (), time.perf_counter() - began


def models(world: World) -> Iterator[tuple[str, Fake | None, Callable[[], nn.Module]]]:
    """Yield the honest models, then every defence."""
    yield "honest: undefended", None, lambda: world.base
    yield "honest: adversarially trained", None, lambda: world.hardened
    yield "honest: adversarially trained, log-softmax", None, lambda: _log_softmax(world.hardened)
    norms = any(isinstance(module, nn.BatchNorm2d) for module in world.base.modules())
    for fake in FAKES.values():
        if fake.name != "none" and (norms or fake.name != "batch statistics"):
            yield fake.name, fake, lambda fake=fake: frozen(fake.build(_free(world.base), world.train))


def _free(net: nn.Module) -> nn.Module:
    return copy.deepcopy(net).requires_grad_(True)  # some defences are trained anew


def _log_softmax(net: nn.Module) -> nn.Module:
    return frozen(nn.Sequential(copy.deepcopy(net), nn.LogSoftmax(dim=1)))


def rows(world: World, asked: argparse.Namespace) -> Iterator[Row]:
    """Yield one row per model; AutoAttack's part is read from the cache where it is there, with --resume all of it."""
    stored = StoredRecord(world, asked.quick)
    bare = stored.theirs("honest: undefended", lambda: world.base, stochastic=False)
    part, parts = (int(number) for number in asked.part.split("/"))
    for place, (name, fake, build) in enumerate(models(world)):
        if asked.only not in (None, name) or place % parts != part:
            continue
        path = stored.path(name, "row")
        if asked.resume and path.exists():
            yield pickle.loads(path.read_bytes())
            continue
        module, same = cache(build), fake is not None and fake.same_as_base
        told = stored.theirs(name, module, stochastic=fake is not None and fake.stochastic)
        truth = bare.value if same else told.value if fake is None else None
        flags = fake.flags if fake else frozenset()
        tier = "quick" if asked.quick else "standard"
        row = Row(name, ours(module(), world, tier), told, plain(module(), world), truth, flags)
        path.write_bytes(pickle.dumps(row))
        yield row


@dataclass(frozen=True)
class StoredRecord:
    """AutoAttack's results in the zoo's cache: they do not change when the suite does."""

    world: World
    quick: bool

    def path(self, name: str, kind: str) -> Path:
        """Return the file of what is known of a model."""
        source = Path(fakes.__file__).read_bytes()
        about = (name, self.world.name, self.world.eps, len(self.world.test[1]), self.quick)
        return zoo.folder() / f"masks-{hashlib.sha256(repr(about).encode() + source).hexdigest()[:12]}.{kind}"

    def theirs(self, name: str, build: Callable[[], nn.Module], *, stochastic: bool) -> Theirs:
        """Return a stored result; run what is not stored."""
        path = self.path(name, "json")
        if not path.exists():
            found = theirs(build(), self.world, stochastic=stochastic, quick=self.quick)
            path.write_text(json.dumps(vars(found)), "utf-8")
        values = json.loads(path.read_text("utf-8"))
        return Theirs(**{**values, "flags": tuple(values["flags"])})


HEAD = (
    "| model | truth | suite | verdict | failed checks | right | AutoAttack | its flags | torchattacks PGD | "
    "suite's passes | AutoAttack's | ratio |\n|" + "---|" * 12
)


def line(row: Row) -> str:
    """Return one row of the table; accuracies in percent."""
    ours, theirs = row.ours, row.theirs
    truth = f"{row.truth:.1f}" if row.truth is not None else f"unknown, <= {row.aim:.1f}"
    helped = " (given a zero gradient)" if theirs.helped else ""
    cells = (
        *(row.name, truth, _percent(ours.value), ours.verdict, ", ".join(ours.failed) or "-"),
        *("yes" if row.right else "NO", _percent(theirs.value) + helped, ", ".join(theirs.flags) or "-"),
        *("breaks down" if row.plain is None else _percent(row.plain), f"{ours.passes:,}", f"{theirs.passes:,}"),
        f"{row.share:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"


def summary(found: list[Row], world: World) -> Iterator[str]:
    """Yield what the table comes to."""
    fakes, honest = [row for row in found if row.flags], [row for row in found if not row.flags]
    wrong = [row.name for row in found if not row.right]
    dear = [row.name for row in found if row.share > 0.5]
    known = [row for row in fakes if row.truth is not None]
    yield ""
    yield f"Right: {len(found) - len(wrong)} of {len(found)}; not right: {', '.join(wrong) or 'none'}."
    believed = [row.name for row in fakes if row.ours.verdict == "valid" and not row.close]
    yield f"Believed and more than {CLOSE} points above the truth: {', '.join(believed) or 'none'}."
    accused = [row.name for row in honest if row.ours.verdict != "valid"]
    yield f"Honest models (no flag expected) not called valid: {', '.join(accused) or 'none'}, of {len(honest)}."
    yield f"More than half of AutoAttack's passes: {', '.join(dear) or 'none'}."
    for who, value in (("suite", lambda r: r.ours.value), ("AutoAttack", lambda r: r.theirs.value)):
        off = [f"{row.name} {value(row) - row.truth:+.1f}" for row in known if abs(value(row) - row.truth) > CLOSE]
        yield f"{who}, of {len(known)} fakes of known truth off by more than {CLOSE}: {', '.join(off) or 'none'}."
    off = [row.name for row in known if row.plain is None or row.plain - (row.truth or 0) > CLOSE]
    yield f"torchattacks' PGD, off or broken down: {len(off)} of {len(known)}."


def main() -> None:
    """Run all models and write the table as it grows."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mnist", action="store_true", help="a network of the zoo on MNIST instead of the digits")
    options.add_argument("--quick", action="store_true", help="40 points and two short attacks of AutoAttack")
    options.add_argument("--only", help="name of one model; nothing is written")
    options.add_argument("--part", default="0/1", help="every so manieth model: 0/2 and 1/2 share the work")
    options.add_argument("--resume", action="store_true", help="take models that are done from the cache")
    options.add_argument("--count", type=int, default=100)
    asked = options.parse_args()
    torch.set_num_threads(1)
    count = 40 if asked.quick else asked.count
    world = mnist_world(count) if asked.mnist else digits_world(count)
    title = f"# Fake defences on {world.name}: {count} points, Linf eps {world.eps}"
    lines, found = [title, "", "Written by `python -m tests.benchmarks.masks`; accuracies in percent.", "", HEAD], []
    whole = not asked.quick and not asked.only and asked.part == "0/1"
    path = RESULTS / f"masks{'-mnist' if asked.mnist else ''}.md"
    for row in rows(world, asked):
        found.append(row)
        lines.append(line(row))
        print(lines[-1], flush=True)
        if whole:
            path.write_text("\n".join(lines) + "\n", "utf-8")
    ending = list(summary(found, world))
    print("\n".join(ending))
    if whole:
        path.write_text("\n".join([*lines, *ending]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
