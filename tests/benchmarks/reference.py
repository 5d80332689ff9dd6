"""Reference results of AutoAttack for the attack engine, on the same samples and with the same definition of a pass.

The reference is the package pyautoattack 0.2.0 (Croce and Hein, 2020), the official code on PyPI: a development
dependency. A pass is one forward or one backward pass of one sample.

    python -m tests.benchmarks.reference --set dev [--only NAME] [--threat linf]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.zoo import ENTRIES, Entry, accuracy, digest, folder, load, points

SLACK = 1e-5  # relative to eps: tolerance for float32 rounding of a norm


class Counted(nn.Module):
    """A wrapper that counts the forward and backward passes of single samples.

    A tensor hook counts the backward passes. A module hook would make the output a view, which AutoAttack's
    Square modifies in place, and PyTorch forbids that.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.forwards = 0
        self.backwards = 0

    @property
    def passes(self) -> int:
        """Total number of passes."""
        return self.forwards + self.backwards

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the module's output."""
        output: Tensor = self.module(pixels)
        self.forwards += len(output)
        if output.requires_grad:
            output.register_hook(self._count)
        return output

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@dataclass(frozen=True)
class Reference:
    """The result of AutoAttack on a model.

    Args:
        robust: (n,) whether no adversarial example within the budget was found, re-checked by a separate forward pass.
        adversarial: (n, 1, h, w) returned adversarial examples; clean samples where there is none.
        clean: clean accuracy.
        forwards: forward passes, including the package's checks of the model.
        backwards: backward passes.
        seconds: wall time.
        excess: largest norm of a perturbation over eps; perturbations above 1 + `SLACK` do not count.
        by_stage: robust accuracy after each stage, as AutoAttack reports it.
        passes_by_stage: total passes at the end of each stage.
        flags: warnings that AutoAttack logged.
    """

    robust: Tensor
    adversarial: Tensor
    clean: float
    forwards: int
    backwards: int
    seconds: float
    excess: float
    by_stage: dict[str, float] = field(default_factory=dict)
    passes_by_stage: dict[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    @property
    def passes(self) -> int:
        """Total number of passes."""
        return self.forwards + self.backwards

    @property
    def accuracy(self) -> float:
        """Robust accuracy."""
        return self.robust.double().mean().item()


class _Listener(logging.Handler):
    """A handler that reads the accuracy after each stage and the warnings from the log; AutoAttack returns neither."""

    def __init__(self, counted: Counted) -> None:
        super().__init__()
        self.counted = counted
        self.by_stage: dict[str, float] = {}
        self.passes_by_stage: dict[str, int] = {}
        self.flags: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            self.flags.append(message)
        if matched := re.match(r"robust accuracy after (\S+): ([\d.]+)%", message):
            self.by_stage[matched[1].lower()] = float(matched[2]) / 100
            self.passes_by_stage[matched[1].lower()] = self.counted.passes


def autoattack(
    model: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    norm: str,
    eps: float,
    *,
    version: str = "standard",
    batch_size: int = 500,
    seed: int = 0,
) -> Reference:
    """Run AutoAttack on a model in eval mode with frozen parameters.

    Args:
        model: maps pixels to logits (n, classes).
        pixels: (n, c, h, w) in [0, 1].
        labels: (n,) classes.
        norm: "linf" or "l2".
        eps: radius, in pixel units.
        version: "standard", "plus" or "rand".
        batch_size: samples per batch.
        seed: seed of every stage.
    """
    counted = Counted(model)
    listener = _Listener(counted)
    start = time.perf_counter()
    with _listening(listener), torch.random.fork_rng(devices=[]):
        attack = _package().AutoAttack(
            counted, norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, seed=seed, version=version, device="cpu"
        )
        adversarial, _ = attack.run_standard_evaluation(pixels, labels, batch_size=batch_size)
    seconds = time.perf_counter() - start
    robust, excess = _robust_and_excess(model, pixels, labels, adversarial, norm, eps)
    return Reference(
        robust,
        adversarial,
        accuracy(model, pixels, labels),
        counted.forwards,
        counted.backwards,
        seconds,
        excess,
        listener.by_stage,
        listener.passes_by_stage,
        tuple(listener.flags),
    )


def _package() -> Any:
    try:
        import pyautoattack  # type: ignore[import-untyped]  # ships no types
        from pyautoattack import checks
    except ImportError as error:
        raise ImportError("The reference needs the package pyautoattack: pip install pyautoattack==0.2.0") from error
    checks.funcs.update(
        dict.fromkeys(checks.funcs, 0)
    )  # the package never resets them: one dynamic model would flag all later ones
    return pyautoattack


@contextmanager
def _listening(listener: _Listener) -> Iterator[None]:
    """Send AutoAttack's log to the listener only; restore the logger and the trace function that AutoAttack clears."""
    logger, trace = logging.getLogger("auto-attack"), sys.gettrace()
    level, propagates = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagates
        sys.settrace(trace)


def _robust_and_excess(
    model: nn.Module, pixels: Tensor, labels: Tensor, adversarial: Tensor, norm: str, eps: float
) -> tuple[Tensor, float]:
    """Return which samples are robust, and the largest norm over eps; inputs outside the budget do not count."""
    change = (adversarial.double() - pixels.double()).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    inside = (adversarial.flatten(1) >= 0).all(1) & (adversarial.flatten(1) <= 1).all(1)  # false for NaN
    within = inside & (size <= eps * (1 + SLACK))
    with torch.no_grad():
        predictions = torch.cat([model(part).argmax(1) for part in adversarial.split(500)])
    return (predictions == labels) | ~within, (size.max() / eps).item()


def cached(entry: Entry, norm: str, eps: float, n: int) -> Reference:
    """Return the cached reference on the entry's first n samples; compute and store it if there is none."""
    path = stored(entry, norm, eps, n)
    if not path.exists():
        pixels, labels = points(entry.data, entry.set)
        _write(path, autoattack(load(entry), pixels[:n], labels[:n], norm, eps))
    return _read(path)


def stored(entry: Entry, norm: str, eps: float, n: int) -> Path:
    """Return the path of a reference's JSON file; its arrays are stored next to it."""
    key = hashlib.sha256(repr((digest(entry), entry.set, norm, eps, n)).encode()).hexdigest()[:12]
    return folder() / f"reference-{entry.name}-{norm}-{eps:g}-{n}-{key}.json"


def _write(path: Path, reference: Reference) -> None:
    np.savez_compressed(
        path.with_suffix(".npz"), robust=reference.robust.numpy(), adversarial=reference.adversarial.numpy()
    )
    values = {name: value for name, value in vars(reference).items() if name not in ("robust", "adversarial")}
    written = path.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps(values, indent=1), "utf-8")
    written.replace(path)


