"""Occlusion: attribution by the drop of the scalar when a window of the image is black."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.attributions.maps.baselines import BLACK
from suite.attributions.maps.budget import forwards
from suite.attributions.maps.cells import MOST_CELLS_A_SIDE, Grid
from suite.attributions.maps.explained import Explained
from suite.decorators import attribution
from suite.errors import ModelError


@attribution(name="occlusion")
@dataclass(frozen=True)
class Occlusion:
    """Explain by the drop of the scalar when a window is black (Zeiler & Fergus 2014).

    Attributes:
        window: side of the window in cells (`grid`), at most the whole image.
        stride: how far it moves, in cells, at most `window`; a pixel gets the mean over the windows that cover it.
        budget: most windows per image; cells become larger until it is met. None for `budget.forwards`, which
            decreases with the size of the image.
    """

    window: int = 2
    stride: int = 1
    budget: int | None = None
    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return the fall of the scalar, (n, c, h, w), distributed evenly over the channels."""
        channels, height, width = explained.inputs.shape[1:]
        grid = self.grid(height, width)
        explained.costs.append(self.cost(height, width))
        hidden = self._hidden(grid)
        values = explained.masked_targets
        places = values.ask(grid, ~hidden.expand(len(explained), *hidden.shape), BLACK)
        fall = values.clean()[:, None] - values.values(places)
        covering = hidden.to(fall)
        mean = (fall @ covering) / covering.sum(0)
        fine = (grid.spread(mean) / channels).to(explained.inputs)
        return fine.unsqueeze(1).expand_as(explained.inputs)

    def grid(self, height: int, width: int) -> Grid:
        """Return the grid of the smallest cells, at most 16 per side, whose windows meet the budget.

        Raises:
            ModelError: an option is out of range.
        """
        budget = self._budget(height, width)
        if not 1 <= self.stride <= self.window or budget < 1:
            raise ModelError(
                f"got {self}; expected 1 <= stride <= window, so that every pixel is occluded, and a budget of at "
                "least 1."
            )
        grids = (Grid.fit(height, width, most) for most in range(MOST_CELLS_A_SIDE, 0, -1))
        return next(grid for grid in grids if self._count(grid) <= budget)

    def cost(self, height: int, width: int) -> str:
        """Return what the method spends on an image, in words."""
        grid = self.grid(height, width)
        cells = "x".join(map(str, grid.shape))
        return f"{cells} cells, {self._count(grid)} windows, budget {self._budget(height, width)} forwards per image"

    def _budget(self, height: int, width: int) -> int:
        return forwards(height, width) if self.budget is None else self.budget

    def _starts(self, cells: int) -> range:
        """Return the first cell of each window along a side; the last window reaches the end."""
        return range(0, max(cells - self.window, 0) + self.stride, self.stride)

    def _count(self, grid: Grid) -> int:
        down, across = grid.shape
        return len(self._starts(down)) * len(self._starts(across))

    def _hidden(self, grid: Grid) -> Tensor:
        """Return the cells of each window, bool (windows, cells)."""
        down, across = (self._intervals(cells) for cells in grid.shape)
        return (down[:, None, :, None] & across[None, :, None, :]).reshape(len(down) * len(across), grid.count)

    def _intervals(self, cells: int) -> Tensor:
        """Return the cells of each window along a side, bool (windows, cells)."""
        first, cell = torch.tensor(self._starts(cells))[:, None], torch.arange(cells)
        return (cell >= first) & (cell < first + self.window)
