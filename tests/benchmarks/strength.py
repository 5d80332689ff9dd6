"""The cascade beside AutoAttack: the same models, the same points, one process, a pass counter round the model.

    python -m tests.benchmarks.strength [--only NAME,...] [--points N] [--tiers quick,standard,max]

The plans of the cascade were chosen on the models and points of the set "dev"; this judges them on those of the set
"judged", which shares neither. Results go to tests/benchmarks/results/strength.jsonl, a line per model, threat and
attack, as soon as each is there; lines of an earlier run for the same are replaced. `--table` prints what is there.
Times are seconds of the processor, on one thread, so that a busy machine favours neither side.
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
"""Samples per forward pass, for both sides."""

Line = dict[str, Any]


def cascade(tier: str, item: zoo.Entry, threat: zoo.Threat, count: int) -> Line:
    """Return what one tier leaves of a model, verified by the gate, and what it cost."""
    counted, (norm, eps) = reference.Counted(zoo.load(item)), threat
    pixels, labels = (part[:count] for part in zoo.points(item.data, item.set))
    problem = Problem.of(Classification(), counted, batch_size=BATCH)
    began, busy = time.perf_counter(), time.process_time()
    attack = Cascade((eps,), norm, tier=tier)
    search, stages = attack.explored(problem, pixels, labels, eps, as_seeds(range(count)))
    seconds, cpu, passes = time.perf_counter() - began, time.process_time() - busy, counted.passes
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
    """Return what the official AutoAttack leaves of the same model at the same points."""
    pixels, labels = (part[:count] for part in zoo.points(item.data, item.set))
    busy = time.process_time()
    found = reference.autoattack(zoo.load(item), pixels, labels, *threat, batch_size=BATCH)
    kept = {"accuracy": found.accuracy, "passes": found.passes, "seconds": found.seconds, "clean": found.clean}
    kept["cpu_seconds"] = time.process_time() - busy
    return {**kept, "stages": found.by_stage, "flags": list(found.flags)}


def run(item: zoo.Entry, threat: zoo.Threat, count: int, tiers: list[str]) -> None:
    """Run AutoAttack and the tiers side by side and keep a line of each."""
    for name in ["autoattack", *tiers]:
        line = autoattack(item, threat, count) if name == "autoattack" else cascade(name, item, threat, count)
        key = {"model": item.name, "norm": threat[0], "eps": threat[1], "n": count, "attack": name}
        keep(key | line)
        print(f"{item.name} {threat} {name}: {100 * line['accuracy']:.1f} % {line['passes']:,} passes", flush=True)


def lines() -> list[Line]:
    """Return the stored lines."""
    return [json.loads(text) for text in RESULTS.read_text("utf-8").splitlines()] if RESULTS.exists() else []


def keep(line: Line) -> None:
    """Store a line in the place of an earlier one of the same model, threat and attack."""
    names = ("model", "norm", "eps", "attack")
    kept = [other for other in lines() if any(other[name] != line[name] for name in names)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(json.dumps(item) + "\n" for item in [*kept, line]), "utf-8")


def table(found: list[Line]) -> str:
    """Return a markdown table: AutoAttack's own number beside ours, and the medians."""
    tiers = ("quick", "standard", "max")
    rows = ["| model | threat | n | AutoAttack | passes | " + " | ".join(tiers) + " |", "|---" * (5 + len(tiers)) + "|"]
    gaps: dict[str, list[tuple[float, float, float]]] = {tier: [] for tier in tiers}
    for own in (line for line in found if line["attack"] == "autoattack"):
        cells = []
        for tier in tiers:
            names = ("model", "norm", "eps")
            mine = [x for x in found if x["attack"] == tier and all(x[name] == own[name] for name in names)]
            if not mine:
                cells.append("–")
                continue
            gap = round(100 * (mine[0]["accuracy"] - own["accuracy"]), 3) + 0.0
            share, time_share = (own[unit] / mine[0][unit] for unit in ("passes", "cpu_seconds"))
            if "beyond" not in own["model"]:
                gaps[tier].append((gap, share, time_share))
            cells.append(f"{100 * mine[0]['accuracy']:.1f} ({gap:+.1f}) 1/{share:.0f}, time 1/{time_share:.1f}")
        head = f"| {own['model'].removeprefix('judged-')} | {own['norm']} {own['eps']:g} | {own['n']} "
        rows.append(f"{head}| {100 * own['accuracy']:.1f} | {own['passes']:,} | " + " | ".join(cells) + " |")
    for tier, seen in gaps.items():
        if seen:
            gap, share, time_share = (median(column) for column in zip(*seen, strict=True))
            worst, least = max(x[0] for x in seen), min(x[1] for x in seen)
            below = sum(x[0] < 0 for x in seen)
            rows.append(
                f"\n{tier}, {len(seen)} honest pairs: median gap {gap:+.2f} points, worst {worst:+.2f}; median passes "
                f"1/{share:.0f}, most 1/{least:.0f}; median time 1/{time_share:.1f}; below AutoAttack on {below}."
            )
    return "\n".join(rows)


def main() -> None:
    """Run what is asked for, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--set", default="judged")
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
