"""Splitting data that come without a split of their own."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

SPLITS = ("train", "validation", "test")
"""Names of the three splits: to train on, to select models and settings on, and to evaluate on."""


def stratified(
    labels: Sequence[Hashable], split: str, *, seed: int, fractions: tuple[float, float, float] = (0.5, 0.2, 0.3)
) -> list[int]:
    """Return the positions that belong to a split, every class in the same proportion.

    Args:
        labels: one label per sample, in a fixed order.
        split: train, validation or test.
        seed: seed of the shuffle; the three splits of one seed never overlap.
        fractions: shares of train, validation and test; they add up to 1.

    Raises:
        ValueError: an unknown split.
    """
    index = SPLITS.index(split)
    by_label: dict[Hashable, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        by_label[label].append(position)
    chosen: list[int] = []
    generator = np.random.default_rng([seed, len(labels)])
    for label in sorted(by_label, key=str):
        shuffled = generator.permutation(by_label[label])
        ends = np.rint(np.cumsum((0.0, *fractions)) * len(shuffled)).astype(int)
        chosen.extend(shuffled[ends[index] : ends[index + 1]].tolist())
    return sorted(chosen)
