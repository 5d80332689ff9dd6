"""A long text as windows: some characters to read, and those behind them to predict."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from suite.data.splitting import SPLITS
from suite.data.subsets import limited
from suite.errors import DataError
from suite.types import Sample

RUN = 10
"""Windows that follow each other where a part of a split is chosen: a model that carries its state can show it."""


@dataclass(frozen=True)
class Window:
    """How many characters a sample has.

    Attributes:
        context: characters that are read and not scored, at least 1: the first character of a text has no past.
        scored: characters behind them that are to be predicted, at least 1.
    """

    context: int = 128
    scored: int = 128

    def __post_init__(self) -> None:
        for name in ("context", "scored"):
            if getattr(self, name) < 1:
                raise DataError(f"{name}={getattr(self, name)}; expected at least 1 character.")

    @property
    def length(self) -> int:
        """Characters of a window."""
        return self.context + self.scored


@dataclass(frozen=True)
class Amounts:
    """How much of each split is used; None for all of it.

    Attributes:
        train: characters, from the beginning.
        validation, test: windows, in runs of `RUN` that follow each other, chosen by their ids from the whole split.
    """

    train: int | None = None
    validation: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class Stretch:
    """A piece of a text.

    Attributes:
        name: of the text; the first part of the ids.
        text: the characters of the piece.
        start: position of its first character in the whole text.
    """

    name: str
    text: str
    start: int = 0


def cut(whole: Stretch, split: str, fractions: tuple[float, float, float]) -> Stretch:
    """Return a split's piece of a text by position: train first, then validation, then test, without overlap."""
    place = SPLITS.index(split)
    ends = [round(sum(fractions[:count]) * len(whole.text)) for count in range(4)]
    return Stretch(whole.name, whole.text[ends[place] : ends[place + 1]], whole.start + ends[place])


def windows(piece: Stretch, window: Window, *, step: int) -> Iterator[Sample]:
    """Yield windows of a piece, each as long as all others; the target is the number of characters not scored.

    A step of `window.scored` scores every character but the first `window.context` once; the last few, which fill no
    window, are left out. The id is the position of a window's first character in the whole text.
    """
    for start in range(0, len(piece.text) - window.length + 1, step):
        name = f"{piece.name}/{piece.start + start:08d}"
        yield Sample(name, piece.text[start : start + window.length], window.context)


def samples(piece: Stretch, split: str, *, window: Window, amounts: Amounts) -> list[Sample]:
    """Return a split's windows: side by side for training, and for the others so that all is scored once.

    Raises:
        DataError: the piece is too short for one window, or consists of one character.
    """
    if split == "train":
        piece = Stretch(piece.name, piece.text[: amounts.train], piece.start)
    if len(piece.text) < window.length:
        raise DataError(
            f"{piece.name}: {len(piece.text):,} characters for {split}; a window has {window.length} (context="
            f"{window.context}, scored={window.scored}). Give a longer text, or lower context= and scored=."
        )
    if len(set(piece.text)) < 2:
        raise DataError(
            f"{piece.name}: the {len(piece.text):,} characters for {split} are all {piece.text[0]!r}; whoever repeats "
            "it is right. Give a text."
        )
    if split == "train":
        return list(windows(piece, window, step=window.length))
    return in_runs(list(windows(piece, window, step=window.scored)), getattr(amounts, split))


def in_runs(found: list[Sample], most: int | None) -> list[Sample]:
    """Return at most so many windows, in runs of `RUN`; which runs depends on nothing but their first ids."""
    if most is None or most >= len(found):
        return found
    runs = [found[start : start + RUN] for start in range(0, len(found) - RUN + 1, RUN)] or [found]
    chosen = limited(runs, [run[0].id for run in runs], math.ceil(most / RUN))
    return [window for run in chosen for window in run][:most]
