"""Splitting data that come without a split of their own."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from hashlib import sha256

import numpy as np

SPLITS = ("train", "validation", "test")
"""Names of the three splits: to train on, to select models and settings on, and to evaluate on."""

PROTECTED_FIRST = ("test", "validation", "train")
"""Of two equal samples, the one in the more protected split is kept: a test sample must never be trained on."""

Fractions = tuple[float, float, float]
"""Shares of train, validation and test; they add up to 1."""


def stratified(
    labels: Sequence[Hashable], split: str, *, seed: int, fractions: Fractions = (0.5, 0.2, 0.3)
) -> list[int]:
    """Return the positions that belong to a split, every class in the same proportion.

    One sample more changes the split of many others. It is for data sets that never change; see `by_content`.

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


def by_content(
    contents: Sequence[bytes],
    split: str,
    *,
    seed: int,
    labels: Sequence[Hashable] | None = None,
    fractions: Fractions = (0.5, 0.2, 0.3),
) -> list[int]:
    """Return the positions that belong to a split, by what the samples are and not by how many there are.

    A content's split follows from the SHA-256 of the seed and the content, so the sizes of the splits are binomial.
    Equal contents share a split. One sample more changes the split of at most one other content per class. A class of
    at least 3 contents has some in every split (of at least 2, if only two fractions are positive).

    Args:
        contents: a digest or text of each sample, in any order.
        split: train, validation or test.
        seed: seed of the draws.
        labels: class of each sample; None if there are none. A content with several labels belongs to all of them.
        fractions: shares of train, validation and test; they add up to 1.

    Raises:
        ValueError: an unknown split.
    """
    SPLITS.index(split)
    by_label: dict[Hashable, set[bytes]] = defaultdict(set)
    for content, label in zip(contents, labels or [None] * len(contents), strict=True):
        by_label[label].add(content)
    places = {content: _place(content, seed) for content in set(contents)}
    splits: dict[bytes, str] = {}
    for members in by_label.values():
        for content, found in _of_class({content: places[content] for content in members}, fractions).items():
            # A content with several labels is pulled wherever one of its classes pulls it.
            splits[content] = min(found, splits.get(content, found), key=PROTECTED_FIRST.index)
    return [position for position, content in enumerate(contents) if splits[content] == split]


def _place(content: bytes, seed: int) -> float:
    """Return a number in [0, 1) that depends on the content and the seed only."""
    return int.from_bytes(sha256(f"{seed}\0".encode() + content).digest()[:8], "big") / 2**64


def _of_class(places: Mapping[bytes, float], fractions: Fractions) -> dict[bytes, str]:
    """Return the split of each content of one class: by its place, unless a split would be empty.

    The splits stand on a circle. An empty one gets a content from each other one that has at least 2, rather than from
    one of them: which of two gives would change with their sizes, and then two contents would move. For the same reason
    a split that gets its first content keeps one of those two: the one from the larger split.
    """
    share = dict(zip(SPLITS, fractions, strict=True))
    circle = [split for split in PROTECTED_FIRST if share[split] > 0]
    ends = np.cumsum([share[split] for split in circle])[:-1]
    own: dict[str, list[bytes]] = {split: [] for split in circle}
    for content in sorted(places, key=lambda content: (places[content], content)):
        own[circle[int(np.searchsorted(ends, places[content], side="right"))]].append(content)
    splits = {content: split for split, members in own.items() for content in members}
    for split in circle:
        givers = [other for other in circle if other != split and len(own[other]) >= 2]
        if len(own[split]) == 1:
            givers = [max(givers, key=share.__getitem__)] if len(givers) == 2 else []
        for giver in givers if len(own[split]) < 2 else []:
            splits[own[giver][0 if _follows(circle, giver, split) else -1]] = split
    return splits


def _follows(circle: Sequence[str], split: str, other: str) -> bool:
    """Return whether a split comes right after another one on the circle; it then gives its lowest content."""
    return circle[circle.index(split) - 1] == other
