"""Small networks that read embeddings of words and train in seconds on a processor.

Each has ``embedding`` and maps embeddings (n, length, d) and a bool mask (n, length) to logits (n, classes). What lies
at masked positions has no influence, and a row without any real position is read as a single token of zeros.
"""

import torch
from torch import Tensor, nn

from suite.models.networks.image_classifiers import Block


class Bag(nn.Module):
    """The mean of the embeddings, and a linear layer or a network upon it; the order of words does not matter.

    With hidden layers it is a deep averaging network (Iyyer et al. 2015).

    Args:
        words: size of the vocabulary, padding included.
        classes: number of logits.
        width: size of an embedding.
        hidden: size of the hidden layer; 0 for none.
        dropout: share of the words of a text that are left out in training, and of the hidden units.
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
    """Convolutions of several widths over the words, each followed by its maximum over the text (Kim 2014).

    Args:
        words: size of the vocabulary, padding included.
        classes: number of logits.
        width: size of an embedding.
        channels: filters of each width.
        spans: words that a filter sees.
        dropout: share of values dropped behind the embeddings and before the last layer.
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
        strongest = [self._strongest(filters, rows, mask) for filters in self.filters]
        return self.head(self.drop(torch.cat(strongest, dim=1)))  # type: ignore[no-any-return]  # nn.Module returns Any

    @staticmethod
    def _strongest(filters: nn.Module, rows: Tensor, mask: Tensor) -> Tensor:
        """Return the largest response of each filter among those centred on a real word, (n, channels)."""
        around = int(filters.kernel_size[0]) - 1  # type: ignore[index]  # of a convolution
        response = filters(nn.functional.pad(rows, (around // 2, around - around // 2))).relu()
        return response.masked_fill(~mask[:, None], 0.0).amax(dim=2)  # type: ignore[no-any-return]  # Any


class BiGRU(nn.Module):
    """Two recurrent networks, one reading forwards and one backwards, and their states behind the last word.

    The text is reversed within its own length, so that padding is read after the state that counts in both directions.

    Args:
        words: size of the vocabulary, padding included.
        classes: number of logits.
        width: size of an embedding.
        hidden: size of the state of one direction.
        dropout: share of values dropped behind the embeddings and before the last layer.
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
        places = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * places).amax(dim=1)
        mirrored = (last[:, None] - places).where(places <= last[:, None], places)
        rows = self.drop(embedded)
        turned = rows.gather(1, mirrored[..., None].expand_as(rows))
        states = [
            reader(order)[0][torch.arange(len(last), device=last.device), last]
            for reader, order in ((self.forwards, rows), (self.backwards, turned))
        ]
        return self.head(self.drop(torch.cat(states, dim=1)))  # type: ignore[no-any-return]  # nn.Module returns Any


class TextTransformer(nn.Module):
    """A transformer encoder with learned positions; the mean over the words is classified.

    Args:
        words: size of the vocabulary, padding included.
        classes: number of logits.
        length: words of a text, as the adapter reads them.
        width: size of an embedding, a multiple of the heads.
        depth: number of blocks.
        heads: attention heads per block.
        dropout: share of values dropped behind the embeddings and in the blocks.
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
    """Return a table of embeddings, drawn from a normal distribution of a standard deviation; the first row is 0."""
    table = nn.Embedding(words, width, padding_idx=0)
    with torch.no_grad():
        table.weight.mul_(scale)
    return table


def readable(embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings that are 0 wherever nothing is real, and a mask with at least one real position per row."""
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    embedded = embedded.masked_fill(~mask[..., None], 0.0)
    return embedded, mask | (~mask.any(dim=1, keepdim=True) & first)
