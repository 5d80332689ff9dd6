"""Words of a text as tokens, for models that learn their vocabulary from the training split."""

from collections.abc import Sequence

from suite.data.text import WORD
from suite.errors import ModelError
from suite.models.adapters.text import Token

UNKNOWN = "<unk>"
"""How the id is spelt that stands for every word outside the vocabulary."""


class Words:
    """Cuts texts into words and signs, in lower case.

    Padding has id 0 and is spelt ``""``; unknown words have id 1; the words follow in the order they are given.

    Args:
        words: the words of the training texts, the most frequent first, see `TaskInfo.words`.
        most: how many of them are known; the model learns from the rest what an unknown word is like.

    Raises:
        ModelError: there are no words.
    """

    pad = 0
    unknown = 1

    def __init__(self, words: Sequence[str], most: int = 8000) -> None:
        if not words or most < 1:
            raise ModelError(
                f"got {len(words)} words of which {most} may be known; expected at least one. Does the task have "
                "training texts?"
            )
        self.vocabulary: Sequence[str] = ("", UNKNOWN, *words[:most])
        self._ids = {word: place for place, word in enumerate(self.vocabulary) if place > self.unknown}

    def tokens(self, text: str) -> list[Token]:
        """Return the words of a text in order; spans are positions in the text as it is written."""
        found = [
            Token(self._ids.get(word.group().lower(), self.unknown), word.start(), word.end())
            for word in WORD.finditer(text)
        ]
        return found or [Token(self.unknown, 0, 0)]
