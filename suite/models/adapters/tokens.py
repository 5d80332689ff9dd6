"""Tokenizers into words and into characters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.text import WORD
from suite.data.text import codes as code_points
from suite.errors import ModelError
from suite.models.adapters.text import Token

UNKNOWN = "<unk>"
"""Text of the id of words outside the vocabulary."""


class Words:
    """Splits texts into lower-case words and punctuation, with a vocabulary from the training split.

    Padding has id 0 and the text ``""``, unknown words have id 1, and the words follow in the given order.

    Args:
        words: the words of the training texts, most frequent first, see `TaskInfo.words`.
        most: maximum size of the vocabulary; the other words train the embedding of unknown words.

    Raises:
        ModelError: there are no words.
    """

    pad = 0
    unknown = 1

    def __init__(self, words: Sequence[str], most: int = 8000) -> None:
        if not words or most < 1:
            raise ModelError(
                f"got {len(words)} words and a vocabulary of at most {most}; expected at least one. Does the task have "
                "training texts?"
            )
        self.vocabulary: Sequence[str] = ("", UNKNOWN, *words[:most])
        self._ids = {word: index for index, word in enumerate(self.vocabulary) if index > self.unknown}

    def tokens(self, text: str) -> list[Token]:
        """Return the words of a text in order; spans are positions in the original text."""
        tokens = [
            Token(self._ids.get(word.group().lower(), self.unknown), word.start(), word.end())
            for word in WORD.finditer(text)
        ]
        return tokens or [Token(self.unknown, 0, 0)]


class Alphabet:
    """Splits texts into characters; the id of a character is the index of its class.

    Args:
        classes: ``<unk>``, the class of all other characters, followed by single characters.

    Raises:
        ModelError: the classes have another form.
    """

    pad = 0
    unknown = 0

    def __init__(self, classes: Sequence[str]) -> None:
        characters = tuple(classes[1:])
        if len(classes) < 2 or len(classes[0]) < 2 or any(len(c) != 1 for c in characters):
            raise ModelError(
                f"got the classes {list(classes[:4])!r}; expected '<unk>' and then single characters, as in tasks "
                "of the kind language."
            )
        self.vocabulary: Sequence[str] = tuple(classes)
        points = np.array([ord(character) for character in characters])
        order = np.argsort(points)
        self._points, self._ids = points[order], order + 1

    def tokens(self, text: str) -> list[Token]:
        """Return the characters of a text in order; an empty text is one unknown character."""
        ids = self.ids(code_points(text))
        return [Token(int(id), index, index + 1) for index, id in enumerate(ids)] or [Token(0, 0, 0)]

    def ids(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the ids of code points of any shape; 0 outside the alphabet."""
        index = np.searchsorted(self._points, codes).clip(max=len(self._points) - 1)
        return np.where(self._points[index] == codes, self._ids[index], self.unknown).astype(np.int64)

    def text(self, ids: npt.NDArray[Any]) -> str:
        """Return the text of ids (length,); unknown characters become the replacement character U+FFFD."""
        return "".join(self.vocabulary[id] if id else "\ufffd" for id in ids)
