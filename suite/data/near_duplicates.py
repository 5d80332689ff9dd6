"""Counting the samples of one split that nearly equal a sample of another split.

They are named in the data report and never dropped. Equal samples are no matter of this module: loading drops them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from suite.data.image_hashes import MOST_BITS, SMALLEST, image_matches
from suite.data.near_texts import Overlap, text_matches
from suite.data.split import Split
from suite.data.splitting import PROTECTED_FIRST
from suite.types import Input

ALIKE_TEXTS = Overlap(run=5, fewest=4, share=0.5)
"""For whole texts. One that has fewer than 8 words has no near-duplicates."""

QUOTED_WINDOWS = Overlap(run=16, fewest=1, share=0)
"""For windows of a long text, which are cut anywhere: two training windows may have one half of a test window each."""


@dataclass(frozen=True)
class NearDuplicates:
    """The samples of one split that nearly equal a sample of another split.

    Attributes:
        split: the split that they are in, the more protected one of the two.
        other: the split of the samples that they nearly equal.
        pairs: the id of each one, and of a sample that it nearly equals; not empty.
        of: number of samples in `split`.
        noun: what one sample is called.
        criterion: when two samples are near-duplicates.
    """

    split: str
    other: str
    pairs: tuple[tuple[str, str], ...]
    of: int
    noun: str
    criterion: str

    def sentence(self) -> str:
        """Return the count, the criterion and an example."""
        first, second = self.pairs[0]
        return (
            f"{len(self.pairs):,} of {self.of:,} {self.noun}s in {self.split} are near-duplicates of {self.noun}s in "
            f"{self.other} ({self.criterion}), for example {first} of {second}"
        )


def near_duplicate_remarks(splits: Mapping[str, Split], kind: Input) -> list[str]:
    """Return the sentences for the data report: what was found, or why nothing was looked for.

    Args:
        splits: train, validation and test; each input is read once, in batches (of texts, twice).
        kind: what the samples are.
    """
    if kind.type == "image" and any(_is_small(split) for split in splits.values()):
        height, width = next(split.shape[-2:] for split in splits.values() if len(split))
        return [
            f"near-duplicates were not looked for: at {width}x{height} pixels, images of one class are as alike as "
            f"copies (at least {SMALLEST}x{SMALLEST} are needed)"
        ]
    return [found.sentence() for found in near_duplicates(splits, kind)]


def near_duplicates(splits: Mapping[str, Split], kind: Input) -> list[NearDuplicates]:
    """Return the near-duplicates of each two splits that have any, test before validation before train.

    Images below `SMALLEST` pixels, latents, vectors and embeddings have none.

    Args:
        splits: train, validation and test; each input is read once, in batches (of texts, twice).
        kind: what the samples are.
    """
    ordered = {name: splits[name] for name in PROTECTED_FIRST if len(splits[name])}
    if kind.type == "image":
        criterion = f"perceptual hashes that differ in at most {MOST_BITS} of 63 bits, confirmed on thumbnails"
        matches = {} if any(map(_is_small, ordered.values())) else image_matches(ordered)
    elif kind.type == "text":
        overlap = QUOTED_WINDOWS if kind.fixed_length else ALIKE_TEXTS
        matches, criterion = text_matches(ordered, overlap), overlap.described()
    else:
        return []
    found = []
    for (split, other), rows in matches.items():
        pairs = tuple((ordered[split].ids[row], ordered[other].ids[rows[row]]) for row in sorted(rows))
        if pairs:
            found.append(NearDuplicates(split, other, pairs, len(ordered[split]), kind.noun, criterion))
    return found


def _is_small(split: Split) -> bool:
    return len(split) > 0 and min(split.shape[-2:]) < SMALLEST
