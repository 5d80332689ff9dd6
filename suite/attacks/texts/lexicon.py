"""The vocabulary of a text model, and the words and characters that may replace others."""

import re
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from suite.attacks.texts.spelling import misspellings
from suite.data.text import WORD, texts_of
from suite.kinds.base import Array
from suite.models.adapters.text import Reading, TorchText

LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
"""A word of letters, including inner apostrophes."""


class Word(NamedTuple):
    """A word in a text: row of the text, index among its words, first and past-the-end character, and spelling."""

    row: int
    number: int
    start: int
    end: int
    spelling: str


class Options(NamedTuple):
    """Candidate replacements of a word: their spellings and the model's embeddings of them, (k, d)."""

    spellings: tuple[str, ...]
    vectors: Array


NONE = Options((), np.zeros((0, 0)))


class Lexicon:
    """The vocabulary of a text model, as attacks use it. Look-ups of replacements are cached.

    Args:
        adapter: the model.
    """

    def __init__(self, adapter: TorchText) -> None:
        self.adapter, self.tokenizer = adapter, adapter.tokenizer
        self.neighbours, self.typos = cache(self._neighbours), cache(self._typos)
        lengths = {len(spelling) for _, spelling in self._spelled()}
        self.by_character = lengths == {1}
        self.words, self.word_ids = self._words()

    @cached_property
    def table(self) -> Array:
        """The embedding of every id, float64 (ids, d).

        Raises:
            NotApplicableError: the model has no embeddings.
        """
        return np.asarray(self.adapter.table.detach().double().cpu().numpy())

    @property
    def alphabet(self) -> tuple[Array, Array]:
        """The characters of a model that reads characters: code points (k,) and ids (k,)."""
        ids, characters = zip(*self._spelled(), strict=True)
        return np.array([ord(character) for character in characters], np.int32), np.array(ids, np.int64)

    def read_words(self, codes: Tensor, allowed: Array, reading: Reading | None = None) -> tuple[list[Word], Array]:
        """Return the editable words of letters that the model reads, and the word to which each token belongs.

        Args:
            codes: texts (n, characters).
            allowed: which characters may be changed, bool (n, characters).
            reading: the tokens of the texts; None to tokenize them.

        Returns:
            The words, row by row, and for each token (n, length) the index of its word in this list, or -1.
        """
        reading = self.adapter.read(codes) if reading is None else reading
        spans, mask = reading.spans.cpu().numpy(), reading.mask.cpu().numpy()
        is_text = mask & (spans[..., 1] > spans[..., 0])
        words: list[Word] = []
        owner = np.full(mask.shape, -1)
        for row, text in enumerate(texts_of(codes.cpu().numpy())):
            starts, places = spans[row, :, 0][is_text[row]], np.full(len(text), -1)
            for word in _words_of(row, text):
                touched = (starts >= word.start) & (starts < word.end)
                if touched.any() and allowed[row, word.start : word.end].all():
                    places[word.start : word.end] = len(words)
                    words.append(word)
            owner[row, is_text[row]] = places[starts]
        return words, owner

    def unknown_share(self, codes: Tensor) -> Array:
        """Return the share of unknown tokens in each text, (n,)."""
        reading = self.adapter.read(codes)
        unknown = (reading.ids == self.tokenizer.unknown) & reading.mask
        return np.asarray((unknown.sum(dim=1).double() / reading.mask.sum(dim=1)).cpu().numpy())

    def _neighbours(self, spelling: str, count: int, similarity: float) -> Options:
        """Return the words nearest to a word by the cosine of their embeddings, capitalized like the word.

        Unknown words have no neighbors, since they all share one embedding.

        Args:
            spelling: the word.
            count: maximum number of words.
            similarity: minimum cosine.
        """
        ids = self._ids(spelling)
        if not ids or self.tokenizer.unknown in ids:
            return NONE
        own, (vectors, lengths, names) = self.table[list(ids)].mean(axis=0), self._candidates
        scale = lengths * np.linalg.norm(own)
        cosines = vectors @ own / np.where(scale > 0, scale, np.inf)
        near = np.flatnonzero((cosines >= similarity) & (names != spelling.lower()))
        order = near[np.argsort(-cosines[near], kind="stable")[:count]]
        return Options(tuple(_capitalized_like(self.words[place], spelling) for place in order), vectors[order])

    @cached_property
    def _candidates(self) -> tuple[Array, Array, Array]:
        """The words that may be inserted into a text: embeddings (k, d), their norms, and the words in lower case."""
        vectors = self.table[self.word_ids]
        return vectors, np.linalg.norm(vectors, axis=1), np.array([word.lower() for word in self.words], dtype=object)

    def _typos(self, spelling: str) -> Options:
        """Return the typos of a word whose tokens differ from the word's, one for each sequence of tokens."""
        read = {self._ids(spelling): spelling}
        for typo in (typo for kind in misspellings(spelling) for typo in kind):
            read.setdefault(self._ids(typo), typo)
        ids, spellings = [*read][1:], [*read.values()][1:]
        vectors = [self.table[list(typo) or [self.tokenizer.unknown]].mean(axis=0) for typo in ids]
        return Options(tuple(spellings), np.array(vectors)) if spellings else NONE

    def _ids(self, spelling: str) -> tuple[int, ...]:
        """Return the ids of a word inside a text; some tokenizers treat the space before it as a part of it."""
        return tuple(token.id for token in self.tokenizer.tokens(f" {spelling}") if token.end > token.start)

    def _spelled(self) -> list[tuple[int, str]]:
        """Return the ids that stand for characters, with these characters."""
        special = (self.tokenizer.pad, self.tokenizer.unknown)
        return [(place, text) for place, text in enumerate(self.tokenizer.vocabulary) if text and place not in special]

    def _words(self) -> tuple[tuple[str, ...], Array]:
        """Return the words that may be inserted into a text, with their ids: words of letters with a single id."""
        spelled = () if self.by_character else self._spelled()
        words = {text: place for place, text in spelled if LETTERS.fullmatch(text) and self._ids(text) == (place,)}
        return tuple(words), np.array(list(words.values()), np.int64)


def _words_of(row: int, text: str) -> list[Word]:
    words = (Word(row, i, match.start(), match.end(), match.group()) for i, match in enumerate(WORD.finditer(text)))
    return [word for word in words if LETTERS.fullmatch(word.spelling)]


def _capitalized_like(word: str, other: str) -> str:
    return word[0].upper() + word[1:] if other[0].isupper() else word
