"""Edit distances between texts, and how to apply an edit to an array of code points."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from rapidfuzz.distance import OSA, Levenshtein
from torch import Tensor

from suite.attacks.constraints.norms import Norm, register_norm
from suite.data.text import ROOM, WORD, texts_of
from suite.data.text import codes as points_of
from suite.errors import SpecError
from suite.kinds.base import Array

LAST = 0x10FFFF
"""The largest code point (Unicode 15, section 2.4)."""

SURROGATES = (0xD800, 0xDFFF)
"""Code points that stand for no character."""

FAR = 100
"""The largest distance that is reported; larger ones are cut off here."""

Distance = Callable[[str, str], float]
"""Number of edits that turn one text into another."""


def edit_counts(sizes: object) -> tuple[int, ...]:
    """Return numbers of edits as an ascending tuple.

    Raises:
        SpecError: they are not ascending whole numbers from 1 to `FAR` - 1.
    """
    values = sizes if isinstance(sizes, tuple | list) else (sizes,)
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and 0 < value < FAR]
    if not whole or len(whole) != len(values) or sorted(set(whole)) != list(whole):
        raise SpecError(
            f"edits={list(values)!r}; expected whole numbers from 1 to {FAR - 1}, ascending, like edits=[1, 2, 4]."
        )
    return tuple(whole)


def is_text(rows: Array) -> Array:
    """Return which rows of code points (n, width) are texts: characters, then zeros only, bool (n,)."""
    is_character = (rows > 0) & (rows <= LAST) & ~((rows >= SURROGATES[0]) & (rows <= SURROGATES[1]))
    ended = np.cumsum(rows == 0, axis=1) > 0
    return np.asarray(np.where(ended, rows == 0, is_character).all(axis=1))


def replace_span(row: Array, start: int, end: int, spelling: str) -> Array | None:
    """Return a row of code points with row[start:end] replaced by a spelling, or None if the result is too long."""
    length = int((row != 0).sum())
    changed = np.concatenate([row[:start], points_of(spelling), row[end:length]])
    return np.pad(changed, (0, len(row) - len(changed))) if len(changed) <= len(row) else None


def word_edits(clean: str, other: str) -> float:
    """Return how many words were replaced; if the number of words differs, replaced, inserted or deleted.

    A changed gap between two words counts as one word. Between texts with different numbers of words this is the
    distance of Levenshtein (1966) on lists of words, at most `FAR`.
    """
    before, after = WORD.findall(clean), WORD.findall(other)
    if len(before) != len(after):
        return float(Levenshtein.distance(before, after, score_cutoff=FAR - 1))
    gaps = zip(WORD.split(clean), WORD.split(other), strict=True)
    return float(sum(a != b for a, b in zip(before, after, strict=True)) + sum(a != b for a, b in gaps))


def character_edits(clean: str, other: str) -> float:
    """Return how many characters were replaced, inserted, deleted or swapped with their neighbor, at most `FAR`.

    This is the restricted Damerau-Levenshtein distance (optimal string alignment, Damerau 1964).
    """
    return float(OSA.distance(clean, other, score_cutoff=FAR - 1))


def prepended_words(clean: str, other: str, width: int) -> float:
    """Return how many words were put before the clean text; infinity if the rest is not the clean text.

    Every `ROOM` characters count for at least one word, so that no single word can push the text out of its array.

    Args:
        clean: the clean text.
        other: the text to compare with it.
        width: length of the array; the end of a text that fills it may have been cut off.
    """
    if clean == other:
        return 0.0
    lengths = range(1, len(other) + 1) if len(other) == width else (len(other) - len(clean),)
    starts = [start for start in lengths if start > 0 and clean.startswith(other[start:])]
    return min((max(len(WORD.findall(other[:start])), start / ROOM) for start in starts), default=math.inf)


def changed_span(clean: str, other: str) -> float:
    """Return the number of characters from the first to the last that differs; infinity if the lengths differ."""
    if len(clean) != len(other):
        return math.inf
    changed = [place for place, (a, b) in enumerate(zip(clean, other, strict=True)) if a != b]
    return float(changed[-1] - changed[0] + 1) if changed else 0.0


def distances(clean: Tensor, other: Tensor, distance: Distance) -> Array:
    """Return the distance of each text from its clean text, float64 (n,); infinity where a row is not a text.

    Args:
        clean: code points (n, width).
        other: code points (n, width).
        distance: the edit distance.
    """
    before, after = clean.cpu().numpy(), other.detach().cpu().numpy()
    valid = is_text(after)
    pairs = zip(texts_of(before), texts_of(np.where(valid[:, None], after, 0)), strict=True)
    return np.array([distance(*pair) if ok else math.inf for pair, ok in zip(pairs, valid, strict=True)], np.float64)


WORDS = register_norm(
    Norm("words", "edits", "word", quantity="words changed", edits=partial(distances, distance=word_edits))
)
CHARACTERS = register_norm(
    Norm(
        "characters",
        "edits",
        "character",
        quantity="characters changed",
        edits=partial(distances, distance=character_edits),
    )
)
TRIGGER = register_norm(Norm("trigger", "edits", "token", quantity="words inserted before every text"))
"""The attack counts the edits itself: they are words before a text, or characters of one span."""
