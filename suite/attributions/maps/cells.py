"""Square cells of an image, which curves delete, and their ranking by an attribution map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from suite.attributions.maps.draws import generator
from suite.errors import MeasureError

MOST_CELLS_A_SIDE = 16
"""Largest number of cells per side; 8 px give 8 cells per side, 28 px 14, 32 px and 224 px 16."""

SAME = 1e-6
"""Values that differ by less than about this fraction of a map's largest magnitude are ties: the difference may be
rounding, which depends on the batch size and the machine."""


@dataclass(frozen=True)
class Grid:
    """A partition of an image into square cells; those at the right and lower edge may be smaller.

    Attributes:
        height, width: size of the image in pixels.
        cell: side of a cell in pixels.
    """

    height: int
    width: int
    cell: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.cell) < 1:
            raise MeasureError(f"got {self}; expected sizes of 1 pixel or more.")

    @classmethod
    def fit(cls, height: int, width: int, most: int = MOST_CELLS_A_SIDE) -> Grid:
        """Return the grid of the smallest cells with at most `most` per side."""
        return cls(height, width, -(-max(height, width) // most))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells in a column and in a row."""
        return -(-self.height // self.cell), -(-self.width // self.cell)

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    def pool(self, maps: Tensor) -> Tensor:
        """Sum maps (n, h, w) over each cell, (n, count), float64; cells are numbered row by row."""
        if tuple(maps.shape[1:]) != (self.height, self.width):
            raise MeasureError(
                f"got maps of shape {tuple(maps.shape)}; expected (n, {self.height}, {self.width}). "
                "Return one map per sample, of the size of its image."
            )
        rows, columns = self.shape
        margin = (0, columns * self.cell - self.width, 0, rows * self.cell - self.height)
        padded = functional.pad(maps.double(), margin)
        return padded.reshape(len(maps), rows, self.cell, columns, self.cell).sum((2, 4)).flatten(1)

    def spread(self, values: Tensor) -> Tensor:
        """Return the value of its cell for each pixel, (n, count) to (n, h, w)."""
        image = values.reshape(len(values), *self.shape)
        wide = image.repeat_interleave(self.cell, 2)[:, :, None, : self.width]
        # Rows are copied as a whole, four times as fast as repeating them by index.
        return wide.expand(-1, -1, self.cell, -1).flatten(1, 2)[:, : self.height]


def rank_cells(values: Tensor, seeds: Sequence[int]) -> Tensor:
    """Rank the cells of each sample by descending value, with ties in a random order that depends on its seed.

    Args:
        values: pooled attributions (n, cells).
        seeds: one non-negative integer per sample.

    Returns:
        Ranks (n, cells), int64, on the device of `values`: 0 for the cell to delete first. Without the random order
        a constant map would delete from the top left, which differs from chance on centered objects.
    """
    largest = values.abs().amax(1, keepdim=True)
    levels = (values / torch.where(largest > 0, largest * SAME, torch.ones_like(largest))).round().cpu()
    shuffles = [torch.randperm(values.shape[1], generator=generator(seed, "ties")) for seed in seeds]
    shuffled = torch.stack(shuffles)
    order = shuffled.gather(1, levels.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))
    return order.argsort(dim=1).to(values.device)
