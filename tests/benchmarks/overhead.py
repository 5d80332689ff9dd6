"""Overhead of the attack engine: time and memory of PGD compared with bare passes and with torchattacks' PGD.

    python -m tests.benchmarks.overhead [--only digits|mnist|resnet18]

All times are processor times of one thread, the minimum over several repeats in which the alternatives take turns. A
bare pass is one forward pass, or one backward pass to the pixels, with frozen parameters, in batches of the engine's
size. PGD runs 10 steps, once on all samples and once with early stopping of misclassified samples. Memory is the peak
of allocated tensors for one batch, from PyTorch's profiler. The tables are written to
tests/benchmarks/results/overhead.md.
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
"""Batch sizes for which bare passes are timed."""


@dataclass(frozen=True)
class Subject:
    """A network and the samples to attack.

    Attributes:
        name: name of the network.
        net: network in eval mode with frozen parameters.
        pixels, labels: samples, at least as many as in the largest batch.
        eps: Linf radius.
        batch: samples per forward pass of the engine.
        repeats: number of timing repeats.
    """

    name: str
    net: nn.Module
    pixels: Tensor
    labels: Tensor
    eps: float
    batch: int = BATCH
    repeats: int = 9


def subject(name: str, count: int = 1000) -> Subject:
    """Return a convolutional network of the zoo for digits or MNIST, or an untrained ResNet-18 on 64x64 images."""
    if name == "resnet18":
        import timm

        torch.manual_seed(0)
        net = timm.create_model("resnet18", num_classes=10).eval().requires_grad_(False)
        pixels = torch.rand(min(count, 32), 3, 64, 64)
        return Subject(name, net, pixels, net(pixels).argmax(dim=1), 1e-4, batch=32, repeats=2)
    net = zoo.load(zoo.entry(f"test-{name}-cnn"))
    pixels, labels = (part.repeat(3, *(1,) * (part.ndim - 1))[:count] for part in zoo.points(name, "test"))
    eps, repeats = {"digits": (0.08, 15), "mnist": (0.1, 4)}[name]
    return Subject(f"{name} cnn", net, pixels, labels, eps, repeats=repeats)


def cost(function: Callable[[], object]) -> float:
    """Return the processor time of a function call in seconds."""
    start = time.process_time()
    function()
    return time.process_time() - start


def minimum_times(functions: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the minimum processor time of each function in seconds; they take turns after a warm-up."""
    turns = [[cost(function) for function in functions] for _ in range(repeats + 1)]
    return [min(costs) for costs in zip(*turns[1:], strict=True)]


def bare(net: nn.Module, pixels: Tensor, batch: int, *, forward: int, backward: int) -> None:
    """Run the given numbers of forward and backward passes of single samples, in batches of one size."""
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


def problem_of(case: Subject, net: nn.Module | None = None) -> Problem:
    """Return the problem as the robustness axis builds it."""
    adapter = TorchClassifier(net or case.net)
    adapter.width = case.batch
    return Problem.of(Classification().kind(), adapter.raw, adapter=adapter)


def ours(case: Subject, problem: Problem, *, stop: bool, steps: int = STEPS) -> Tensor:
    """Return the result of the suite's PGD with a single start."""
    attack = PGD((case.eps,), steps=steps, restarts=1, stop=stop)
    return attack.perturb(problem, case.pixels, case.labels, case.eps, torch.arange(len(case.pixels)))


def torchattacks_pgd(case: Subject, net: nn.Module, batch: int) -> None:
    """Run torchattacks' PGD with the same number of steps, in batches of one size."""
    import torchattacks

    net.eval()  # torchattacks would set the children of a wrapper in training mode to training mode
    attack = torchattacks.PGD(net, eps=case.eps, alpha=2.5 * case.eps / STEPS, steps=STEPS)
    for pixels, labels in zip(case.pixels.split(batch), case.labels.split(batch), strict=True):
        attack(pixels, labels)


