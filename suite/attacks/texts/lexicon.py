"""What a model reads of texts, and which words and characters may stand in the place of others."""

import re
from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from suite.attacks.texts.spelling import misspelt
from suite.data.text import WORD, texts_of
from suite.errors import NotApplicableError
from suite.kinds.base import Array
from suite.models.adapters.text import Reading, TorchText
from suite.models.base import TorchModel

LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
"""A word of letters, with its apostrophes inside."""


class Word(NamedTuple):
    """A word of a text: the row of the text, its number among the words, its characters, and how it is spelt."""

    row: int
    number: int
    start: int
    end: int
    spelling: str


class Options(NamedTuple):
    """What may stand in the place of a word: spellings, and how the model embeds each, (k, d)."""

    spellings: tuple[str, ...]
    vectors: Array


NONE = Options((), np.zeros((0, 0)))


class Lexicon:
    """The vocabulary of a text model, as attacks use it; what was looked up is remembered.

    Args:
        adapter: the model.

    Raises:
        NotApplicableError: it is no text model.
    """

    def __init__(self, adapter: TorchModel | None) -> None:
        if not isinstance(adapter, TorchText):
            raise NotApplicableError("the model does not tell what it reads of a text")
        self.adapter, self.tokenizer = adapter, adapter.tokenizer
        self._near: dict[tuple[str, int, float], Options] = {}
        self._misspelt: dict[str, Options] = {}
        lengths = {len(spelling) for _, spelling in self._spelled()}
        self.by_character = lengths == {1}
        self.words, self.word_ids = self._words()

    @cached_property
    def table(self) -> Array:
        """The embedding of every id, float64 (ids, d).

        Raises:
            NotApplicableError: the model embeds nothing.
        """
        return np.asarray(self.adapter.table.detach().double().cpu().numpy())

    @property
    def alphabet(self) -> tuple[Array, Array]:
        """The characters of a model that reads characters: code points (k,), and their ids (k,)."""
        spelled = self._spelled()
        points = np.array([ord(spelling) for _, spelling in spelled], np.int32)
        return points, np.array([place for place, _ in spelled], np.int64)

    def read_words(self, codes: Tensor, allowed: Array) -> tuple[list[Word], Array, Reading]:
        """Return the words of letters that the model reads and that may be changed, and whose each token is.

        Args:
            codes: texts (n, characters).
            allowed: which characters may be changed, bool (n, characters).

        Returns:
            The words, row by row; for each token (n, length) the place of its word among them, -1 for none; and the
            reading itself.
        """
        reading, rows = self.adapter.read(codes), codes.cpu().numpy()
        spans, mask = reading.spans.cpu().numpy(), reading.mask.cpu().numpy()
        is_text = mask & (spans[..., 1] > spans[..., 0])
        words: list[Word] = []
        owner = np.full(mask.shape, -1)
        for row, text in enumerate(texts_of(rows)):
            starts, places = spans[row, :, 0][is_text[row]], np.full(len(text), -1)
            for word in _words_of(row, text):
                touched = (starts >= word.start) & (starts < word.end)
                if touched.any() and allowed[row, word.start : word.end].all():
                    places[word.start : word.end] = len(words)
                    words.append(word)
            owner[row, is_text[row]] = places[starts]
        return words, owner, reading

    def neighbours(self, spelling: str, count: int, similarity: float) -> Options:
        """Return the words nearest to a word by the cosine of their embeddings, in the case of its first letter.

        A word that the model does not know has none: it is embedded like every other unknown word.

        Args:
            spelling: the word.
            count: words at most.
            similarity: the least cosine.
        """
        asked = (spelling, count, similarity)
        if (known := self._near.get(asked)) is None:
            known = self._near[asked] = self._nearest(spelling, count, similarity)
        return known

    def typos(self, spelling: str) -> Options:
        """Return the typos of a word that the model reads as something else; of those that it reads alike, one."""
        if (known := self._misspelt.get(spelling)) is None:
            known = self._misspelt[spelling] = self._misread(spelling)
        return known

    def unknown_share(self, codes: Tensor) -> Array:
        """Return the share of the tokens of each text that the model does not know, (n,)."""
        reading = self.adapter.read(codes)
        unknown = (reading.ids == self.tokenizer.unknown) & reading.mask
        return np.asarray((unknown.sum(dim=1).double() / reading.mask.sum(dim=1)).cpu().numpy())

    def _nearest(self, spelling: str, count: int, similarity: float) -> Options:
        ids = self._ids(spelling)
        if not ids or self.tokenizer.unknown in ids:
            return NONE
        own, (vectors, lengths, names) = self.table[list(ids)].mean(axis=0), self._candidates
        scale = lengths * np.linalg.norm(own)
        cosines = vectors @ own / np.where(scale > 0, scale, np.inf)
        near = np.flatnonzero((cosines >= similarity) & (names != spelling.lower()))
        order = near[np.argsort(-cosines[near], kind="stable")[:count]]
        return Options(tuple(_cased(self.words[place], spelling) for place in order), vectors[order])

    @cached_property
    def _candidates(self) -> tuple[Array, Array, Array]:
        """The words that may be put into a text: embeddings (k, d), their lengths, and the words in lower case."""
        vectors = self.table[self.word_ids]
        return vectors, np.linalg.norm(vectors, axis=1), np.array([word.lower() for word in self.words], dtype=object)

    def _misread(self, spelling: str) -> Options:
        seen, spellings, vectors = {self._ids(spelling)}, [], []
        for typo in (typo for way in misspelt(spelling) for typo in way):
            ids = self._ids(typo)
            if ids not in seen:
                seen.add(ids)
                spellings.append(typo)
                vectors.append(self.table[list(ids) or [self.tokenizer.unknown]].mean(axis=0))
        return Options(tuple(spellings), np.array(vectors)) if spellings else NONE

    def _ids(self, spelling: str) -> tuple[int, ...]:
        """Return the ids of a word inside a text; the space before it matters to some."""
        return tuple(token.id for token in self.tokenizer.tokens(f" {spelling}") if token.end > token.start)

    def _spelled(self) -> list[tuple[int, str]]:
        """Return the ids that stand for characters, and what they stand for."""
        special = (self.tokenizer.pad, self.tokenizer.unknown)
        return [(place, text) for place, text in enumerate(self.tokenizer.vocabulary) if text and place not in special]

    def _words(self) -> tuple[tuple[str, ...], Array]:
        """Return the words that may be put into a text, with their ids: of letters, and read as that one id."""
        if self.by_character:
            return (), np.zeros(0, np.int64)
        found = {
            text: place for place, text in self._spelled() if LETTERS.fullmatch(text) and self._ids(text) == (place,)
        }
        return tuple(found), np.array(list(found.values()), np.int64)


def _words_of(row: int, text: str) -> list[Word]:
    found = enumerate(WORD.finditer(text))
    words = [Word(row, number, match.start(), match.end(), match.group()) for number, match in found]
    return [word for word in words if LETTERS.fullmatch(word.spelling)]


def _cased(word: str, like: str) -> str:
    """Return a word with a capital where another has one."""
    return word[0].upper() + word[1:] if like[0].isupper() else word
