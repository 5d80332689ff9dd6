"""Sizes of stored perturbations, and the limits for them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from rapidfuzz.distance import OSA, Levenshtein

from suite.data.text import ROOM, WORD
from suite.kinds.base import Array

ROUNDING = (1e-5, 1e-6)
"""Relative and absolute tolerance of a norm, for rounding to float32."""


def limit(norm: str, sizes: Array, shape: tuple[int, ...]) -> Array:
    """Return the limits for the values of `SIZES` or `EDITS`, (n,) in float64.

    Args:
        norm: a key of `SIZES` or `EDITS`.
        sizes: eps of a norm; for a patch the fraction of the area that it covers; for texts the number of edits.
        shape: (height, width) of the images; used only for ``patch``.
    """
    if norm == "l0" or norm in EDITS:  # a count; 0.29 of 100 pixels is 29 of them, not 28.999
        return np.asarray(np.floor(sizes + 1e-9))
    if norm == "patch":  # the side of the largest square of whole pixels
        pixels = np.floor(sizes * shape[0] * shape[1] * (1 + 1e-9))
        return np.asarray(np.minimum(np.floor(np.sqrt(pixels)), min(shape)))
    return np.asarray(sizes * (1 + ROUNDING[0]) + ROUNDING[1])


def finite(found: Array) -> Array:
    """Return which inputs (n, ...) are finite, bool (n,)."""
    return np.asarray(np.isfinite(found).all(axis=_all(found)))


def readable(found: Array) -> Array:
    """Return which rows are texts, bool (n,): code points of characters, and only 0 after the first 0."""
    characters = (found == 0) | ((found > 0) & (found < 0xD800)) | ((found > 0xDFFF) & (found < 0x110000))
    continues = (found[:, :-1] == 0) & (found[:, 1:] != 0)
    return np.asarray(characters.all(axis=1) & ~continues.any(axis=1))


def _all(moved: Array) -> tuple[int, ...]:
    """Return all axes except that of the samples."""
    return tuple(range(1, moved.ndim))


def _changed(moved: Array) -> Array:
    """Return which pixels changed in any channel, or which entries of a vector changed."""
    return np.asarray(moved != 0 if moved.ndim == 2 else (moved != 0).any(axis=1))


def _box(moved: Array) -> Array:
    """Return the side of the smallest square around all changed pixels, (n,); 0 if none changed."""
    changed = (moved != 0).any(axis=1)
    return np.maximum(_extent(changed.any(axis=2)), _extent(changed.any(axis=1)))


def _extent(changed: Array) -> Array:
    """Return the number of entries from the first to the last true one of each row, (n,); 0 if none is true."""
    first, last = changed.argmax(axis=1), changed.shape[1] - 1 - changed[:, ::-1].argmax(axis=1)
    return np.where(changed.any(axis=1), last - first + 1, 0)


SIZES: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "linf": lambda moved: np.abs(moved).max(axis=_all(moved)),
        "l2": lambda moved: np.sqrt((moved**2).sum(axis=_all(moved))),
        "l1": lambda moved: np.abs(moved).sum(axis=_all(moved)),
        "l0": lambda moved: _changed(moved).sum(axis=_all(_changed(moved))),
        "patch": _box,
    }
)
"""The size of perturbations by norm: maps float64 images (n, channels, height, width) or vectors (n, k) to (n,).

For ``l0`` all channels of a pixel count as one; for ``patch`` it is the side of the square around all changed pixels.
"""


def _words(clean: str, found: str, width: int) -> float:
    """Return how many words differ; for different numbers of words, the Levenshtein distance between the word lists.

    A changed gap between words counts as a word.
    """
    before, after = _words_and_gaps(clean), _words_and_gaps(found)
    if len(before) == len(after):
        return float(sum(old != new for old, new in zip(before, after, strict=True)))
    return float(Levenshtein.distance(WORD.findall(clean), WORD.findall(found)))


def _characters(clean: str, found: str, width: int) -> float:
    """Return the number of edits: characters replaced, inserted, deleted, or swapped with a neighbor (OSA distance)."""
    return float(OSA.distance(clean, found))


def _words_and_gaps(text: str) -> list[str]:
    """Return the gaps and words of a text in turn, beginning and ending with a gap."""
    parts, end = [], 0
    for word in WORD.finditer(text):
        parts += [text[end : word.start()], word.group()]
        end = word.end()
    return [*parts, text[end:]]


def _words_before(clean: str, found: str, width: int) -> float:
    """Return how many words were inserted before the clean text; infinity if the rest is not that text.

    The end of the text may be cut off if the whole fills its array. `ROOM` characters count as one word, so that a
    single long word cannot push the text out of the array.
    """
    if clean == found:
        return 0.0
    added = len(found) - len(clean)
    starts = range(1, len(found)) if len(found) == width else [added] if added > 0 else []
    counts = [
        max(float(len(WORD.findall(found[:start]))), start / ROOM)
        for start in starts
        if clean.startswith(found[start:])
    ]
    return min(counts, default=np.inf)


def _span(clean: str, found: str, width: int) -> float:
    """Return the length of the span in which two texts of equal length differ; infinity for other lengths."""
    if len(clean) != len(found):
        return np.inf
    differs = [place for place, pair in enumerate(zip(clean, found, strict=True)) if pair[0] != pair[1]]
    return differs[-1] - differs[0] + 1.0 if differs else 0.0


EDITS: Mapping[str, tuple[Callable[[str, str, int], float], ...]] = MappingProxyType(
    {"words": (_words,), "characters": (_characters,), "trigger": (_words_before, _span)}
)
"""The number of edits by norm, from the clean text, the changed text and the maximum length in characters.

A trigger consists of words or of characters, so it has two measures; one of them holds for all inputs of a record.
"""
