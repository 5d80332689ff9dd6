"""The characters of a task as tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.text import codes as code_points
from suite.errors import ModelError
from suite.models.adapters.text import Token


class Alphabet:
    """Cuts texts into characters: the id of a character is the index of its class.

    Args:
        classes: ``<unk>``, which stands for every other character, and single characters behind it.

    Raises:
        ModelError: they are something else.
    """

    pad = 0
    unknown = 0

    def __init__(self, classes: Sequence[str]) -> None:
        characters = tuple(classes[1:])
        if len(classes) < 2 or len(classes[0]) < 2 or any(len(c) != 1 for c in characters):
            raise ModelError(
                f"got the classes {list(classes[:4])!r}; expected '<unk>' and then single characters, as tasks of the "
                "kind language have them."
            )
        self.vocabulary: Sequence[str] = tuple(classes)
        points = np.array([ord(character) for character in characters])
        order = np.argsort(points)
        self._points, self._ids = points[order], order + 1

    def tokens(self, text: str) -> list[Token]:
        """Return the characters of a text in order; a text without any is one unknown character."""
        ids = self.ids(code_points(text))
        return [Token(int(number), place, place + 1) for place, number in enumerate(ids)] or [Token(0, 0, 0)]

    def ids(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the ids of code points of any shape, 0 for what is not in the alphabet."""
        places = np.searchsorted(self._points, codes).clip(max=len(self._points) - 1)
        return np.where(self._points[places] == codes, self._ids[places], self.unknown).astype(np.int64)

    def text(self, ids: npt.NDArray[Any]) -> str:
        """Return the text of ids (length,); unknown characters are spelt as the replacement character U+FFFD."""
        return "".join(self.vocabulary[number] if number else "\ufffd" for number in ids)
