"""Sentiment by the rules of VADER, as the package vaderSentiment computes them."""

import importlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from suite.data.text import texts_of
from suite.errors import ModelError
from suite.models.adapters.text import Token, TorchText
from suite.models.adapters.tokens import UNKNOWN

SCALE = 0.7
"""The positive logit at a compound score of 1, close to the value that maximizes the likelihood of film reviews."""


@lru_cache(maxsize=1)
def load_library() -> tuple[Any, Any]:
    """Return vaderSentiment's module and an analyzer with its lexicon.

    Raises:
        ModelError: the package is missing.
    """
    try:
        library = importlib.import_module("vaderSentiment.vaderSentiment")
    except ImportError as error:
        raise ModelError(
            f"The package vaderSentiment is missing ({error}). Run: pip install 'vaderSentiment>=3.3.2'"
        ) from error
    return library, library.SentimentIntensityAnalyzer()


class WhitespaceTokenizer:
    """Split texts at white space, as VADER does; a word without a valence is unknown."""

    pad = 0
    unknown = 1

    def __init__(self) -> None:
        self._library, analyzer = load_library()
        self.vocabulary: Sequence[str] = ("", UNKNOWN, *analyzer.lexicon)
        self._ids = {word: index for index, word in enumerate(self.vocabulary) if index > self.unknown}

    def tokens(self, text: str) -> list[Token]:
        """Return the words of a text in order; spans include the punctuation around a word."""
        tokens, start = [], 0
        for written, word in zip(text.split(), self._library.SentiText(text).words_and_emoticons, strict=True):
            start = text.index(written, start)
            tokens.append(Token(self._ids.get(word.lower(), self.unknown), start, start + len(written)))
            start += len(written)
        return tokens or [Token(self.unknown, 0, 0)]


class RuleText(TorchText):
    """A sentiment classifier made of rules (Hutto and Gilbert 2014): no training, no embedding, no gradients.

    The logits of the negative and the positive class are -k and k times the compound score in [-1, 1], which
    vaderSentiment rounds to four decimals; the probability of the positive class is sigmoid(2 k compound). At a score
    of 0 the classes tie and the first one is predicted.

    Args:
        classes: names of the two classes; one begins with "neg", the other with "pos".
        scale: k.
        length: number of tokens that the tokenizer keeps; the rules read the whole text.

    Raises:
        ModelError: other classes, or the package vaderSentiment is missing.
    """

    def __init__(self, classes: Sequence[str], *, scale: float = SCALE, length: int = 400) -> None:
        prefixes = [name[:3].lower() for name in classes]
        if sorted(prefixes) != ["neg", "pos"]:
            raise ModelError(
                f"The VADER rules separate negative from positive, but the classes are {', '.join(classes)}; expected "
                "two whose names begin with neg and pos."
            )
        super().__init__(nn.Module(), WhitespaceTokenizer(), length=length)
        self.analyzer = load_library()[1]
        self.factors = [-scale if prefix == "neg" else scale for prefix in prefixes]

    def settings(self) -> list[Any]:
        """Return the tokenizer's settings, the valence of every word, and the version of the rules."""
        return [*super().settings(), list(self.analyzer.lexicon.values()), version("vaderSentiment")]

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits (n, 2) for code points (n, characters)."""
        texts = texts_of(pixels.detach().cpu().numpy())
        scores = torch.tensor([self.analyzer.polarity_scores(text)["compound"] for text in texts], device=pixels.device)
        return scores[:, None] * scores.new_tensor(self.factors)

    def padding(self, rows: int) -> int:
        """Return 0: rules read one text at a time."""
        return 0

    def forward_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Refuse: rules have no embeddings, see `table`."""
        return self.table
