"""Small language models of characters that train in a minute on a processor.

Each has ``embedding`` and maps embeddings (n, length, d) to logits (n, length, classes) of the characters behind them;
their other methods are those that `suite.models.adapters.language.TorchLanguage` speaks of.
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
        layers: recurrent layers, one upon the other.
        dropout: share of values dropped behind the embeddings, between layers and before the last one.
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
        between = dropout if layers > 1 else 0.0
        self.cell = CELLS[cell](width, hidden, layers, batch_first=True, dropout=between)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, classes)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, length, classes)."""
        return self._behind(embedded, None)[0]

    def read(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return logits (n, length, classes) for ids (n, length) behind a state, and the state behind them."""
        return self._behind(self.embedding(ids), state)

    def step(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return logits (n, classes) behind one more character (n,), and the state."""
        logits, state = self.read(ids[:, None], state)
        return logits[:, 0], state

    def _behind(self, embedded: Tensor, state: Any) -> tuple[Tensor, Any]:
        hidden, state = self.cell(self.drop(embedded), state)
        return self.head(self.drop(hidden)), state


class CausalTransformer(nn.Module):
    """A transformer over characters with learned positions; each character sees itself and what stands before.

    Args:
        classes: size of the alphabet.
        length: characters it can read at once.
        width: size of an embedding, a multiple of the heads.
        depth: number of blocks.
        heads: attention heads per block.
        dropout: share of values dropped behind the embeddings and in the blocks.
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
            ModelError: the text is longer than the table of positions.
        """
        return self._behind(embedded, [(None, None)] * len(self.blocks))[0]

    def step(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return logits (n, classes) behind one more character (n,), and the state.

        Where the table of positions is full, the later half of the text is read anew from the first position on.
        """
        past, known = (ids[:, None], [(None, None)] * len(self.blocks)) if state is None else state
        past = ids[:, None] if state is None else torch.cat([past, ids[:, None]], dim=1)
        fresh = 1
        if past.shape[1] > len(self.position):
            past = past[:, -(len(self.position) // 2 + 1) :]
            known, fresh = [(None, None)] * len(self.blocks), past.shape[1]
        logits, known = self._behind(self.embedding(past[:, -fresh:]), known)
        return logits[:, -1], (past, known)

    def _behind(self, embedded: Tensor, known: list[Any]) -> tuple[Tensor, list[Any]]:
        """Return logits of some characters behind what is known of those before, and what is known then."""
        before = 0 if known[0][0] is None else known[0][0].shape[2]
        count = before + embedded.shape[1]
        if count > len(self.position):
            raise ModelError(
                f"The model got {count} characters and has a table of {len(self.position)} positions; show it fewer, "
                "or build it for longer windows."
            )
        rows, kept = self.drop(embedded + self.position[before:count]), []
        for block, pair in zip(self.blocks, known, strict=True):
            rows, pair = block(rows, pair)
            kept.append(pair)
        return self.head(self.norm(rows)), kept


class CausalBlock(nn.Module):
    """One pre-norm transformer block whose rows see themselves and what stands before.

    What is far counts less, by a slope that differs from head to head (Press et al. 2022): without it hundreds of steps
    pass before a head finds the character before.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, rows: Tensor, known: tuple[Any, Any]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return rows (n, length, width), and the keys and values of all characters so far."""
        count, length, width = rows.shape
        parts = self.mixed(self.before(rows)).view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind()
        if known[0] is not None:
            key, value = torch.cat([known[0], key], dim=2), torch.cat([known[1], value], dim=2)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        places = torch.arange(key.shape[2], device=rows.device)
        distance = places[-length:, None] - places[None]
        future = distance < 0
        slopes = 4.0 ** -torch.arange(self.heads, device=rows.device)
        scores = scores - slopes[:, None, None] * distance
        seen = scores.masked_fill(future, -torch.inf).softmax(dim=3) @ value
        rows = rows + self.drop(self.out(seen.transpose(1, 2).reshape(count, length, width)))
        return rows + self.drop(self.inner(self.between(rows))), (key, value)