def timed(case: Subject) -> tuple[float, ...]:
    """Compare the time per pass of the suite's PGD, bare passes and torchattacks' PGD.

    Returns:
        Suite over bare passes with full batches; the same with early stopping; microseconds per pass of the suite with
        full batches; torchattacks on all samples at once over the suite; torchattacks in the engine's batches over the
        suite; torchattacks on all samples at once over the suite with early stopping.
    """
    count, problems, counted = len(case.pixels), [problem_of(case) for _ in range(2)], Counted(case.net)
    for problem, stop in zip(problems, (False, True), strict=True):
        ours(case, problem, stop=stop)
    torchattacks_pgd(case, counted, case.batch)
    counted_passes = [replace(problem.passes) for problem in problems]
    functions = [
        lambda: ours(case, problems[0], stop=False),
        lambda: ours(case, problems[1], stop=True),
        lambda: same_passes(case, counted_passes[0]),
        lambda: same_passes(case, counted_passes[1]),
        lambda: torchattacks_pgd(case, case.net, count),
        lambda: torchattacks_pgd(case, case.net, case.batch),
    ]
    full, leaving, full_bare, leaving_bare, whole, parts = minimum_times(functions, case.repeats)
    each, each_leaving = full / counted_passes[0].total, leaving / counted_passes[1].total
    whole, parts = whole / counted.passes, parts / counted.passes
    return full / full_bare, leaving / leaving_bare, 1e6 * each, whole / each, parts / each, whole / each_leaving


def same_passes(case: Subject, passes: Passes) -> None:
    """Run as many bare passes as were counted."""
    bare(case.net, case.pixels, case.batch, forward=passes.forward, backward=passes.backward)


def by_batch(case: Subject) -> dict[int, float]:
    """Return the time of a bare pass in microseconds, by batch size."""
    sizes = [size for size in SIZES if size <= len(case.pixels)]
    count = len(case.pixels)
    functions = [lambda size=size: bare(case.net, case.pixels, size, forward=count, backward=count) for size in sizes]
    return {
        size: 1e6 * seconds / (2 * count)
        for size, seconds in zip(sizes, minimum_times(functions, case.repeats), strict=True)
    }


def allocated(case: Subject, function: Callable[[Subject], object]) -> float:
    """Return the peak memory of allocated tensors in MiB while one batch is processed."""
    one = replace(case, pixels=case.pixels[: case.batch], labels=case.labels[: case.batch])
    function(one)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function(one)
    events = profile.profiler.kineto_results.events()  # type: ignore[union-attr]  # set once the profiler has run
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    return max(accumulate(size for _, size in sorted(changes, key=lambda change: change[0]))) / 2**20


def one_bare(case: Subject) -> None:
    """Run one forward and one backward pass of every sample in one batch."""
    bare(case.net, case.pixels, len(case.pixels), forward=len(case.pixels), backward=len(case.pixels))


def three_steps(case: Subject) -> None:
    """Run three steps of the suite's PGD on every sample."""
    ours(case, problem_of(case), stop=False, steps=3)


WORKS: dict[str, Callable[[Subject], None]] = {"bare": one_bare, "ours": three_steps}


def report(names: list[str]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "# Overhead of the attack engine"
    yield ""
    yield f"PGD, {STEPS} steps, one thread, processor time. Written by `python -m tests.benchmarks.overhead`."
    yield ""
    yield (
        "| network | points | batch | over bare passes, full batches | with early stopping | us per pass | "
        "torchattacks per pass, all at once | in our batches | all at once, early stopping | MiB bare | MiB ours | "
        "ratio |"
    )
    yield "|" + "---|" * 12
    cases = {name: subject(name) for name in names}
    for case in cases.values():
        times = timed(case)
        bare_mib, our_mib = (allocated(case, function) for function in WORKS.values())
        cells = (
            *(case.name, str(len(case.pixels)), str(case.batch), f"{times[0]:.2f}", f"{times[1]:.2f}"),
            *(f"{times[2]:.1f}", f"{times[3]:.2f}", f"{times[4]:.2f}", f"{times[5]:.2f}"),
            *(f"{bare_mib:.1f}", f"{our_mib:.1f}", f"{our_mib / bare_mib:.2f}"),
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield "Microseconds of a bare pass by batch size, backward passes to the pixels included:"
    yield ""
    yield "| network | " + " | ".join(map(str, SIZES)) + " |"
    yield "|" + "---|" * (1 + len(SIZES))
    for case in cases.values():
        times = by_batch(case)
        yield f"| {case.name} | " + " | ".join(f"{times[s]:.1f}" if s in times else "-" for s in SIZES) + " |"


def main() -> None:
    """Run all measurements and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("digits", "mnist", "resnet18"), help="one network; no file is written")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for text in report([arguments.only] if arguments.only else ["digits", "mnist", "resnet18"]):
        print(text, flush=True)
        lines.append(text)
    if not arguments.only:
        (RESULTS / "overhead.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