def _read(path: Path) -> Reference:
    values = json.loads(path.read_text("utf-8"))
    with np.load(path.with_suffix(".npz")) as arrays:
        robust, adversarial = (torch.from_numpy(arrays[name]) for name in ("robust", "adversarial"))
    return Reference(robust, adversarial, **{**values, "flags": tuple(values["flags"])})


def line(entry: Entry, norm: str, eps: float, reference: Reference) -> str:
    """Return a one-line summary of a run."""
    n, count = len(reference.robust), int(reference.robust.sum())
    stages = " ".join(f"{name} {100 * left:.1f}" for name, left in reference.by_stage.items())
    beyond = " (beyond)" if entry.beyond(norm, eps) else ""
    return (
        f"{entry.name} {norm} {eps:g}{beyond} n={n} clean {100 * reference.clean:.1f} "
        f"robust {100 * reference.accuracy:.1f} [{stages}] passes {reference.passes:,} "
        f"({reference.passes / max(count, 1):,.0f} per robust sample) {reference.seconds:.0f} s"
        + "".join(f" FLAG: {flag[:60]}" for flag in reference.flags)
    )


def main() -> None:
    """Train missing models, compute missing references and print one line per run."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--set", required=True, choices=("dev", "test"))
    parser.add_argument("--only", help="name of one entry")
    parser.add_argument("--threat", choices=("linf", "l2"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for entry in ENTRIES:
        if entry.set != arguments.set or arguments.only not in (None, entry.name):
            continue
        for norm, eps in entry.threats:
            if arguments.threat in (None, norm):
                print(line(entry, norm, eps, cached(entry, norm, eps, entry.count)), flush=True)


if __name__ == "__main__":
    main()
