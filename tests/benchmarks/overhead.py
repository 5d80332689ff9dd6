"""What the engine costs beside the model: time and memory of PGD against bare passes, and against torchattacks' PGD.

    python -m tests.benchmarks.overhead [--only digits|mnist|resnet18]

Every time is the processor time of one thread, so that waiting for other programs does not count; all sides take turns
and the least of several repeats is taken. A bare pass is the network forward, or backward to the pixels, with frozen
parameters, in batches of the engine's size. PGD runs 10 steps; once nobody may leave the batch, once who is fooled
leaves it. Memory is the highest sum of all tensors that are made on the way, from PyTorch's profiler, for one batch.
The tables go to tests/benchmarks/results/overhead.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor, nn

from suite.attacks.engine.problem import BATCH, Passes, Problem
from suite.attacks.images.gradient import PGD
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from tests.benchmarks import zoo
from tests.benchmarks.masks import RESULTS
from tests.benchmarks.reference import Counted

STEPS = 10
SIZES = (16, 32, 64, 128, 256, 500, 1000)
"""Batch sizes whose bare passes are timed."""


@dataclass(frozen=True)
class Subject:
    """A network and the points that it is attacked at.

    Attributes:
        name: of the network.
        net: in eval mode with frozen parameters.
        pixels, labels: as many as the largest batch.
        eps: Linf radius.
        batch: samples per forward pass of the engine.
        repeats: how often everything is timed.
    """

    name: str
    net: nn.Module
    pixels: Tensor
    labels: Tensor
    eps: float
    batch: int = BATCH
    repeats: int = 9


def subject(name: str, count: int = 1000) -> Subject:
    """Return the digits' or MNIST's convolutional network of the zoo, or an untrained ResNet-18 at 64 pixels."""
    if name == "resnet18":
        import timm

        torch.manual_seed(0)
        net = timm.create_model("resnet18", num_classes=10).eval().requires_grad_(False)
        pixels = torch.rand(min(count, 32), 3, 64, 64)
        return Subject(name, net, pixels, net(pixels).argmax(dim=1), 1e-4, batch=32, repeats=2)
    net = zoo.load(zoo.entry(f"judged-{name}-cnn"))
    pixels, labels = (part.repeat(3, *(1,) * (part.ndim - 1))[:count] for part in zoo.points(name, "judged"))
    eps, repeats = {"digits": (0.08, 15), "mnist": (0.1, 4)}[name]
    return Subject(f"{name} cnn", net, pixels, labels, eps, repeats=repeats)


def cost(work: Callable[[], object]) -> float:
    """Return the processor time of some work in seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def least(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the least of the costs of each work in seconds; they take turns, after a turn that does not count."""
    turns = [[cost(work) for work in works] for _ in range(repeats + 1)]
    return [min(costs) for costs in zip(*turns[1:], strict=True)]


def bare(net: nn.Module, pixels: Tensor, batch: int, *, forward: int, backward: int) -> None:
    """Take so many passes of samples forward, and as many of those backward as asked for, in batches of one size."""
    start = 0
    while forward > 0:
        size = min(batch, forward, backward or forward)
        start = start if start + size <= len(pixels) else 0
        part = pixels[start : start + size]
        forward, start = forward - size, start + size
        if backward:
            point = part.detach().requires_grad_(True)
            torch.autograd.grad(net(point).sum(), point)
            backward -= size
        else:
            with torch.no_grad():
                net(part)


def problem_of(case: Subject, net: Callable[[Tensor], Tensor] | None = None) -> Problem:
    """Return the problem as the robustness axis poses it."""
    return Problem.of(Classification(), net or TorchClassifier(case.net).raw, batch_size=case.batch)


def ours(case: Subject, problem: Problem, *, stop: bool, steps: int = STEPS) -> Tensor:
    """Return what the suite's PGD finds in one start."""
    attack = PGD((case.eps,), steps=steps, restarts=1, stop=stop)
    return attack.perturb(problem, case.pixels, case.labels, case.eps, torch.arange(len(case.pixels)))


def torchattacks_pgd(case: Subject, net: nn.Module, batch: int) -> None:
    """Run torchattacks' PGD with as many steps, in batches of one size."""
    import torchattacks

    net.eval()  # it would put all parts of a wrapper in training mode into training mode
    attack = torchattacks.PGD(net, eps=case.eps, alpha=2.5 * case.eps / STEPS, steps=STEPS)
    for pixels, labels in zip(case.pixels.split(batch), case.labels.split(batch), strict=True):
        attack(pixels, labels)


def timed(case: Subject) -> tuple[float, ...]:
    """Return what PGD costs over the passes it counted, and what torchattacks costs a pass over what PGD does.

    Returns:
        PGD over bare passes with full batches, the same where who is fooled leaves, its microseconds per pass with
        full batches; torchattacks with all points at once over PGD, in the engine's batches over PGD, and with all
        points at once over PGD where who is fooled leaves.
    """
    count, problems, counted = len(case.pixels), [problem_of(case) for _ in range(2)], Counted(case.net)
    for problem, stop in zip(problems, (False, True), strict=True):
        ours(case, problem, stop=stop)
    torchattacks_pgd(case, counted, case.batch)
    spent = [replace(problem.passes) for problem in problems]
    works = [
        lambda: ours(case, problems[0], stop=False),
        lambda: ours(case, problems[1], stop=True),
        lambda: as_many(case, spent[0]),
        lambda: as_many(case, spent[1]),
        lambda: torchattacks_pgd(case, case.net, count),
        lambda: torchattacks_pgd(case, case.net, case.batch),
    ]
    full, leaving, full_bare, leaving_bare, whole, parts = least(works, case.repeats)
    each, each_leaving = full / spent[0].total, leaving / spent[1].total
    whole, parts = whole / counted.passes, parts / counted.passes
    return full / full_bare, leaving / leaving_bare, 1e6 * each, whole / each, parts / each, whole / each_leaving


def as_many(case: Subject, passes: Passes) -> None:
    """Take as many bare passes as were counted."""
    bare(case.net, case.pixels, case.batch, forward=passes.forward, backward=passes.backward)


def by_batch(case: Subject) -> dict[int, float]:
    """Return the time of a bare pass in us, by batch size."""
    sizes = [size for size in SIZES if size <= len(case.pixels)]
    count = len(case.pixels)
    works = [lambda size=size: bare(case.net, case.pixels, size, forward=count, backward=count) for size in sizes]
    return {size: 1e6 * found / (2 * count) for size, found in zip(sizes, least(works, case.repeats), strict=True)}


def allocated(case: Subject, work: Callable[[Subject], object]) -> float:
    """Return how many MiB of tensors exist at once, at the highest, while one batch is worked on."""
    one = replace(case, pixels=case.pixels[: case.batch], labels=case.labels[: case.batch])
    work(one)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as watched:
        work(one)
    events = watched.profiler.kineto_results.events()  # type: ignore[union-attr]  # there after the profiler has run
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return max(accumulate(size for _, size in sorted(changes, key=lambda change: change[0]))) / 2**20


def one_bare(case: Subject) -> None:
    """Take every point forward and backward in one batch."""
    bare(case.net, case.pixels, len(case.pixels), forward=len(case.pixels), backward=len(case.pixels))


def three_steps(case: Subject) -> None:
    """Run the suite's PGD for three steps on every point."""
    ours(case, problem_of(case), stop=False, steps=3)


WORKS: dict[str, Callable[[Subject], None]] = {"bare": one_bare, "ours": three_steps}


def report(names: list[str]) -> Iterator[str]:
    """Yield the lines of the result."""
    yield "# The engine's cost beside the model"
    yield ""
    yield f"PGD, {STEPS} steps, one thread, processor time. Written by `python -m tests.benchmarks.overhead`."
    yield ""
    yield (
        "| network | points | batch | over bare passes, full batches | and who is fooled leaves | us per pass | "
        "torchattacks per pass, all at once | in our batches | all at once, fooled leave | MiB bare | MiB ours | "
        "ratio |"
    )
    yield "|" + "---|" * 12
    cases = {name: subject(name) for name in names}
    for case in cases.values():
        times = timed(case)
        bare_mib, own_mib = (allocated(case, work) for work in WORKS.values())
        cells = (
            *(case.name, str(len(case.pixels)), str(case.batch), f"{times[0]:.2f}", f"{times[1]:.2f}"),
            *(f"{times[2]:.1f}", f"{times[3]:.2f}", f"{times[4]:.2f}", f"{times[5]:.2f}"),
            *(f"{bare_mib:.1f}", f"{own_mib:.1f}", f"{own_mib / bare_mib:.2f}"),
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield "Microseconds of a bare pass by batch size, backward passes to the pixels among them:"
    yield ""
    yield "| network | " + " | ".join(map(str, SIZES)) + " |"
    yield "|" + "---|" * (1 + len(SIZES))
    for case in cases.values():
        times = by_batch(case)
        yield f"| {case.name} | " + " | ".join(f"{times[s]:.1f}" if s in times else "-" for s in SIZES) + " |"


def main() -> None:
    """Measure everything and write the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", choices=("digits", "mnist", "resnet18"), help="one network; nothing is written")
    asked = options.parse_args()
    torch.set_num_threads(1)
    lines = []
    for text in report([asked.only] if asked.only else ["digits", "mnist", "resnet18"]):
        print(text, flush=True)
        lines.append(text)
    if not asked.only:
        (RESULTS / "overhead.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
