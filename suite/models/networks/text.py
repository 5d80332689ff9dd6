"""Small text classifiers on word embeddings that train in seconds on a CPU.

Each has ``embedding`` and maps embeddings (n, length, d) and a bool mask (n, length), true for tokens and false for
padding, to logits (n, classes). Padding has no influence; a row of padding only is read as one token of zeros.
"""

import torch
from torch import Tensor, nn

from suite.models.networks.image_classifiers import Block


class Bag(nn.Module):
    """A bag of embeddings: their mean, and a linear layer or a network with one hidden layer.

    With a hidden layer it is a deep averaging network (Iyyer et al. 2015).

    Args:
        words: size of the vocabulary, padding included.
        classes: number of logits.
        width: size of an embedding.
        hidden: size of the hidden layer; 0 for none.
        dropout: dropout rate of whole words and of the hidden units.
    """

    def __init__(self, words: int, classes: int, *, width: int = 64, hidden: int = 0, dropout: float = 0.3) -> None:
        super().__init__()
        self.embedding = embedding(words, width)
        self.drop_words = nn.Dropout(dropout)
        inner = [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)] if hidden else []
        self.head = nn.Sequential(*inner, nn.Linear(hidden or width, classes))

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        embedded, mask = readable(embedded, mask)
        kept = self.drop_words(mask.to(embedded.dtype))[..., None]
        mean = (embedded * kept).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return self.head(mean)  # type: ignore[no-any-return]  # nn.Module returns Any


class TextCNN(nn.Module):
    """Convolutions of several widths over the words with max pooling over the text (Kim 2014).

    Args:
        words: size of the vocabulary, padding included.
        classes: number of logits.
        width: size of an embedding.
        channels: filters per width.
        spans: widths of the filters in words.
        dropout: dropout rate after the embeddings and before the last layer.
    """

    def __init__(
        self,
        words: int,
        classes: int,
        *,
        width: int = 64,
        channels: int = 64,
        spans: tuple[int, ...] = (3, 4, 5),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.embedding = embedding(words, width)
        self.drop = nn.Dropout(dropout)
        self.filters = nn.ModuleList(nn.Conv1d(width, channels, span) for span in spans)
        self.head = nn.Linear(channels * len(spans), classes)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        embedded, mask = readable(embedded, mask)
        rows = self.drop(embedded).transpose(1, 2)
        pooled = [self._pooled(filters, rows, mask) for filters in self.filters]
        return self.head(self.drop(torch.cat(pooled, dim=1)))  # type: ignore[no-any-return]  # nn.Module returns Any

    @staticmethod
    def _pooled(filters: nn.Module, rows: Tensor, mask: Tensor) -> Tensor:
        """Return the maximum of each filter over positions centered on a word, (n, channels)."""
        around = int(filters.kernel_size[0]) - 1  # type: ignore[index]  # of a convolution
        response = filters(nn.functional.pad(rows, (around // 2, around - around // 2))).relu()
        return response.masked_fill(~mask[:, None], 0.0).amax(dim=2)  # type: ignore[no-any-return]  # Any


class BiGRU(nn.Module):
    """A bidirectional GRU that classifies the final states of both directions.

    The text is reversed within its own length, so that padding comes after the final state in both directions.

    Args:
        words: size of the vocabulary, padding included.
        classes: number of logits.
        width: size of an embedding.
        hidden: size of the state of one direction.
        dropout: dropout rate after the embeddings and before the last layer.
    """

    def __init__(self, words: int, classes: int, *, width: int = 64, hidden: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        self.embedding = embedding(words, width)
        self.drop = nn.Dropout(dropout)
        self.forwards = nn.GRU(width, hidden, batch_first=True)
        self.backwards = nn.GRU(width, hidden, batch_first=True)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        embedded, mask = readable(embedded, mask)
        positions = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * positions).amax(dim=1)
        mirrored = (last[:, None] - positions).where(positions <= last[:, None], positions)
        rows = self.drop(embedded)
        reversed_rows = rows.gather(1, mirrored[..., None].expand_as(rows))
        states = [
            reader(order)[0][torch.arange(len(last), device=last.device), last]
            for reader, order in ((self.forwards, rows), (self.backwards, reversed_rows))
        ]
        return self.head(self.drop(torch.cat(states, dim=1)))  # type: ignore[no-any-return]  # nn.Module returns Any


class TextTransformer(nn.Module):
    """A transformer encoder with learned positions and mean pooling over the words.

    Args:
        words: size of the vocabulary, padding included.
        classes: number of logits.
        length: words per text, the same as for the adapter.
        width: size of an embedding, a multiple of the heads.
        depth: number of blocks.
        heads: attention heads per block.
        dropout: dropout rate after the embeddings and in the blocks.
    """

    def __init__(
        self,
        words: int,
        classes: int,
        length: int,
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.embedding = embedding(words, width)
        self.position = nn.Parameter(torch.randn(1, length, width) * 0.02)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        embedded, mask = readable(embedded, mask)
        rows = self.drop(embedded + self.position[:, : mask.shape[1]])
        for block in self.blocks:
            rows = block(rows, mask)
        real = self.norm(rows).masked_fill(~mask[..., None], 0.0)
        return self.head(real.sum(dim=1) / mask.sum(dim=1, keepdim=True))  # type: ignore[no-any-return]  # Any


def embedding(words: int, width: int, scale: float = 0.1) -> nn.Embedding:
    """Return an embedding from a normal distribution of standard deviation `scale`; its first row, padding, is 0."""
    table = nn.Embedding(words, width, padding_idx=0)
    with torch.no_grad():
        table.weight.mul_(scale)
    return table


def readable(embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings that are 0 at padding, and a mask with at least one token per row."""
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    embedded = embedded.masked_fill(~mask[..., None], 0.0)
    return embedded, mask | (~mask.any(dim=1, keepdim=True) & first)
