"""Small architectures that train in seconds on a CPU."""

import math

import torch
from torch import Tensor, nn


def linear(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Return a linear model on the flattened pixels, the baseline for every network."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


def small_cnn(classes: int, shape: tuple[int, ...], *, width: int = 16, dropout: float = 0.25) -> nn.Module:
    """Return a convolutional network of four 3x3 layers and one hidden layer.

    Args:
        classes: number of logits.
        shape: (channels, height, width) of the images, at least 4 pixels on a side.
        width: channels of the first block; the second has twice as many.
        dropout: dropout rate of the hidden units, in training and in Monte Carlo dropout.
    """
    channels, height, across = shape

    def block(before: int, after: int) -> list[nn.Module]:
        first, second = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        return [first, nn.ReLU(), second, nn.ReLU(), nn.MaxPool2d(2)]

    features = 2 * width * (height // 4) * (across // 4)
    head = [nn.Flatten(), nn.Linear(features, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, classes)]
    return nn.Sequential(*block(channels, width), *block(width, 2 * width), *head)


class TinyViT(nn.Module):
    """A vision transformer with patches, a class token and pre-norm blocks.

    Args:
        classes: number of logits.
        shape: (channels, height, width); height and width are multiples of `patch`.
        patch: side of a patch in pixels.
        width: size of a token.
        depth: number of blocks.
        heads: attention heads per block.
        dropout: dropout rate after attention and after the hidden layer.
    """

    def __init__(
        self,
        classes: int,
        shape: tuple[int, ...],
        *,
        patch: int = 2,
        width: int = 48,
        depth: int = 3,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        channels, height, across = shape
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        tokens = (height // patch) * (across // patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, tokens + 1, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, heads, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (n, classes)."""
        patches = self.embed(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(pixels), -1, -1), patches], dim=1) + self.position
        return self.head(self.norm(self.blocks(tokens)[:, 0]))  # type: ignore[no-any-return]  # nn.Module returns Any


class Block(nn.Module):
    """A pre-norm transformer block; PyTorch's own takes a different code path without gradients."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_hidden = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return tokens (n, length, width), which attend to the tokens of a mask, or to all without a mask.

        The mask is bool (n, length), with at least one token per row.
        """
        count, length, width = tokens.shape
        mixed = self.mix(self.before_attention(tokens)).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-2, -1)) / math.sqrt(width // self.heads)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -math.inf)
        attended = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(count, length, width)
        tokens = tokens + self.drop(self.out(attended))
        mixed_in: Tensor = tokens + self.drop(self.hidden(self.before_hidden(tokens)))
        return mixed_in
