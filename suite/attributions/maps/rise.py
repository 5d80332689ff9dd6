"""RISE: black-box attribution from the scores of randomly masked images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.attributions.maps.baselines import channel_mean
from suite.attributions.maps.draws import generator
from suite.attributions.maps.explained import Explained
from suite.decorators import attribution
from suite.errors import ModelError

FILLS = ("black", "mean")
"""Replacements of masked pixels: black, or the mean of their channel in the image."""

MASKS_AT_ONCE = 64
"""Masks of one sample that are summed at once; it bounds the memory and is fixed, since it sets the order of sums."""


@attribution(name="rise")
@dataclass(frozen=True)
class Rise:
    """Explain by the scores of randomly masked copies of the image (Petsiuk et al. 2018).

    It needs no gradient. It explains `Explained.score`, not the scalar. If that is the score of the detection most
    similar to the explained one, this is D-RISE (Petsiuk et al. 2021) with that similarity. The map is 0 if no mask
    changes the score.

    Attributes:
        masks: random masks per sample, at least 2; each costs one forward pass.
        grid: cells per side of the coarse random grid, at most the shorter side of the image in pixels; grids are
            upsampled bilinearly, each with a random shift of up to one cell.
        keep: probability of keeping a cell, between 0 and 1.
        fill: replacement of masked pixels, one of `FILLS`.
    """

    masks: int = 300
    grid: int = 8
    keep: float = 0.5
    fill: str = "black"
    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return `estimate` as signed attributions, distributed evenly over the channels, (n, c, h, w)."""
        value = self.estimate(explained).to(explained.inputs)
        return (value / explained.inputs.shape[1]).unsqueeze(1).expand_as(explained.inputs)

    @torch.no_grad()
    def estimate(self, explained: Explained) -> Tensor:
        """Return the covariance of score and mask over keep * (1 - keep), (n, h, w), float64.

        For masks of zeros and ones this is E[score | kept] - E[score | masked]. The mean score is subtracted, so that
        the map is signed and does not depend on how often each pixel was kept.

        Raises:
            ModelError: an option is out of range, or a score is not finite.
        """
        self._check()
        draws = _Draws.of(explained, self)
        scores = self._scores(explained, draws)
        scores = scores - scores[:, :1]  # equal scores become exactly 0, and so does the map
        gains = (scores - scores.mean(1, keepdim=True)) / (self.keep * (1 - self.keep))
        return torch.stack([self._average(gains, draws, row) for row in range(len(explained))])

    def _scores(self, explained: Explained, draws: _Draws) -> Tensor:
        filling = channel_mean(explained.inputs) if self.fill == "mean" else torch.zeros_like(explained.inputs)
        scores = []
        for rows, which in _pairs(explained, self.masks):
            mask = draws.masks(rows, which).to(explained.inputs).unsqueeze(1)
            masked = explained.inputs[rows] * mask + filling[rows] * (1 - mask)
            scores.append(explained.rate(masked, rows).double())
        return torch.cat(scores).reshape(len(explained), self.masks)

    def _average(self, gains: Tensor, draws: _Draws, row: int) -> Tensor:
        """Return the mean of gain * (mask - keep) over the masks of one sample, (h, w)."""
        total = torch.zeros(draws.shape, dtype=torch.float64, device=gains.device)
        for which in torch.split(torch.arange(self.masks, device=gains.device), MASKS_AT_ONCE):
            terms = gains[row, which, None, None] * (draws.masks(torch.full_like(which, row), which) - self.keep)
            total = total + terms.sum(0)
        return total / self.masks

    def _check(self) -> None:
        if self.masks < 2 or self.grid < 1 or not 0 < self.keep < 1 or self.fill not in FILLS:
            raise ModelError(f"got {self}; expected masks >= 2, grid >= 1, 0 < keep < 1 and fill one of {FILLS}.")


@dataclass(frozen=True, eq=False)
class _Draws:
    """The random draws: coarse grids (n, masks, g + 2, g + 2) of 0 and 1, and shifts (n, masks, 2) in 0..1 cell."""

    kept: Tensor
    shift: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, explained: Explained, rise: Rise) -> _Draws:
        height, width = explained.inputs.shape[2:]
        nodes = min(rise.grid, height, width) + 2
        kept, shift = [], []
        for seed in explained.seeds:
            source = generator(seed, "rise")
            kept.append(torch.rand(rise.masks, nodes, nodes, generator=source) < rise.keep)
            shift.append(torch.rand(rise.masks, 2, generator=source, dtype=torch.float64))
        device = explained.inputs.device
        return cls(torch.stack(kept).to(device), torch.stack(shift).to(device), (height, width))

    def masks(self, rows: Tensor, which: Tensor) -> Tensor:
        """Return masks (m, h, w) in 0..1, float64, by sample and mask number."""
        shift = self.shift[rows, which]
        down, across = (self._weights(shift[:, axis], side) for axis, side in enumerate(self.shape))
        return down @ self.kept[rows, which].double() @ across.transpose(1, 2)

    def _weights(self, shift: Tensor, side: int) -> Tensor:
        """Return the bilinear weights of the grid nodes for every pixel, (m, side, nodes); at most two are not 0."""
        nodes = self.kept.shape[-1]
        pixel = (torch.arange(side, dtype=torch.float64, device=shift.device) + 0.5) / side * (nodes - 2)
        place = pixel + shift[:, None]
        return (1 - (place[..., None] - torch.arange(nodes, device=shift.device)).abs()).clamp_min(0)


def _pairs(explained: Explained, masks: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield samples and the numbers of their masks, in batches for one call of the score."""
    every = torch.arange(len(explained) * masks, device=explained.inputs.device)
    for part in torch.split(every, explained.batch_size):
        yield part // masks, part % masks
