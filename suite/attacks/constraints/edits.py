"""How far a text is from another, counted on the texts alone, and what keeps an edit from being a text at all."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from torch import Tensor

from suite.data.text import ROOM, WORD, texts_of
from suite.data.text import codes as points_of
from suite.errors import SpecError
from suite.kinds.base import Array

LAST = 0x10FFFF
"""The largest code point (Unicode 15, section 2.4)."""

SURROGATES = (0xD800, 0xDFFF)
"""Code points that stand for no character."""

FAR = 100
"""Edits from which on two texts are merely far apart."""

Distance = Callable[[str, str], float]
"""How many edits lead from a text to another."""


def counts(sizes: object) -> tuple[int, ...]:
    """Return numbers of edits as a tuple, ascending.

    Raises:
        SpecError: they are something else, or more than can be counted.
    """
    values = sizes if isinstance(sizes, tuple | list) else (sizes,)
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and 0 < value < FAR]
    if not whole or len(whole) != len(values) or sorted(set(whole)) != list(whole):
        raise SpecError(
            f"edits={list(values)!r}; expected whole numbers from 1 to {FAR - 1}, ascending, like edits=[1, 2, 4]."
        )
    return tuple(whole)


def is_sound(rows: Array) -> Array:
    """Return which rows of code points (n, width) are texts: characters, then nothing but 0, bool (n,)."""
    is_character = (rows > 0) & (rows <= LAST) & ~((rows >= SURROGATES[0]) & (rows <= SURROGATES[1]))
    ended = np.cumsum(rows == 0, axis=1) > 0
    return np.asarray(np.where(ended, rows == 0, is_character).all(axis=1))


def replaced(row: Array, start: int, end: int, spelling: str) -> Array | None:
    """Return a row of code points with other characters from `start` to before `end`; None where it does not fit."""
    length = int((row != 0).sum())
    changed = np.concatenate([row[:start], points_of(spelling), row[end:length]])
    return np.pad(changed, (0, len(row) - len(changed))) if len(changed) <= len(row) else None


def words_between(clean: str, other: str) -> float:
    """Return how many words were replaced, or, where their number changed, replaced, added or left out.

    What stands between two words counts as one of them where it changed.
    """
    before, after = WORD.findall(clean), WORD.findall(other)
    if len(before) != len(after):
        return float(fewest(before, after, swaps=False))
    gaps = zip(WORD.split(clean), WORD.split(other), strict=True)
    return float(sum(a != b for a, b in zip(before, after, strict=True)) + sum(a != b for a, b in gaps))


def characters_between(clean: str, other: str) -> float:
    """Return how many characters were replaced, added or left out, a swap of two neighbours being one edit.

    The restricted Damerau-Levenshtein distance (Damerau 1964).
    """
    return float(fewest(clean, other, swaps=True))


BETWEEN: Mapping[str, Distance] = MappingProxyType({"words": words_between, "characters": characters_between})
"""What is counted, by the name of the norm."""


def words_before(clean: str, other: str, width: int) -> float:
    """Return how many words stand before the clean text; infinity where the rest is not that text.

    `ROOM` characters count as a word at least, so that no single word pushes the text out of its array.

    Args:
        clean: a text.
        other: another.
        width: characters that fit; where the other text fills them its end may have been cut.
    """
    if clean == other:
        return 0.0
    lengths = range(1, len(other) + 1) if len(other) == width else (len(other) - len(clean),)
    starts = [start for start in lengths if start > 0 and clean.startswith(other[start:])]
    return min((max(len(WORD.findall(other[:start])), start / ROOM) for start in starts), default=math.inf)


def stretch_between(clean: str, other: str) -> float:
    """Return how many characters it is from the first to the last that differs; infinity for another length."""
    if len(clean) != len(other):
        return math.inf
    start, end = _shared(clean, other)
    return float(len(clean) - start - end)


def distances(clean: Tensor, other: Tensor, distance: Distance) -> Array:
    """Return how far each text (n, width) is from another, float64 (n,); infinity where the other is no text."""
    before, after = clean.cpu().numpy(), other.detach().cpu().numpy()
    sound = is_sound(after)
    pairs = zip(texts_of(before), texts_of(np.where(sound[:, None], after, 0)), strict=True)
    far = [distance(*pair) if good else math.inf for pair, good in zip(pairs, sound, strict=True)]
    return np.array(far, np.float64)


def fewest(before: Sequence[str], after: Sequence[str], *, swaps: bool) -> int:
    """Return the least number of items replaced, added, left out or, with `swaps`, swapped with their neighbour.

    On each diagonal the furthest pair of places that some number of edits leads to is followed as far as the two
    agree, one edit at a time (Ukkonen 1985); from `FAR` edits on the answer is `FAR`.
    """
    goal, reached = (len(before), len(after)), {_along(before, after, 0, 0)}
    for count in range(FAR):
        if goal in reached:
            return count
        places = [_along(before, after, *place) for start in reached for place in _next(before, after, start, swaps)]
        furthest: dict[int, tuple[int, int]] = {}
        for i, j in places:
            furthest[i - j] = max(furthest.get(i - j, (i, j)), (i, j))
        reached = set(furthest.values())
    return FAR


def _next(before: Sequence[str], after: Sequence[str], start: tuple[int, int], swaps: bool) -> list[tuple[int, int]]:
    """Return where one edit leads."""
    i, j = start
    places = [(i + 1, j), (i, j + 1), (i + 1, j + 1)]
    if swaps and (*before[i : i + 2],) == (*after[j : j + 2][::-1],) and len(before[i : i + 2]) == 2:
        places.append((i + 2, j + 2))
    return [(a, b) for a, b in places if a <= len(before) and b <= len(after)]


def _along(before: Sequence[str], after: Sequence[str], i: int, j: int) -> tuple[int, int]:
    """Return how far two texts agree from a pair of places on."""
    while i < len(before) and j < len(after) and before[i] == after[j]:
        i, j = i + 1, j + 1
    return i, j


def _shared(clean: str, other: str) -> tuple[int, int]:
    """Return how many characters two texts share at their beginning, and how many of the rest at their end."""
    most = min(len(clean), len(other))
    start = next((place for place in range(most) if clean[place] != other[place]), most)
    most -= start
    return start, next((place for place in range(most) if clean[-1 - place] != other[-1 - place]), most)
