"""Texts as runs of words, which are compared as numbers of 64 bits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from suite.data.split import Split
from suite.data.text import texts_of

Codes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Characters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, which do not separate words: each counts as a word."""

WORD = re.compile(f"[{UNSPACED}]|[^\\W_{UNSPACED}]+")
"""A word without case, punctuation and markup, so that these make no difference."""

BATCH = 512
"""Texts that are compared at a time."""

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd number whose powers weigh the words of a run."""


@dataclass(frozen=True, eq=False)
class Index:
    """The distinct runs of a split's texts.

    Attributes:
        codes: the distinct runs of all texts, sorted, (runs,).
        texts: position of a text, once for each distinct run of it, sorted, (entries,).
        places: where that run is among the codes, (entries,).
    """

    codes: Codes
    texts: Rows
    places: Rows

    def of(self, text: int) -> Rows:
        """Return the places of the runs of one text."""
        start, stop = np.searchsorted(self.texts, (text, text + 1))
        return self.places[start:stop]


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def numbered(splits: Iterable[Split]) -> dict[str, int]:
    """Return a number from 1 for each word of some splits; words that they lack are 0, and equal none of theirs."""
    numbers: dict[str, int] = {}
    for split in splits:
        for batch in split.batches(BATCH):
            for text in texts_of(batch.inputs):
                for word in _words(text):
                    numbers.setdefault(word, len(numbers) + 1)
    return numbers


def runs_of(split: Split, numbers: Mapping[str, int], length: int) -> Iterator[tuple[Codes, Rows]]:
    """Yield the code of each run of words, and the position of its text, for one batch of texts after another."""
    for start, batch in zip(range(0, len(split), BATCH), split.batches(BATCH), strict=True):
        words = [[numbers.get(word, 0) for word in _words(text)] for text in texts_of(batch.inputs)]
        flat = np.fromiter(chain.from_iterable(words), np.uint64)
        rows = np.repeat(np.arange(start, start + len(words)), [len(each) for each in words])
        count = max(0, len(flat) - length + 1)
        codes = np.zeros(count, np.uint64)
        for offset in range(length):
            codes = codes * FACTOR + flat[offset : offset + count]
        inside = rows[:count] == rows[len(rows) - count :]
        yield codes[inside], rows[:count][inside]


def indexed(runs: Iterator[tuple[Codes, Rows]]) -> Index:
    """Return the runs of a split from those of all its batches."""
    parts = [(np.zeros(0, np.uint64), np.zeros(0, np.int64)), *runs]
    codes, places = np.unique(np.concatenate([codes for codes, _ in parts]), return_inverse=True)
    texts = np.concatenate([rows for _, rows in parts])
    entries = np.unique(texts * max(1, len(codes)) + places)
    return Index(codes, *np.divmod(entries, max(1, len(codes))))
