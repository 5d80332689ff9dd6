"""Small character language models that train in a minute on a CPU.

Each has ``embedding`` and maps embeddings (n, length, d) to logits (n, length, classes) of the next characters; the
other methods are documented in `suite.models.adapters.language.TorchLanguage`.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import ModelError

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}
"""Recurrent layers by name."""


class Recurrent(nn.Module):
    """A recurrent network over characters.

    Args:
        classes: size of the alphabet.
        cell: ``gru`` or ``lstm``.
        width: size of an embedding.
        hidden: size of the state of a layer.
        layers: number of recurrent layers.
        dropout: dropout rate after the embeddings, between layers and before the last one.
    """

    def __init__(
        self,
        classes: int,
        *,
        cell: str = "gru",
        width: int = 64,
        hidden: int = 256,
        layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ModelError(f"got the cell {cell!r}; expected one of {', '.join(CELLS)}.")
        self.embedding = nn.Embedding(classes, width)
        self.cell = CELLS[cell](width, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, classes)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, length, classes)."""
        return self._continue(embedded, None)[0]

    def read(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return logits (n, length, classes) for ids (n, length) after a state, and the new state."""
        return self._continue(self.embedding(ids), state)

    def step(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return logits (n, classes) after one more character (n,), and the state."""
        logits, state = self.read(ids[:, None], state)
        return logits[:, 0], state

    def _continue(self, embedded: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, state = self.cell(self.drop(embedded), state)
        return self.head(self.drop(hidden)), state


class CausalTransformer(nn.Module):
    """A causal transformer over characters with learned positions.

    Args:
        classes: size of the alphabet.
        length: maximum context in characters.
        width: size of an embedding, a multiple of the heads.
        depth: number of blocks.
        heads: attention heads per block.
        dropout: dropout rate after the embeddings and in the blocks.
    """

    def __init__(
        self, classes: int, length: int, *, width: int = 128, depth: int = 3, heads: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, width)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(CausalBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, length, classes).

        Raises:
            ModelError: the text is longer than the maximum context.
        """
        return self._continue(embedded, self._empty_cache)[0]

    def step(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return logits (n, classes) after one more character (n,), and the state.

        When the maximum context is reached, the later half of the text is read again from the first position.
        """
        past, cache = (ids[:, None][:, :0], self._empty_cache) if state is None else state
        past, unread = torch.cat([past, ids[:, None]], dim=1), 1
        if past.shape[1] > len(self.position):
            past = past[:, -(len(self.position) // 2 + 1) :]
            cache, unread = self._empty_cache, past.shape[1]
        logits, cache = self._continue(self.embedding(past[:, -unread:]), cache)
        return logits[:, -1], (past, cache)

    @property
    def _empty_cache(self) -> list[Any]:
        return [(None, None)] * len(self.blocks)

    def _continue(self, embedded: Tensor, cache: list[Any]) -> tuple[Tensor, list[Any]]:
        """Return logits of new characters given the keys and values of earlier ones, and the extended cache."""
        before = 0 if cache[0][0] is None else cache[0][0].shape[2]
        count = before + embedded.shape[1]
        if count > len(self.position):
            raise ModelError(
                f"The model got {count} characters but has {len(self.position)} positions; use fewer, or build it for "
                "longer windows."
            )
        rows, extended = self.drop(embedded + self.position[before:count]), []
        for block, pair in zip(self.blocks, cache, strict=True):
            rows, pair = block(rows, pair)
            extended.append(pair)
        return self.head(self.norm(rows)), extended


class CausalBlock(nn.Module):
    """A causal pre-norm transformer block.

    Attention scores decrease with distance, with one slope per head (Press et al. 2022); without this bias it takes
    hundreds of steps until a head attends to the previous character.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, rows: Tensor, cache: tuple[Any, Any]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return rows (n, length, width), and the keys and values of all characters so far."""
        count, length, width = rows.shape
        parts = self.mixed(self.before(rows)).view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        if cache[0] is not None:
            key, value = torch.cat([cache[0], key], dim=2), torch.cat([cache[1], value], dim=2)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        positions = torch.arange(key.shape[2], device=rows.device)
        distance = positions[-length:, None] - positions[None]
        future = distance < 0
        slopes = 4.0 ** -torch.arange(self.heads, device=rows.device)
        scores = scores - slopes[:, None, None] * distance
        attended = scores.masked_fill(future, -torch.inf).softmax(dim=3) @ value
        rows = rows + self.drop(self.out(attended.transpose(1, 2).reshape(count, length, width)))
        return rows + self.drop(self.inner(self.between(rows))), (key, value)
