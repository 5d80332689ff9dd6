"""Strength and cost of the cascade by the size of its cohorts, compared with AutoAttack on the same samples.

    python -m tests.benchmarks.cohorts [--only NAME,...] [--tiers quick,standard] [--autoattack]

Samples are cut into cohorts as the robustness axis does it: the cascade ranks the samples of a cohort against each
other. Passes are rows that the network really sees, padding included, at the width of a forward pass that the suite
chooses. AutoAttack takes minutes; without ``--autoattack`` it is left out.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from suite.attacks.engine.problem import Problem
from suite.attacks.engine.validation import validate
from suite.attacks.images.cascade import Cascade
from suite.attacks.rng import as_seeds
from suite.data.cohorts import cohorts
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from suite.runner.width import default_width
from tests.benchmarks import reference, zoo

NETS = "test-mnist-mlp-linf,test-mnist-cnn,test-digits-mlp,test-digits-cnn-linf"
COHORTS = (1024, 128)


def cascade(tier: str, item: zoo.Entry, threat: zoo.Threat, size: int) -> tuple[float, int, int]:
    """Return the accuracy that is left, the rows that the network saw, and the number of cohorts."""
    counted, (norm, eps) = reference.Counted(zoo.load(item)), threat
    pixels, labels = zoo.points(item.data, item.set)
    model = TorchClassifier(counted)
    model.width = default_width(pixels.shape[1:], pixels.device)
    problem = Problem.of(Classification().kind(), model.raw, adapter=model)
    attack, wrong = Cascade((eps,), norm, tier=tier), 0
    groups = cohorts([str(row) for row in range(len(pixels))], np.arange(len(pixels)), size, model.width)
    with model.frozen():
        for rows in map(torch.from_numpy, groups):
            search, _ = attack.explored(problem, pixels[rows], labels[rows], eps, as_seeds(rows.tolist()))
            passes = counted.passes
            wrong += int(validate(problem, attack, pixels[rows], search.best, labels[rows], eps).sum())
            counted.forwards -= counted.passes - passes  # the gate is no part of the attack
    return 1 - wrong / len(pixels), counted.passes, len(groups)


def main() -> None:
    """Print a row for each net, threat and tier."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=NETS)
    parser.add_argument("--tiers", default="quick,standard")
    parser.add_argument("--autoattack", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | threat | n | AutoAttack | tier | " + " | ".join(f"cohorts of {size}" for size in COHORTS) + " |")
    print("|---" * (5 + len(COHORTS)) + "|")
    for item in (zoo.entry(name) for name in options.only.split(",")):
        for threat in item.threats:
            pixels, labels = zoo.points(item.data, item.set)
            shown = "–"
            if options.autoattack:
                result = reference.autoattack(zoo.load(item), pixels, labels, *threat, batch_size=500)
                shown = f"{100 * result.accuracy:.1f}, {result.passes:,}"
            for tier in options.tiers.split(","):
                cells = []
                for size in COHORTS:
                    accuracy, passes, count = cascade(tier, item, threat, size)
                    cells.append(f"{100 * accuracy:.1f}, {passes:,} in {count}")
                head = (
                    f"{item.name.removeprefix('test-')} | {threat[0]} {threat[1]:g} | {len(pixels)} | {shown} | {tier}"
                )
                print(f"| {head} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
