"""Values of partly deleted images: each distinct image is evaluated once, whichever method or curve asks for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from suite.attributions.maps.baselines import BLACK
from suite.attributions.maps.cells import Grid

Scalar = Callable[[Tensor, Tensor], Tensor]
"""A function (inputs, rows) -> (m,), where ``rows[i]`` is the sample that (perturbed) input i was made from."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    """Images of one sample that are not evaluated yet: the kept cells (k, cells), bool."""

    row: int
    baseline: str
    grid: Grid
    kept: Tensor

    def cut(self, count: int) -> tuple[_Waiting, _Waiting]:
        """Return the first `count` images, and the others."""
        parts = self.kept[:count], self.kept[count:]
        first, rest = (_Waiting(self.row, self.baseline, self.grid, part) for part in parts)
        return first, rest


@dataclass(eq=False)
class MaskedValues:
    """Values of a function on images with deleted cells, in full batches over samples, methods and curves.

    An image is given by its sample, its kept cells and the baseline that replaces the others. The clean image and the
    baseline are such images too, so that all curves share their end points.

    Attributes:
        function: (inputs, rows) -> (m,), finite numbers. It must not keep the inputs, which the next call overwrites.
        inputs: the samples, (n, c, h, w), contiguous.
        baseline: the replacement by name, (n, c, h, w), with contiguous images.
        batch_size: images per call of `function`; only a call before `values` may have fewer.
    """

    function: Scalar
    inputs: Tensor
    baseline: Callable[[str], Tensor]
    batch_size: int
    _places: dict[tuple[object, ...], int] = field(default_factory=dict, init=False)
    _done: list[Tensor] = field(default_factory=list, init=False)
    _waiting: list[_Waiting] = field(default_factory=list, init=False)

    def ask(self, grid: Grid, kept: Tensor, baseline: str, rows: Sequence[int] | None = None) -> Tensor:
        """Ask for the values of images, and evaluate them as far as they fill batches.

        Args:
            grid: the cells.
            kept: which cells are kept, bool (m, points, cells).
            baseline: name of the replacement of the other cells.
            rows: the sample of each entry of `kept`; None for all samples in order.

        Returns:
            Where to find the values with `values`, int64 (m, points), on the CPU.
        """
        kept = kept.cpu()
        ends = kept.all(2).tolist(), (~kept.any(2)).tolist()
        bits = np.packbits(kept.numpy(), axis=2)
        places = torch.empty(kept.shape[:2], dtype=torch.int64)
        for entry, row in enumerate(range(len(kept)) if rows is None else rows):
            keys = [
                (row,) if clean else (row, baseline) if empty else (row, baseline, grid.cell, point.tobytes())
                for clean, empty, point in zip(ends[0][entry], ends[1][entry], bits[entry], strict=True)
            ]
            places[entry] = torch.tensor(self._placed(keys, _Waiting(row, baseline, grid, kept[entry])))
            self._evaluate(self.batch_size)
        return places

    def values(self, places: Tensor) -> Tensor:
        """Return the values at places of any shape, float64, after evaluating the images that still wait."""
        self._evaluate(1)
        self._done = [torch.cat(self._done)]
        return self._done[0][places.to(self._done[0].device)]

    def clean(self) -> Tensor:
        """Return the values of the samples themselves, (n,), float64."""
        height, width = self.inputs.shape[2:]
        grid = Grid(height, width, max(height, width))
        return self.values(self.ask(grid, torch.ones(len(self.inputs), 1, 1, dtype=torch.bool), BLACK))[:, 0]

    def _placed(self, keys: Sequence[tuple[object, ...]], images: _Waiting) -> list[int]:
        """Return the places of images, which wait if they are new."""
        places, new = [], []
        for number, key in enumerate(keys):
            if key not in self._places:
                self._places[key] = len(self._places)
                new.append(number)
            places.append(self._places[key])
        if new:
            self._waiting.append(_Waiting(images.row, images.baseline, images.grid, images.kept[new]))
        return places

    @torch.no_grad()
    def _evaluate(self, least: int) -> None:
        """Evaluate waiting images in batches while there are at least `least`."""
        while sum(len(part.kept) for part in self._waiting) >= least:
            batch = list(self._next())
            rows = torch.tensor([part.row for part in batch for _ in part.kept], device=self.inputs.device)
            # A copy, since the values may be a view of the images, which the next batch overwrites.
            self._done.append(self.function(self._composed(batch, len(rows)), rows).double().clone())

    def _next(self) -> Iterator[_Waiting]:
        """Take the images of the next batch."""
        room = self.batch_size
        while room and self._waiting:
            first, rest = self._waiting.pop(0).cut(room)
            if len(rest.kept):
                self._waiting.insert(0, rest)
            room -= len(first.kept)
            yield first

    @functools.cached_property
    def _buffer(self) -> Tensor:
        """Memory for a batch; new memory for each batch would take as long as composing it."""
        return self.inputs.new_empty((self.batch_size, *self.inputs.shape[1:]))

    def _composed(self, batch: Sequence[_Waiting], count: int) -> Tensor:
        """Return the images of a batch, (count, c, h, w), each written once."""
        images, start = self._buffer[:count], 0
        for part in batch:
            own = images[start : start + len(part.kept)]
            mask = part.grid.spread(part.kept.to(images.device)).unsqueeze(1)
            _choose(mask, (self.inputs[part.row], self.baseline(part.baseline)[part.row]), own, part.grid.cell)
            start += len(part.kept)
        return images


def _choose(mask: Tensor, images: tuple[Tensor, Tensor], out: Tensor, cell: int) -> None:
    """Write the first image (c, h, w) where the mask (k, 1, h, w) is set, and else the second one."""
    # Two pixels of a row that share their mask are chosen as one number of 64 bits, in half the time.
    if cell % 2 == 0 and out.shape[-1] % 2 == 0 and out.element_size() == 4:  # two float32
        mask, out = mask[..., ::2], out.view(torch.int64)
        images = images[0].view(torch.int64), images[1].view(torch.int64)
    torch.where(mask, *images, out=out)
