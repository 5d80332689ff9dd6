"""How large a stored perturbation is, and how large it may be."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from suite.data.text import ROOM, WORD
from suite.kinds.base import Array

ROUNDING = (1e-5, 1e-6)
"""By which share of a size, and by how much beside, a norm may exceed it: what rounding to float32 can add."""


def limit(norm: str, sizes: Array, shape: tuple[int, ...]) -> Array:
    """Return what `SIZES` may be at most for perturbations of some sizes, (n,) in float64.

    Args:
        norm: a key of `SIZES` or `EDITS`.
        sizes: eps of a norm; for a patch the share of the area that it covers; of texts the number of edits.
        shape: (height, width) of the images; for other norms than ``patch`` it does not matter.
    """
    if norm == "l0" or norm in EDITS:  # a count; 0.29 of 100 pixels is 29 of them, not 28.999
        return np.asarray(np.floor(sizes + 1e-9))
    if norm == "patch":  # the side of the largest square of whole pixels
        pixels = np.floor(sizes * shape[0] * shape[1] * (1 + 1e-9))
        return np.asarray(np.minimum(np.floor(np.sqrt(pixels)), min(shape)))
    return np.asarray(sizes * (1 + ROUNDING[0]) + ROUNDING[1])


def finite(found: Array) -> Array:
    """Return which inputs (n, ...) are finite numbers throughout, bool (n,)."""
    return np.asarray(np.isfinite(found).all(axis=_all(found)))


def readable(found: Array) -> Array:
    """Return which rows are texts: code points of characters, and nothing but 0 behind the first 0, bool (n,)."""
    characters = (found == 0) | ((found > 0) & (found < 0xD800)) | ((found > 0xDFFF) & (found < 0x110000))
    goes_on = (found[:, :-1] == 0) & (found[:, 1:] != 0)
    return np.asarray(characters.all(axis=1) & ~goes_on.any(axis=1))


def _all(moved: Array) -> tuple[int, ...]:
    """Return all axes but that of the samples."""
    return tuple(range(1, moved.ndim))


def _changed(moved: Array) -> Array:
    """Return which pixels changed, whatever their channel, or which numbers of a list."""
    return np.asarray(moved != 0 if moved.ndim == 2 else (moved != 0).any(axis=1))


def _box(moved: Array) -> Array:
    """Return the side of the smallest square that holds all pixels that changed, (n,); 0 where none did."""
    changed = (moved != 0).any(axis=1)
    return np.maximum(_extent(changed.any(axis=2)), _extent(changed.any(axis=1)))


def _extent(changed: Array) -> Array:
    """Return how far it is from the first to the last true entry of each row, both counted, (n,)."""
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
"""By norm: perturbations of images (n, channels, height, width), or of lists of numbers (n, k), in float64 to what is
limited of each, (n,).

For ``l0`` all channels of a pixel count as one; for ``patch`` it is the side of the square box round all that changed.
"""


def _words(clean: str, found: str, width: int) -> float:
    """Return how many words differ, or the edits between the lists of words where their numbers differ.

    What stands between words counts as a word where it differs.
    """
    pieces = [[*_pieces(text)] for text in (clean, found)]
    if len(pieces[0]) == len(pieces[1]):
        return float(sum(mine != other for mine, other in zip(*pieces, strict=True)))
    return float(distance(WORD.findall(clean), WORD.findall(found), swaps=False))


def _characters(clean: str, found: str, width: int) -> float:
    """Return how many characters were replaced, added, left out, or swapped with their neighbour."""
    return float(distance(clean, found, swaps=True))


def _pieces(text: str) -> list[str]:
    """Return the words of a text and the gaps before, between and behind them, in turn."""
    pieces, end = [], 0
    for word in WORD.finditer(text):
        pieces += [text[end : word.start()], word.group()]
        end = word.end()
    return [*pieces, text[end:]]


def _words_before(clean: str, found: str, width: int) -> float:
    """Return how many words stand before the clean text; infinity where the rest is not that text.

    The end of the text may be missing where the whole fills its array; and `ROOM` characters count as a word, so that
    what pushes the text out of the array is no single word.
    """
    if clean == found:
        return 0.0
    behind = len(found) - len(clean)
    starts = range(1, len(found)) if len(found) == width else [behind] if behind > 0 else []
    kept = [start for start in starts if clean.startswith(found[start:])]
    before = [max(float(len(WORD.findall(found[:start]))), start / ROOM) for start in kept]
    return min(before, default=np.inf)


def _stretch(clean: str, found: str, width: int) -> float:
    """Return how long the stretch of characters is in which two texts of one length differ; infinity for others."""
    if len(clean) != len(found):
        return np.inf
    differs = [place for place, pair in enumerate(zip(clean, found, strict=True)) if pair[0] != pair[1]]
    return differs[-1] - differs[0] + 1.0 if differs else 0.0


def distance(clean: Sequence[str], found: Sequence[str], *, swaps: bool) -> int:
    """Return the least number of items replaced, added, left out or, with `swaps`, swapped with their neighbour.

    The distance of Levenshtein (1966), or the restricted one of Damerau (1964), is sought within a band round the
    diagonal that widens until it holds the whole path.
    """
    band = abs(len(clean) - len(found)) + 1
    while (count := _banded(clean, found, band, swaps)) > band:
        band *= 2
    return count


def _banded(clean: Sequence[str], found: Sequence[str], band: int, swaps: bool) -> int:
    """Return the distance by paths that stay within a band, or more than the band where it may be less elsewhere."""
    beyond = len(clean) + len(found) + 1
    older: dict[int, int] = {}
    row = {j: j for j in range(min(len(found), band) + 1)}
    for i in range(1, len(clean) + 1):
        fresh: dict[int, int] = {0: i} if i <= band else {}
        for j in range(max(1, i - band), min(len(found), i + band) + 1):
            other = row.get(j - 1, beyond) + (clean[i - 1] != found[j - 1])
            steps = [row.get(j, beyond) + 1, fresh.get(j - 1, beyond) + 1, other]
            if swaps and i > 1 and j > 1 and clean[i - 1] == found[j - 2] and clean[i - 2] == found[j - 1]:
                steps.append(older.get(j - 2, beyond) + 1)
            fresh[j] = min(steps)
        older, row = row, fresh
    return row.get(len(found), beyond)


EDITS: Mapping[str, tuple[Callable[[str, str, int], float], ...]] = MappingProxyType(
    {"words": (_words,), "characters": (_characters,), "trigger": (_words_before, _stretch)}
)
"""By norm: a text, what became of it, and how many characters fit, to how much was edited.

A trigger is words or characters, as the model reads; all inputs of a record are then of the same kind."""
