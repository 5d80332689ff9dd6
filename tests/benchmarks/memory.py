"""Memory of audits of many large images: peak PSS of the process tree with 200 and with 20,000 images.

    python -m tests.benchmarks.memory [--only clean ...] [--counts 200 20000]

Each axis runs in a process of its own, with a tiny network. PSS (proportional set size) counts every page of memory
once, however many processes share it; it is read from /proc every `INTERVAL` seconds, for the process and all of its
descendants. The limit is `ALLOWED` more for the larger count.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

TASK = Path(__file__).with_name("generated_images.py")

AXES = {
    "clean": "clean",
    "fgsm": "robustness(attack=fgsm(eps=[1/255]))",
    "patch": "robustness(attack=patch(area=[0.05], steps=5, restarts=1))",
    "cascade": "robustness(attack=cascade(eps=[1/255], tier=quick))",
    "attribution": "attribution(methods=[saliency, occlusion], samples=16)",
}

COUNTS = (200, 20_000)

INTERVAL = 0.1

ALLOWED = 1.5 * 2**10
"""MiB by which the peak may grow between the smallest and the largest count."""


def tree_pss(root: int) -> float:
    """Return the PSS of a process and its descendants in MiB; processes that end meanwhile count as 0."""
    total, waiting = 0.0, [root]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            lines = (folder / "smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
            for thread in (folder / "task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
        except (OSError, StopIteration):
            continue
    return total


def tiny() -> Any:
    """Return a small network that calls an image bright if the mean of its pixels is above the level between both."""
    import torch
    from torch import nn

    convolution, last = nn.Conv2d(3, 4, 5, stride=8), nn.Linear(4, 2)
    nn.init.constant_(convolution.weight, 1 / convolution.weight[0].numel())
    nn.init.zeros_(convolution.bias)
    last.weight.data, last.bias.data = torch.tensor([[-9.0] * 4, [9.0] * 4]), torch.tensor([15.8, -15.8])
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)


def audit(axis: str, count: int) -> None:
    """Audit the tiny network on one axis."""
    import suite
    from suite import Settings

    with tempfile.TemporaryDirectory() as store:
        task = f"{TASK}:generated_images(count={count})"
        done = suite.audit(tiny(), task=task, axes=[AXES[axis]], store=store, settings=Settings(device="cpu"))
        if done.outcome.failed:
            raise SystemExit(f"{axis}: {done.outcome.failed}")
        rows = done.rows[done.rows["value"].notna()].head(3)
        print("; ".join(f"{row.metric} {row.value:.3f}" for row in rows.itertuples()), flush=True)


def peak(axis: str, count: int) -> tuple[float, float, int | None]:
    """Return the peak in MiB, the seconds and the exit status of an audit in a process of its own."""
    start = time.perf_counter()
    process = multiprocessing.get_context("spawn").Process(target=audit, args=(axis, count))
    process.start()
    highest, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(INTERVAL):
            highest[0] = max(highest[0], tree_pss(process.pid or 0))

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.join()
    stop.set()
    watcher.join()
    return highest[0], time.perf_counter() - start, process.exitcode


def main() -> None:
    """Measure and print a table; the exit status is 1 if an axis exceeds the limit or fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=AXES, default=list(AXES))
    parser.add_argument("--counts", nargs="*", type=int, default=list(COUNTS))
    arguments = parser.parse_args()
    failed = False
    print("| axis | " + " | ".join(f"{count:,} images" for count in arguments.counts) + " | growth |")
    for axis in arguments.only:
        peaks = [peak(axis, count) for count in arguments.counts]
        growth = peaks[-1][0] - peaks[0][0]
        failed |= growth > ALLOWED or any(status for *_, status in peaks)
        cells = " | ".join(
            f"{size:,.0f} MiB, {seconds:.0f} s" + (f", exit {status}" if status else "")
            for size, seconds, status in peaks
        )
        print(f"| {axis} | {cells} | {growth:+,.0f} MiB |", flush=True)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
