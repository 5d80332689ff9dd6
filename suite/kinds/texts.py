"""What all kinds ask of a text."""

from collections import Counter
from typing import Any

import numpy as np

from suite.data.text import LONGEST, WORD, codes, texts_of
from suite.errors import DataError
from suite.kinds.base import Array


def text(value: Any) -> tuple[Array, tuple[str, ...]]:
    """Return a text as code points, int32 (length,), and what had to be dropped of it, in sentences.

    Raises:
        DataError: not a text, or one of nothing but spaces.
    """
    points = codes(value)
    if not value.strip():
        raise DataError(f"a text of {len(value)} spaces and nothing else; there is nothing to read")
    if len(points) <= LONGEST:
        return points, ()
    return points[:LONGEST], (f"cut to its first {LONGEST:,} of {len(points):,} characters",)


def vocabulary(inputs: Array) -> tuple[str, ...]:
    """Return the words of texts (n, characters) in lower case, the most frequent first; ties in alphabetical order."""
    counts = Counter(word.lower() for text in texts_of(np.asarray(inputs)) for word in WORD.findall(text))
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))
