"""A long text as windows: some characters of context, and the characters after them to predict."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from suite.data.digests import limited
from suite.data.splitting import SPLITS
from suite.errors import DataError
from suite.types import Sample

RUN_LENGTH = 10
"""Consecutive windows that are kept or left out together, so that models that carry a state across windows can use
it. They are one group, because neighbouring windows have a scene and its speakers in common."""

DRAWN_GROUPS = 20
"""Largest number of groups of runs that were drawn; of more runs, neighbouring ones are joined."""

PASSAGE_GROUPS, GROUP_LENGTH = (4, 10), 80
"""Fewest and most groups of all windows of a passage, and how many windows a group has between them.

Runs that follow each other depend on each other: in the plays, bits per character of windows of 128 characters (under a
5-gram model) correlate by .21 at a distance of 1 window, .11 at 10 and .04 at 20. In simulated
passages of 200 such windows, 95 % intervals with groups of 10 cover in 76 % of the cases, and those with 4 groups of 50
in 92 %; see tests/benchmarks/coverage/language.py.
"""


@dataclass(frozen=True)
class Window:
    """How many characters a sample has.

    Attributes:
        context: characters that are read but not scored, at least 1: the first character of a text has no context.
        scored: characters after them that are to be predicted, at least 1.
    """

    context: int = 128
    scored: int = 128

    def __post_init__(self) -> None:
        for name in ("context", "scored"):
            if getattr(self, name) < 1:
                raise DataError(f"{name}={getattr(self, name)}; expected at least 1 character.")

    @property
    def length(self) -> int:
        """Characters in a window."""
        return self.context + self.scored


@dataclass(frozen=True)
class SplitLimits:
    """How much of each split is used; None for all of it.

    Attributes:
        train: characters, from the beginning.
        validation, test: windows, in runs of `RUN_LENGTH` consecutive ones, chosen by their ids.
    """

    train: int | None = None
    validation: int | None = None
    test: int | None = None

    def __post_init__(self) -> None:
        for split in SPLITS:
            limit = getattr(self, split)
            if limit is not None and limit < 1:
                raise DataError(f"{split}={limit}; expected at least 1, or None for all.")


@dataclass(frozen=True)
class Passage:
    """A part of a longer text.

    Attributes:
        name: name of the text; the first part of the ids.
        text: the characters of the passage.
        start: position of its first character in the whole text.
    """

    name: str
    text: str
    start: int = 0


def cut(whole: Passage, split: str, fractions: tuple[float, float, float]) -> Passage:
    """Return a split's passage of a text by position: train first, then validation, then test, without overlap."""
    index = SPLITS.index(split)
    ends = [round(sum(fractions[:count]) * len(whole.text)) for count in range(4)]
    return Passage(whole.name, whole.text[ends[index] : ends[index + 1]], whole.start + ends[index])


def windows(passage: Passage, window: Window, *, step: int) -> Iterator[Sample]:
    """Yield windows of equal length; the target is the number of characters that are not scored.

    A step of `window.scored` scores every character but the first `window.context` once; the last few, which do not
    fill a window, are left out. The id is the position of a window's first character in the whole text.
    """
    for start in range(0, len(passage.text) - window.length + 1, step):
        name = f"{passage.name}/{passage.start + start:08d}"
        yield Sample(name, passage.text[start : start + window.length], window.context)


def samples(passage: Passage, split: str, *, window: Window, limits: SplitLimits) -> list[Sample]:
    """Return a split's windows.

    They do not overlap for training; otherwise they overlap so that each character is scored once.

    Raises:
        DataError: the passage is too short for one window, or repeats a single character.
    """
    if split == "train":
        passage = replace(passage, text=passage.text[: limits.train])
    if len(passage.text) < window.length:
        raise DataError(
            f"{passage.name}: {len(passage.text):,} characters for {split}; a window has {window.length} (context="
            f"{window.context}, scored={window.scored}). Give a longer text, or lower context= and scored=."
        )
    if len(set(passage.text)) < 2:
        raise DataError(
            f"{passage.name}: the {len(passage.text):,} characters for {split} are all {passage.text[0]!r}, so there "
            "is nothing to predict. Give a text with at least two different characters."
        )
    if split == "train":
        return in_runs(list(windows(passage, window, step=window.length)), None)
    return in_runs(list(windows(passage, window, step=window.scored)), getattr(limits, split))


def in_runs(samples: list[Sample], limit: int | None) -> list[Sample]:
    """Return at most `limit` windows with their groups, in runs of `RUN_LENGTH`; which runs depends on their first ids.

    A drawn run is a group. Without a limit, or with one above their number, all windows are kept in longer groups.
    """
    if limit is None or limit >= len(samples):
        fewest, most = PASSAGE_GROUPS
        count = min(max(len(samples) // GROUP_LENGTH, fewest), most)
        return _grouped(samples, math.ceil(len(samples) / count))
    starts = range(0, len(samples) - RUN_LENGTH + 1, RUN_LENGTH)
    runs = [samples[start : start + RUN_LENGTH] for start in starts] or [samples]
    chosen = limited(runs, [run[0].id for run in runs], math.ceil(limit / RUN_LENGTH))
    kept = [sample for run in chosen for sample in run][:limit]
    return _grouped(kept, RUN_LENGTH * math.ceil(len(chosen) / DRAWN_GROUPS))


def _grouped(samples: list[Sample], length: int) -> list[Sample]:
    """Return samples with every `length` consecutive ones in a group that is named after the first."""
    return [replace(sample, group=samples[place - place % length].id) for place, sample in enumerate(samples)]
