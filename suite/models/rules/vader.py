"""Sentiment by rules: the valences of words, and what the words round them do to them, as VADER has it."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.data.text import texts_of
from suite.errors import ModelError, NotApplicableError
from suite.models.adapters.text import Token, TorchText
from suite.models.adapters.tokens import UNKNOWN
from suite.models.rules.valences import Valences, read_valences

OPPOSITE = -0.74
"""What a negation multiplies a valence with (Hutto and Gilbert 2014)."""

SHOUTED = 0.733
"""What a word in capitals adds to the strength of a valence, among words that are not."""

FADING = (1.0, 0.95, 0.9)
"""What is left of the effect of a word of degree one, two and three words before the word it strengthens."""

INSISTING = 1.25
"""What "never so" and "never this" multiply a valence with: they strengthen."""

BEFORE_BUT, BEHIND_BUT = 0.5, 1.5
"""How much counts what stands before the first "but", and what stands behind it."""

SPREAD = 15.0
"""Normalises a sum of valences: compound = sum / sqrt(sum² + 15)."""

SCALE = 0.7
"""The positive logit at a compound score of 1: about the one that makes the labels of film reviews likeliest."""


def compound(text: str, known: Valences) -> float:
    """Return how positive a text is, in (-1, 1), by the rules of VADER (Hutto and Gilbert 2014).

    They are read as version 3.3.2 of the authors' own program has them, except that "but" weighs every word by where
    it stands. That program looks words up by their valence, and weighs the first of two equal ones twice.
    """
    plain = _described(text, known)
    total = math.fsum(_weighed(Words.of(plain), known))
    if total:
        total += math.copysign(emphasis(plain), total)
    return total / math.sqrt(total * total + SPREAD)


def emphasis(text: str) -> float:
    """Return what exclamation and question marks add to the strength of a text's sentiment, at least 0."""
    questions = text.count("?")
    asked = 0.0 if questions < 2 else 0.18 * questions if questions <= 3 else 0.96
    return 0.292 * min(text.count("!"), 4) + asked


@dataclass(frozen=True)
class Words:
    """The words of a text as they are written and in lower case, and whether some but not all are in capitals."""

    written: Sequence[str]
    lower: Sequence[str]
    mixed: bool

    @classmethod
    def of(cls, text: str) -> Words:
        """Return the words of a text without the signs round them; what is left of two letters was an emoticon."""
        stripped = [(word, word.strip(string.punctuation)) for word in text.split()]
        written = [word if len(inside) <= 2 else inside for word, inside in stripped]
        capitals = sum(word.isupper() for word in written)
        return cls(written, [word.lower() for word in written], 0 < capitals < len(written))


def _described(text: str, known: Valences) -> str:
    """Return a text with its emojis in words."""
    pieces: list[str] = []
    for place, character in enumerate(text):
        described = known.emojis.get(character)
        glued = place > 0 and text[place - 1] != " "
        pieces.append(character if described is None else " " + described if glued else described)
    return "".join(pieces).strip()


def _weighed(words: Words, known: Valences) -> list[float]:
    valences = [_valence(words, place, known) for place in range(len(words.lower))]
    if "but" not in words.lower:
        return valences
    but = words.lower.index("but")
    weights = [BEFORE_BUT if place < but else BEHIND_BUT if place > but else 1.0 for place in range(len(valences))]
    return [valence * weight for valence, weight in zip(valences, weights, strict=True)]


def _valence(words: Words, place: int, known: Valences) -> float:
    """Return the valence of one word among its neighbours."""
    word = words.lower[place]
    after = words.lower[place + 1 : place + 2]
    is_degree = word in known.degrees or (word == "kind" and after == ["of"])
    if is_degree or word not in known.words:
        return 0.0
    value = known.words[word]
    if word == "no" and after and after[0] in known.words:
        value = 0.0
    if _said_no(words.lower, place):
        value = known.words[word] * OPPOSITE
    if words.written[place].isupper() and words.mixed:
        value += SHOUTED if value > 0 else -SHOUTED
    for back in (1, 2, 3):
        if place >= back and words.lower[place - back] not in known.words:
            value = _modified(value, words, place, back, known)
    return value * OPPOSITE if _least(words.lower, place) and "least" not in known.words else value


def _said_no(lower: Sequence[str], place: int) -> bool:
    """Return whether "no" denies a word: one or two before it, or three before it in "no ... or"."""
    denied = "no" in lower[max(0, place - 2) : place]
    return denied or (place > 2 and lower[place - 3] == "no" and lower[place - 1] in ("or", "nor"))


def _least(lower: Sequence[str], place: int) -> bool:
    """Return whether "least" stands before a word and is not part of "at least" or "very least"."""
    before = lower[max(0, place - 2) : place]
    return before[-1:] == ["least"] and before[0] not in ("at", "very")


