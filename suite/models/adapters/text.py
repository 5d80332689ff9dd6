"""The adapter of text models: code points in, a checked output out; tokenization and embedding happen inside."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.data.text import texts_of
from suite.errors import ModelError, NotApplicableError
from suite.models.base import TorchModel
from suite.models.outputs import Form, class_logits
from suite.models.recipe import Recipe
from suite.types import EMBEDDING, TEXT, Capabilities

CACHED = 50_000
"""Texts whose tokens are cached, since training reads each text once per epoch."""


class Token(NamedTuple):
    """A token of a text: its id and its characters, from `start` up to but excluding `end`."""

    id: int
    start: int
    end: int


class Tokenizer(Protocol):
    """Splits a text into tokens.

    Attributes:
        vocabulary: the text of each id, (ids,); ``""`` for ids without text, such as padding.
        pad, unknown: ids of padding and of tokens outside the vocabulary.
    """

    vocabulary: Sequence[str]
    pad: int
    unknown: int

    def tokens(self, text: str) -> list[Token]:
        """Return the tokens of a text in order; a text without any is one unknown token from 0 to 0."""


class Reading(NamedTuple):
    """The tokens of a batch of texts.

    Attributes:
        ids: token ids (n, length), padded.
        mask: which tokens are not padding, bool (n, length), at least one per text.
        spans: characters of each token, (n, length, 2): start, and exclusive end; 0, 0 for padding and for special
            tokens.
    """

    ids: Tensor
    mask: Tensor
    spans: Tensor


class TorchText(TorchModel):
    """A text model: its module maps embeddings and a mask to logits.

    The module has ``embedding``, a `torch.nn.Embedding` with a row for each id of the tokenizer, and its ``forward``
    takes embeddings (n, length, d) and a bool mask (n, length) and returns logits (n, classes). All texts are padded
    to one length, so that outputs do not depend on longer texts in the batch.

    Args:
        module: as above.
        tokenizer: splits texts into tokens.
        length: number of tokens per text; longer texts are truncated.
        weights, recipe: as for `TorchModel`.
    """

    input = TEXT
    output_name, input_name = "logits", "texts"
    form = Form("(texts, classes)", "texts")
    limits = (0.0, 1114111.0)

    def __init__(
        self,
        module: nn.Module,
        tokenizer: Tokenizer,
        *,
        length: int = 48,
        weights: str | Path | None = None,
        recipe: Recipe | None = None,
    ) -> None:
        super().__init__(module, weights=weights, recipe=recipe)
        if not callable(getattr(tokenizer, "tokens", None)) or length < 1:
            raise ModelError(
                f"{type(self).__name__} got a tokenizer of type {type(tokenizer).__name__} and length={length}; "
                "expected one with tokens(text), vocabulary, pad and unknown, and a length of at least 1."
            )
        self.tokenizer, self.length = tokenizer, length
        self._cache: dict[bytes, list[Token]] = {}

    def settings(self) -> list[Any]:
        """Return the tokenizer's type, vocabulary and special ids, and the number of tokens."""
        tokenizer = self.tokenizer
        name, vocabulary = type(tokenizer).__name__, list(tokenizer.vocabulary)
        return [name, vocabulary, tokenizer.pad, tokenizer.unknown, self.length]

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits for code points (n, characters)."""
        reading = self.read(pixels)
        return self.forward_embedded(self.embed(reading.ids), reading.mask)

    def read(self, codes: Tensor) -> Reading:
        """Return the tokens of texts given as code points (n, characters)."""
        rows = codes.detach().cpu().numpy()
        batch = [self._tokens(row, text)[: self.length] for row, text in zip(rows, texts_of(rows), strict=True)]
        ids = np.full((len(batch), self.length), self.tokenizer.pad, np.int64)
        spans = np.zeros((len(batch), self.length, 2), np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = [token.id for token in tokens]
            spans[row, : len(tokens)] = [(token.start, token.end) for token in tokens]
        counts = np.array([len(tokens) for tokens in batch])
        mask = np.arange(self.length)[None] < counts[:, None]
        return Reading(*(torch.from_numpy(part).to(codes.device) for part in (ids, mask, spans)))

    def _tokens(self, row: npt.NDArray[Any], text: str) -> list[Token]:
        key = row.tobytes()
        if (tokens := self._cache.get(key)) is None:
            if len(self._cache) >= CACHED:
                self._cache.clear()
            tokens = self.tokenizer.tokens(text) or [Token(self.tokenizer.unknown, 0, 0)]
            if not all(isinstance(token, Token) for token in tokens):
                raise ModelError(
                    f"The tokenizer returned values of type {type(tokens[0]).__name__}; expected suite.Token: an id, "
                    "and the start and end of its characters."
                )
            self._cache[key] = tokens
        return tokens

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do; without word embeddings there is no gradient."""
        has_embedding = isinstance(getattr(self.module, "embedding", None), nn.Embedding)
        return replace(super().capabilities, gradient=has_embedding, embedding=has_embedding, tokens=True)

    @property
    def table(self) -> Tensor:
        """The embedding of every id, (ids, d).

        Raises:
            NotApplicableError: the model has no embedding.
        """
        embedding = getattr(self.module, "embedding", None)
        if not isinstance(embedding, nn.Embedding):
            raise NotApplicableError(
                "the model has no word embedding, so there is no gradient with respect to the text"
            )
        return embedding.weight

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ids (n, length), (n, length, d)."""
        table = self.table
        if int(ids.max()) >= len(table) or int(ids.min()) < 0:
            raise ModelError(
                f"The tokenizer returns ids from {int(ids.min())} to {int(ids.max())}, but the embedding has "
                f"{len(table)} rows. Build it with one row per entry of the vocabulary."
            )
        embedded: Tensor = self.module.get_submodule("embedding")(ids)
        return embedded

    def forward_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, classes) for embeddings (n, length, d) and a mask (n, length).

        Raises:
            ModelError: the module returns another form.
        """
        with self.differentiable():
            output: Tensor = self.in_full_batches(
                lambda rows, read: self.shaped(self.module(rows, read), rows), embedded, mask
            )
        return output

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return logits (n, classes) unchanged."""
        return class_logits(output, pixels, self.form)

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """Enable gradients of recurrent layers in evaluation mode, which cuDNN does not support.

        Other kernels are used instead; switching to training mode would activate dropout.
        """
        recurrent = any(isinstance(child, nn.RNNBase) for child in self.module.modules())
        if recurrent and not self.module.training and torch.is_grad_enabled():
            with torch.backends.cudnn.flags(enabled=False):
                yield
        else:
            yield

    def in_space(self, space: str) -> TorchModel:
        """Return the model with embeddings as inputs for ``embedding``."""
        if space != "embedding":
            return super().in_space(space)
        return Embedded(self)


MARGIN = 8.0
"""Standard deviations between the largest embedding and the bounds of the space; padding lies on the upper bound."""


class Embedded(TorchModel):
    """A text model whose inputs are embeddings, in units of the standard deviation of the embedding table.

    Most of these embeddings belong to no text, so robustness here bounds robustness to edits of the text and is
    reported separately. Padding lies on the upper bound, where no embedding does, and stays padding under perturbations
    below `max_perturbation`.
    """

    input = EMBEDDING
    output_name = "logits"
    max_perturbation = MARGIN / 2

    def __init__(self, text: TorchText) -> None:
        super().__init__(text.module, recipe=text.recipe)
        self.text = text
        table = text.table.detach()
        self.unit = float(table.std())
        highest = float(table.abs().max()) / self.unit + MARGIN
        self.limits = (-highest, highest)

    @property
    def width(self) -> int:
        """Number of texts of every call of the module, that of the text model."""
        return self.text.width

    @width.setter
    def width(self, rows: int) -> None:
        self.text.width = rows

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do; its inputs are embeddings, not tokens."""
        return replace(self.text.capabilities, embedding=False, tokens=False)

    def inputs(self, split: Split) -> npt.NDArray[Any]:
        """Return the embeddings of a split's texts, float32 (n, length, d)."""
        codes = torch.from_numpy(split.pixels()).to(self.text.table.device)
        reading = self.text.read(codes)
        with torch.no_grad():
            points = self.text.embed(reading.ids).float() / self.unit
        padded = torch.where(reading.mask[..., None], points, self.limits[1])
        return np.asarray(padded.cpu().numpy(), np.float32)

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits for embeddings (n, length, d)."""
        mask = pixels.detach()[..., 0] < self.limits[1] - self.max_perturbation
        mask = mask | (~mask.any(dim=1, keepdim=True) & (torch.arange(mask.shape[1], device=mask.device) == 0))
        embedded = torch.where(mask[..., None], pixels * self.unit, 0.0)
        return self.text.forward_embedded(embedded.to(self.dtype), mask)
