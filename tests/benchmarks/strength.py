"""The cascade compared with AutoAttack: same models and samples, one process, a pass counter around the model.

    python -m tests.benchmarks.strength [--only NAME,...] [--points N] [--tiers quick,standard,max]

The plans of the cascade were chosen on the models and samples of the set "dev"; this benchmark evaluates them on the
disjoint set "test". Each finished run is written to tests/benchmarks/results/strength.jsonl, one line per model, threat
and attack, and replaces an earlier line for the same combination. `--table` prints the stored results. Times are
processor times on one thread, so that other load on the machine does not bias the comparison.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from suite.attacks.diagnostics.probes import probe
from suite.attacks.engine.problem import Problem
from suite.attacks.engine.validation import validate
from suite.attacks.images.cascade import Cascade
from suite.attacks.rng import as_seeds
from suite.kinds.classification.kind import Classification
from tests.benchmarks import reference, zoo

RESULTS = Path(__file__).parent / "results" / "strength.jsonl"
BATCH = 500
"""Samples per forward pass, for both attacks."""

Line = dict[str, Any]


def cascade(tier: str, item: zoo.Entry, threat: zoo.Threat, count: int) -> Line:
    """Return the validated result of one tier on a model, and its cost."""
    counted, (norm, eps) = reference.Counted(zoo.load(item)), threat
    pixels, labels = (part[:count] for part in zoo.points(item.data, item.set))
    problem = Problem.of(Classification().kind(), counted, batch_size=BATCH)
    start, cpu_start = time.perf_counter(), time.process_time()
    attack = Cascade((eps,), norm, tier=tier)
    search, stages = attack.explored(problem, pixels, labels, eps, as_seeds(range(count)))
    seconds, cpu, passes = time.perf_counter() - start, time.process_time() - cpu_start, counted.passes
    misclassified = validate(problem, attack, pixels, search.best, labels, eps)
    probes = probe(counted, pixels[~search.misclassified], labels[~search.misclassified])
    flags = [name for name, item in probes.items() if item.status == "fail"]
    return {
        "accuracy": 1 - float(misclassified.mean()),
        "passes": passes,
        "with_probes": counted.passes,
        "counted_by_the_engine": problem.passes.total,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "flags": flags,
        "stages": {name: int((search.rung == number).sum()) for number, name in enumerate(stages)},
    }


def autoattack(item: zoo.Entry, threat: zoo.Threat, count: int) -> Line:
    """Return the result of the official AutoAttack on the same model and samples, and its cost."""
    pixels, labels = (part[:count] for part in zoo.points(item.data, item.set))
    cpu_start = time.process_time()
    result = reference.autoattack(zoo.load(item), pixels, labels, *threat, batch_size=BATCH)
    kept = {"accuracy": result.accuracy, "passes": result.passes, "seconds": result.seconds, "clean": result.clean}
    kept["cpu_seconds"] = time.process_time() - cpu_start
    return {**kept, "stages": result.by_stage, "flags": list(result.flags)}


def run(item: zoo.Entry, threat: zoo.Threat, count: int, tiers: list[str]) -> None:
    """Run AutoAttack and the tiers, and store one line for each."""
    for name in ["autoattack", *tiers]:
        line = autoattack(item, threat, count) if name == "autoattack" else cascade(name, item, threat, count)
        key = {"model": item.name, "norm": threat[0], "eps": threat[1], "n": count, "attack": name}
        store(key | line)
        print(f"{item.name} {threat} {name}: {100 * line['accuracy']:.1f} % {line['passes']:,} passes", flush=True)


def lines() -> list[Line]:
    """Return the stored lines."""
    return [json.loads(text) for text in RESULTS.read_text("utf-8").splitlines()] if RESULTS.exists() else []


def store(line: Line) -> None:
    """Store a line; replace an earlier one of the same model, threat and attack."""
    names = ("model", "norm", "eps", "attack")
    kept = [other for other in lines() if any(other[name] != line[name] for name in names)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(json.dumps(item) + "\n" for item in [*kept, line]), "utf-8")


def table(stored: list[Line]) -> str:
    """Return a Markdown table of AutoAttack's robust accuracy and the cascade's, and the medians."""
    tiers = ("quick", "standard", "max")
    rows = ["| model | threat | n | AutoAttack | passes | " + " | ".join(tiers) + " |", "|---" * (5 + len(tiers)) + "|"]
    gaps: dict[str, list[tuple[float, float, float]]] = {tier: [] for tier in tiers}
    for own in (line for line in stored if line["attack"] == "autoattack"):
        cells = []
        for tier in tiers:
            names = ("model", "norm", "eps")
            ours = [x for x in stored if x["attack"] == tier and all(x[name] == own[name] for name in names)]
            if not ours:
                cells.append("–")
                continue
            gap = round(100 * (ours[0]["accuracy"] - own["accuracy"]), 3) + 0.0
            share, time_share = (own[unit] / ours[0][unit] for unit in ("passes", "cpu_seconds"))
            if "beyond" not in own["model"]:
                gaps[tier].append((gap, share, time_share))
            cells.append(f"{100 * ours[0]['accuracy']:.1f} ({gap:+.1f}) 1/{share:.0f}, time 1/{time_share:.1f}")
        head = f"| {own['model'].removeprefix('test-')} | {own['norm']} {own['eps']:g} | {own['n']} "
        rows.append(f"{head}| {100 * own['accuracy']:.1f} | {own['passes']:,} | " + " | ".join(cells) + " |")
    for tier, values in gaps.items():
        if values:
            gap, share, time_share = (median(column) for column in zip(*values, strict=True))
            worst, least = max(x[0] for x in values), min(x[1] for x in values)
            below = sum(x[0] < 0 for x in values)
            rows.append(
                f"\n{tier}, {len(values)} pairs without masking: median gap {gap:+.2f} points, worst {worst:+.2f}; "
                f"median passes 1/{share:.0f}, most 1/{least:.0f}; "
                f"median time 1/{time_share:.1f}; below AutoAttack on {below}."
            )
    return "\n".join(rows)


def main() -> None:
    """Run the selected comparisons and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--set", default="test")
    parser.add_argument("--points", type=int, default=10**6)
    parser.add_argument("--tiers", default="quick,standard,max")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [name for name in options.only.split(",") if name]
    for item in zoo.ENTRIES if not options.table else ():
        if item.set == options.set and (not chosen or item.name in chosen):
            for threat in item.threats:
                run(item, threat, min(options.points, item.count), options.tiers.split(","))
    print(table(lines()))


if __name__ == "__main__":
    main()
