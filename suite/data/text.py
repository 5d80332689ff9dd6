"""Texts as arrays of Unicode code points, so that they are stored, compared and batched like images."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.errors import DataError

WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
"""A word, including apostrophes inside it, or a single punctuation mark or symbol."""

LONGEST = 2000
"""Characters of a text that are kept; truncated texts are counted."""

ROOM = 32
"""Characters by which an array is longer than its longest text, so that edits may lengthen it."""

Codes = npt.NDArray[np.int32]


def codes(text: str) -> Codes:
    """Return the code points of a text, int32 (length,).

    Raises:
        DataError: not a string, or one with a NUL or an unpaired surrogate.
    """
    if not isinstance(text, str):
        raise DataError(f"a text of type {type(text).__name__} ({text!r:.40}); expected a string")
    if "\0" in text:
        raise DataError(f"a NUL at character {text.index(chr(0))}; this is not text")
    try:
        return np.frombuffer(text.encode("utf-32-le"), np.int32).copy()
    except UnicodeEncodeError as error:
        raise DataError(f"an unpaired surrogate at character {error.start}; decode the text as UTF-8") from error


def packed(texts: Sequence[str], width: int) -> Codes:
    """Return texts as one array, int32 (n, width), padded with 0.

    Raises:
        DataError: a text is longer than the width, or not a text.
    """
    rows = np.zeros((len(texts), width), np.int32)
    for row, text in zip(rows, texts, strict=True):
        points = codes(text)
        if len(points) > width:
            raise DataError(f"a text of {len(points)} characters does not fit into {width}")
        row[: len(points)] = points
    return rows


def text_of(row: npt.NDArray[Any]) -> str:
    """Return the text of one row of code points, up to the first 0."""
    points = np.ascontiguousarray(row, np.int32)
    ends = np.flatnonzero(points == 0)
    return points[: ends[0] if len(ends) else None].tobytes().decode("utf-32-le")


def normalized(text: str) -> str:
    """Return a text in lower case with single spaces; texts that are equal in this form count as one."""
    return " ".join(text.casefold().split())


def texts_of(rows: npt.NDArray[Any]) -> list[str]:
    """Return the texts of rows of code points (n, width)."""
    return [text_of(row) for row in rows]


def vocabulary(inputs: npt.NDArray[Any]) -> tuple[str, ...]:
    """Return the words of texts (n, characters) in lower case, most frequent first; ties in alphabetical order."""
    counts = Counter(word.lower() for text in texts_of(np.asarray(inputs)) for word in WORD.findall(text))
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))