def _modified(value: float, words: Words, place: int, back: int, known: Valences) -> float:
    """Return a valence after the word that stands some words before it had its effect."""
    value += _degree(words, place - back, value, known) * FADING[back - 1]
    value *= _turn(words.lower, place, back, known)
    return _phrased(value, words.lower, place, known) if back == 3 else value


def _degree(words: Words, place: int, value: float, known: Valences) -> float:
    """Return what a word of degree adds to a valence."""
    degree = known.degrees.get(words.lower[place])
    if degree is None:
        return 0.0
    degree = -degree if value < 0 else degree
    if words.written[place].isupper() and words.mixed:
        degree += SHOUTED if value > 0 else -SHOUTED
    return degree


def _turn(lower: Sequence[str], place: int, back: int, known: Valences) -> float:
    """Return what a valence is multiplied with because of a word that stands some words before it.

    "so" or "this" directly before a word strengthen it wherever three words stand before it, "never" among them or not:
    so the authors' program reads its own rule.
    """
    word, between = lower[place - back], lower[place - back + 1 : place]
    strong = ("so", "this")
    if back > 1 and word == "never" and between[0] in strong:
        return INSISTING
    if back == 3 and between[1] in strong:
        return INSISTING
    if back > 1 and word == "without" and "doubt" in between:
        return 1.0
    return OPPOSITE if word in known.negations or "n't" in word else 1.0


def _phrased(value: float, lower: Sequence[str], place: int, known: Valences) -> float:
    """Return a valence after the phrases that its word is part of, or that stand directly before it."""

    def phrase(start: int, end: int) -> str:
        return " ".join(lower[place + start : place + end + 1])

    before = [phrase(-1, 0), phrase(-2, 0), phrase(-2, -1), phrase(-3, -1), phrase(-3, -2)]
    value = next((known.idioms[found] for found in before if found in known.idioms), value)
    for end in (1, 2):
        if place + end < len(lower):
            value = known.idioms.get(phrase(0, end), value)
    return value + sum(known.degrees.get(phrase(*ends), 0.0) for ends in ((-3, -1), (-3, -2), (-2, -1)))


class Spaced:
    """Cuts texts at spaces, as the rules do; a word that has no valence is unknown."""

    pad = 0
    unknown = 1

    def __init__(self, known: Valences) -> None:
        self.vocabulary: Sequence[str] = ("", UNKNOWN, *known.words)
        self._ids = {word: place for place, word in enumerate(self.vocabulary) if place > self.unknown}

    def tokens(self, text: str) -> list[Token]:
        """Return the words of a text in order."""
        found, start = [], 0
        for word, written in zip(text.split(), Words.of(text).lower, strict=True):
            start = text.index(word, start)
            found.append(Token(self._ids.get(written, self.unknown), start, start + len(word)))
            start += len(word)
        return found or [Token(self.unknown, 0, 0)]


class _Constants(nn.Module):
    """Holds the valences as a tensor, so that they are part of what identifies the model."""

    valences: Tensor

    def __init__(self, known: Valences) -> None:
        super().__init__()
        self.register_buffer("valences", torch.tensor(list(known.words.values())))


class RuleText(TorchText):
    """A text model of rules alone: nothing is trained, and no gradient leads back to a text.

    The logits of the negative and the positive class are -k and k times the compound score, so that the positive one
    has the probability sigmoid(2 k compound). At compound 0 the classes are equal, and the first counts as the answer.

    Args:
        classes: names of the two classes, of which one begins with "neg" and the other with "pos".
        scale: k.
        length: words that are read for whoever asks which; the rules read the whole text.
        known: valences of words; None for VADER's.

    Raises:
        ModelError: other classes.
        DataError: VADER's word lists are not there.
    """

    def __init__(
        self, classes: Sequence[str], *, scale: float = SCALE, length: int = 400, known: Valences | None = None
    ) -> None:
        beginnings = [name[:3].lower() for name in classes]
        if sorted(beginnings) != ["neg", "pos"]:
            raise ModelError(
                f"The rules tell negative from positive, and the classes are {', '.join(classes)}; expected two whose "
                "names begin with neg and pos."
            )
        self.known = known or read_valences()
        super().__init__(_Constants(self.known), Spaced(self.known), length=length)
        self.factors = [-scale if name == "neg" else scale for name in beginnings]

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits for code points (n, characters)."""
        scores = [compound(text, self.known) for text in texts_of(pixels.detach().cpu().numpy())]
        columns = torch.tensor(scores, device=pixels.device)[:, None]
        return columns * columns.new_tensor(self.factors)

    def embed(self, ids: Tensor) -> Tensor:
        """Refuse: see `table`."""
        raise NotApplicableError(self._no_gradient)

    def answer(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Refuse: see `table`."""
        raise NotApplicableError(self._no_gradient)

    @property
    def table(self) -> Tensor:
        """Refuse: rules have no embeddings."""
        raise NotApplicableError(self._no_gradient)

    _no_gradient = "the model is made of rules and embeds nothing, so that no gradient leads back to a text"
