"""Full batches across samples."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

Piece = tuple[Tensor, int]
"""Images (k, c, h, w) made from one sample, and the row of the sample."""


def full_batches(pieces: Iterable[Piece], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images, rows) with exactly `size` images, in order; only the last batch may have fewer.

    A piece is drawn when it is needed, so that no more than one piece and one batch are in memory.
    """
    parts: list[Tensor] = []
    owners: list[int] = []
    for piece, row in pieces:
        rest = piece
        while len(rest):
            part, rest = rest[: size - len(owners)], rest[size - len(owners) :]
            parts.append(part)
            owners += [row] * len(part)
            if len(owners) == size:
                yield _joined(parts, owners)
                parts, owners = [], []
    if owners:
        yield _joined(parts, owners)


def _joined(parts: list[Tensor], owners: list[int]) -> tuple[Tensor, Tensor]:
    images = parts[0] if len(parts) == 1 else torch.cat(parts)
    return images, torch.tensor(owners, device=images.device)
