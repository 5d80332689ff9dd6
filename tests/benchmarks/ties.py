"""How often a board of equally good models shows a difference, and whether its sentence about power holds.

    python -m tests.benchmarks.ties [BOARDS]

A board of equal models shows a false difference if any of its pairs differs after Holm's adjustment. That may happen on
5 % of the boards, plus simulation error. `test_ties` runs a small version.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from suite.kinds.language.kind import BITS_PER_CHARACTER
from suite.leaderboard.comparison import Samples, compare
from suite.metrics.catalogue import Metric
from suite.metrics.detection import MAP
from suite.metrics.segmentation import MIOU
from suite.metrics.stats import holm_matrix

Array = npt.NDArray[Any]
Draw = Callable[[np.random.Generator, int], tuple[list[Array], Array | None]]
"""(generator, number of models) to the tallies of equally good models, and the groups of the samples."""

ALPHA, MODELS = 0.05, 4
ACCURACY = Metric("accuracy", "accuracy", "", outcome="correct")


def grouped_accuracy(rng: np.random.Generator, models: int) -> tuple[list[Array], Array]:
    """Draw 30 groups of 1 to 9 samples; a group is hard for all models, or for one of them."""
    groups = np.repeat(np.arange(30), rng.integers(1, 10, 30))
    hard = rng.normal(size=(1, 30)) + rng.normal(size=(models, 30))
    right = rng.normal(size=(models, groups.size)) + hard[:, groups] < 1.5
    return list(right), groups


def grouped_bits(rng: np.random.Generator, models: int) -> tuple[list[Array], Array]:
    """Draw 100 windows in 10 runs, with a skewed number of bits that depends on run and model."""
    groups = np.repeat(np.arange(10), 10)
    level = rng.normal(0, 0.2, (1, 10)) + rng.normal(0, 0.05, (models, 10))
    bits = 100 * np.exp(level[:, groups] + rng.normal(0, 0.2, (models, 100)))
    return [np.stack([one, np.full(100, 50.0)], axis=1) for one in bits], groups


def confusions(rng: np.random.Generator, models: int) -> tuple[list[Array], None]:
    """Draw the confusion matrices of 60 images with 4 classes, the last one in every fifth image."""
    sizes = rng.multinomial(400, [0.7, 0.2, 0.08, 0.02], size=60) * (rng.uniform(size=(60, 4)) < [1, 0.8, 0.5, 0.2])
    hard = rng.normal(size=(60, 4)) + rng.normal(size=(models, 60, 4))
    tallies = []
    for model in hard:
        right = 1 / (1 + np.exp(model - 1.5))
        rows = (1 - right)[..., None] / 3 * np.ones(4)
        rows[..., range(4), range(4)] = right
        tallies.append(rng.multinomial(sizes, rows))
    return tallies, None


def boxes(rng: np.random.Generator, models: int) -> tuple[list[Array], None]:
    """Draw 40 images with up to 4 objects of 3 classes, of which every model detects most, with false positives."""
    n, most = 40, 4
    corner = rng.uniform(0, 60, (n, most, 2))
    truth = np.concatenate([corner, corner + rng.uniform(10, 30, (n, most, 2))], axis=2)
    label = rng.integers(0, 3, (n, most))
    exists = np.arange(most) < rng.integers(1, most + 1, n)[:, None]
    flags = np.stack([np.where(exists, label, -1), np.zeros((n, most))], axis=2)
    tallies = []
    for _ in range(models):
        found = np.full((n, 100, 6), -1.0)
        found[..., :5] = 0
        shift = rng.normal(0, 2, truth.shape).clip(-4, 4)  # sides are at least 10, so that no box is inverted
        found[:, :most, :4] = truth + shift
        found[:, :most, 4] = rng.beta(4, 2, (n, most))
        found[:, :most, 5] = np.where(exists & (rng.uniform(size=(n, most)) < 0.8), label, -1)
        extra = rng.uniform(0, 60, (n, 2, 2))
        found[:, most : most + 2, :4] = np.concatenate([extra, extra + 20], axis=2)
        found[:, most : most + 2, 4] = rng.beta(2, 3, (n, 2))
        found[:, most : most + 2, 5] = np.where(rng.uniform(size=(n, 2)) < 0.5, rng.integers(0, 3, (n, 2)), -1)
        tallies.append(np.concatenate([found, np.concatenate([truth, flags], axis=2)], axis=1))
    return tallies, None


SETTINGS: dict[str, tuple[Metric, str, Draw]] = {
    "accuracy in groups": (ACCURACY, "classification", grouped_accuracy),
    "bits per character in groups": (BITS_PER_CHARACTER, "language", grouped_bits),
    "mIoU": (MIOU, "segmentation", confusions),
    "mAP": (MAP, "detection", boxes),
}


def differs(setting: str, seed: int, models: int = MODELS) -> bool:
    """Return whether a board of equal models shows a difference."""
    metric, kind, draw = SETTINGS[setting]
    tallies, groups = draw(np.random.default_rng(seed), models)
    samples = [
        Samples(np.arange(len(tally)), tally, set(np.unique(tally)) <= {0, 1}, groups, kind) for tally in tallies
    ]
    return bool((holm_matrix(compare(metric, samples, ALPHA).p) <= ALPHA).any())


def false_boards(setting: str, boards: int) -> int:
    """Return how many boards of equal models show a difference."""
    return sum(differs(setting, seed) for seed in range(boards))


def acceptable(boards: int) -> int:
    """Return the most false boards that an error rate of 5 % explains with a probability of at least 1 %."""
    return int(binom.ppf(0.99, boards, ALPHA))


def found(gap: float, discordance: float, n: int, boards: int, models: int = 5) -> tuple[float, float]:
    """Return how often a true gap in accuracy is found: by one comparison, and on a board with Holm's adjustment.

    The first model is better than the others by the gap; any two disagree on the given share of the samples.
    """
    rng, single, adjusted = np.random.default_rng(0), 0, 0
    for _ in range(boards):
        right = accuracies(rng, gap, discordance, n, models)
        samples = [Samples(np.arange(n), one, True, None, "classification") for one in right]
        p = compare(ACCURACY, samples, ALPHA).p
        single += bool(p[0, 1] <= ALPHA)
        adjusted += bool(holm_matrix(p)[0, 1] <= ALPHA)
    return single / boards, adjusted / boards


def accuracies(rng: np.random.Generator, gap: float, discordance: float, n: int, models: int) -> Array:
    """Draw outcomes (models, n): on a share of samples one model alone is wrong, less often the first one."""
    # Two models disagree where one of the two is wrong: with probability 2 q, less the gap for the first model.
    wrong = np.full(models, discordance / 2)
    wrong[0], wrong[1:] = (discordance - gap) / 2, (discordance + gap) / 2
    edges = np.cumsum(wrong)
    culprit = np.searchsorted(edges, rng.uniform(size=n), side="right")
    return np.asarray(culprit != np.arange(models)[:, None])


def main(boards: int = 300) -> None:
    """Print how often each setting shows a false difference, and how often a gap is found."""
    for name in SETTINGS:
        count = false_boards(name, boards)
        print(f"{name}: {count} of {boards} boards of equal models show a difference; at most {acceptable(boards)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
