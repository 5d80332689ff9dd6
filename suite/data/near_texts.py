"""Texts that have runs of words in common with a text of another split.

Near-duplicates that are found, of 300 texts each (95 % Clopper-Pearson intervals): one word replaced in 8 to 11 words,
29 % (24 to 34); one in 12 to 23 words, 94 % (91 to 96); two in 24 to 60 words, and one word in ten in texts of 240,
100 % (99 to 100). Of 1,404 sentences on films, none is taken for a near-duplicate of one of 8,558 others (at most
0.3 %). Of 200 windows of the plays, none has a run of 16 words in common with others; one has a run of 10, a stage
direction.

The time is linear in the number of words: 25,000 reviews of 230 words with 25,000 others take 15 to 20 s and 500 MB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.split import Split
from suite.data.word_runs import Codes, Index, Rows, indexed, numbered, runs_of

TRIED = 5
"""Texts of the other split that are compared with one as a whole, those that have most of its runs before any other."""


@dataclass(frozen=True)
class Overlap:
    """When a text is a near-duplicate of another one.

    Attributes:
        run: number of words in a run.
        fewest: least number of its runs that occur in the other one.
        share: least share of its runs that occur in the other one.
    """

    run: int
    fewest: int
    share: float

    def reached(self, shared: npt.NDArray[Any], of: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return whether enough runs are shared, of all that a text has."""
        return np.asarray(shared >= np.maximum(self.fewest, self.share * of))

    def described(self) -> str:
        """Return the condition in words."""
        if not self.share:
            return f"a run of {self.run} words in common"
        return f"at least {100 * self.share:g} % of the runs of {self.run} words, and {self.fewest} of them, in common"


def text_matches(splits: Mapping[str, Split], overlap: Overlap) -> dict[tuple[str, str], dict[int, int]]:
    """Return the near-duplicates that each split has in each later one.

    What stays in memory is the runs of all splits but the last, so the largest should be last.

    Returns:
        For each two splits, the positions in the first, each with the position in the second of one that it equals.
    """
    numbers = numbered(list(splits.values())[:-1])
    known: dict[str, Index] = {}
    found = {}
    for earlier, name in pairwise(splits):
        known[earlier] = indexed(runs_of(splits[earlier], numbers, overlap.run))
        first = {other: np.full(len(index.codes), len(splits[name])) for other, index in known.items()}
        for codes, rows in runs_of(splits[name], numbers, overlap.run):
            for other, index in known.items():
                _note_first(index.codes, first[other], codes, rows)
        for other, index in known.items():
            search = _Search(index, first[other], splits[name], numbers, overlap)
            found[other, name] = dict(search.confirmed())
    return found


@dataclass(frozen=True, eq=False)
class _Search:
    """Texts of an index are looked for in another split.

    Attributes:
        first: for each code, the position of the first text in the split that has it; beyond the last if none has.
    """

    index: Index
    first: Rows
    split: Split
    numbers: Mapping[str, int]
    overlap: Overlap

    def confirmed(self) -> Iterator[tuple[int, int]]:
        """Yield the position of each near-duplicate, and that of a single text that has enough of its runs."""
        texts, found = self.index.texts, self.first < len(self.split)
        total = np.bincount(texts)
        shared = np.bincount(texts, found[self.index.places], minlength=len(total))
        for text in np.flatnonzero(self.overlap.reached(shared, total) & (total > 0)):
            places = self.index.of(int(text))
            owners = Counter(self.first[places[found[places]]].tolist())
            for row, _ in owners.most_common(TRIED):
                if self.overlap.reached(self._in_common(places, row), total[text]):
                    yield int(text), row
                    break

    def _in_common(self, places: Rows, row: int) -> npt.NDArray[np.int64]:
        own = set(self.index.codes[places].tolist())
        runs = runs_of(self.split.take([row]), self.numbers, self.overlap.run)
        return np.array(sum(len(own.intersection(codes.tolist())) for codes, _ in runs))


def _note_first(known: Codes, first: Rows, codes: Codes, rows: Rows) -> None:
    """Lower the first position of each known code to that of a text in which it occurs."""
    order = np.argsort(codes)  # sorted, they are found ten times as fast among millions
    places = np.searchsorted(known, codes[order])
    places[places == len(known)] = 0
    hits = known[places] == codes[order] if len(known) else np.zeros(0, bool)
    np.minimum.at(first, places[hits], rows[order][hits])
