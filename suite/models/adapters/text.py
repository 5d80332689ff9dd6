"""The adapter round a text model: code points in, a checked output out; words are found and embedded inside."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.data.text import texts_of
from suite.errors import ModelError, NotApplicableError
from suite.models.base import BATCH_MULTIPLE, TorchModel
from suite.models.recipe import Recipe

CACHED = 50_000
"""Texts whose tokens are remembered: training meets each text once an epoch."""


class Token(NamedTuple):
    """A token of a text: its id, and the characters it stands for, from `start` to before `end`."""

    id: int
    start: int
    end: int


class Tokenizer(Protocol):
    """What cuts a text into tokens.

    Attributes:
        vocabulary: how each id is spelt, (ids,); ids that stand for no text, like padding, are spelt ``""``.
        pad, unknown: ids of padding and of what is not in the vocabulary.
    """

    vocabulary: Sequence[str]
    pad: int
    unknown: int

    def tokens(self, text: str) -> list[Token]:
        """Return the tokens of a text in order; a text without any is one unknown token from 0 to 0."""


class Reading(NamedTuple):
    """What a model reads of texts.

    Attributes:
        ids: token ids (n, length), padded.
        mask: which tokens are real, bool (n, length), at least one of each text.
        spans: characters that a token stands for, (n, length, 2): start, and end behind it; 0, 0 for padding and for
            tokens that are none of the text's own.
    """

    ids: Tensor
    mask: Tensor
    spans: Tensor


class TorchText(TorchModel):
    """A text model: its module maps embeddings and a mask to logits.

    The module has ``embedding``, a `torch.nn.Embedding` with a row for each id of the tokenizer, and its ``forward``
    takes embeddings (n, length, d) and a bool mask (n, length) and returns logits (n, classes). All texts are brought
    to one length, so that nobody's answer depends on the company of longer ones.

    Args:
        module: as above.
        tokenizer: cuts texts.
        length: tokens that are read of a text; what is behind them the model never sees.
        weights, recipe: as for `TorchModel`.
    """

    answers, takes = "logits", "texts"
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
        self._read: dict[bytes, list[Token]] = {}

    def settings(self) -> list[Any]:
        """Return the tokenizer's kind and vocabulary, and how much is read: by them the same tensors mean something."""
        known = self.tokenizer
        return [type(known).__name__, list(known.vocabulary), known.pad, known.unknown, self.length]

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits for code points (n, characters)."""
        reading = self.read(pixels)
        return self.answer(self.embed(reading.ids), reading.mask)

    def read(self, codes: Tensor) -> Reading:
        """Return the tokens of texts given as code points (n, characters)."""
        rows = codes.detach().cpu().numpy()
        found = [self._tokens(row, text)[: self.length] for row, text in zip(rows, texts_of(rows), strict=True)]
        ids = np.full((len(found), self.length), self.tokenizer.pad, np.int64)
        spans = np.zeros((len(found), self.length, 2), np.int64)
        for place, tokens in enumerate(found):
            ids[place, : len(tokens)] = [token.id for token in tokens]
            spans[place, : len(tokens)] = [(token.start, token.end) for token in tokens]
        counts = np.array([len(tokens) for tokens in found])
        mask = np.arange(self.length)[None] < counts[:, None]
        return Reading(*(torch.from_numpy(part).to(codes.device) for part in (ids, mask, spans)))

    def _tokens(self, row: npt.NDArray[Any], text: str) -> list[Token]:
        key = row.tobytes()
        if (known := self._read.get(key)) is None:
            if len(self._read) >= CACHED:
                self._read.clear()
            known = self.tokenizer.tokens(text) or [Token(self.tokenizer.unknown, 0, 0)]
            if not all(isinstance(token, Token) for token in known):
                raise ModelError(
                    f"The tokenizer cut a text into {type(known[0]).__name__}; expected suite.Token values: "
                    "an id, and where its characters start and end."
                )
            self._read[key] = known
        return known

    @property
    def table(self) -> Tensor:
        """The embedding of every id, (ids, d).

        Raises:
            NotApplicableError: the model embeds nothing.
        """
        embedding = getattr(self.module, "embedding", None)
        if not isinstance(embedding, nn.Embedding):
            raise NotApplicableError("the model has no word embedding, so there is no gradient with respect to the text")
        return embedding.weight

    def embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ids (n, length), (n, length, d)."""
        table = self.table
        if int(ids.max()) >= len(table) or int(ids.min()) < 0:
            raise ModelError(
                f"The tokenizer gives ids from {int(ids.min())} to {int(ids.max())}, but the embedding has "
                f"{len(table)} rows. Build it with a row for each entry of the vocabulary."
            )
        embedded: Tensor = self.module.get_submodule("embedding")(ids)
        return embedded

    def answer(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, classes) for embeddings (n, length, d) and a mask (n, length).

        Raises:
            ModelError: the module returns something else.
        """
        count, padding = len(embedded), -len(embedded) % BATCH_MULTIPLE
        if padding:
            embedded, mask = (torch.cat([part, part[:1].expand(padding, *part.shape[1:])]) for part in (embedded, mask))
        with self.differentiable():
            output = self.module(embedded, mask)
        return self.shaped(output, embedded)[:count]

    def shaped(self, output: Any, pixels: Tensor) -> Tensor:
        """Return logits (n, classes) as they are."""
        is_table = isinstance(output, Tensor) and output.ndim == 2 and len(output) == len(pixels)
        if not is_table or not output.is_floating_point():
            got = f"{output.dtype} {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(f"The model returned {got} for {len(pixels)} texts; expected numbers (texts, classes).")
        logits: Tensor = output
        return logits

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """Let gradients flow through recurrent layers in evaluation mode, which cuDNN refuses.

        Its kernels are left aside where they would refuse; the other way, training mode, would switch dropout on.
        """
        recurrent = any(isinstance(child, nn.RNNBase) for child in self.module.modules())
        if recurrent and not self.module.training and torch.is_grad_enabled():
            with torch.backends.cudnn.flags(enabled=False):
                yield
        else:
            yield

    def in_space(self, space: str) -> TorchModel:
        """Return the model as it is seen from the space of its embeddings."""
        if space != "embedding":
            return super().in_space(space)
        return Embedded(self)


MARGIN = 8.0
"""Standard deviations between the largest embedding and the bounds of the space; padding lies on the upper one."""


class Embedded(TorchModel):
    """A text model that is shown embeddings in place of texts, in units of the standard deviation of their numbers.

    No text has most of these embeddings: what is found here bounds what could be found among texts, and is not mixed
    with it. Padding lies on the upper bound, where no embedding does, so that it stays padding where no number moves by
    `reach` or more.
    """

    answers = "logits"
    max_perturbation = MARGIN / 2

    def __init__(self, text: TorchText) -> None:
        super().__init__(text.module, recipe=text.recipe)
        self.text = text
        table = text.table.detach()
        self.unit = float(table.std())
        highest = float(table.abs().max()) / self.unit + MARGIN
        self.limits = (-highest, highest)

    def inputs(self, split: Split) -> npt.NDArray[Any]:
        """Return the embeddings of a split's texts, float32 (n, length, d)."""
        codes = torch.from_numpy(split.pixels()).to(self.text.table.device)
        reading = self.text.read(codes)
        with torch.no_grad():
            points = self.text.embed(reading.ids).float() / self.unit
        shown = torch.where(reading.mask[..., None], points, self.limits[1])
        return np.asarray(shown.cpu().numpy(), np.float32)

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits for embeddings (n, length, d)."""
        mask = pixels.detach()[..., 0] < self.limits[1] - self.max_perturbation
        mask = mask | (~mask.any(dim=1, keepdim=True) & (torch.arange(mask.shape[1], device=mask.device) == 0))
        embedded = torch.where(mask[..., None], pixels * self.unit, 0.0)
        return self.text.answer(embedded.to(self.dtype), mask)
