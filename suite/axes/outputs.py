"""The outputs of a model for the clean samples of a split, computed once and shared by all axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from suite.axes.answers import answers
from suite.data import Split
from suite.data.digests import in_digest_order, seed_of
from suite.kinds.base import Array, Kind
from suite.kinds.logits import SAMPLES, why_not_logits
from suite.models.base import TorchModel
from suite.models.training.trainer import seeded

MOST_BYTES = 256 * 2**20
"""Most bytes of outputs that are kept; what does not fit is computed again when it is needed."""


class Outputs:
    """Raw float32 outputs of a model for the samples of a split.

    Samples are cut into batches of the model's width, in the order of the digests of their ids. A batch is always
    computed as a whole, so the bits of an output do not depend on which samples are asked for first.

    Attributes:
        failed: why the model has no output for a sample, by id, of the samples so far.
    """

    def __init__(self, model: TorchModel, split: Split, kind: Kind, device: torch.device, seed: int = 0) -> None:
        self.model, self.split, self.kind, self.device, self.seed = model, split, kind, device, seed
        self.failed: dict[str, str] = {}
        self.order = np.array(in_digest_order(split.ids), np.int64)
        self.place = {split.ids[row]: place for place, row in enumerate(self.order)}
        self.kept: dict[int, Array] = {}
        self._scale: list[str | None] = []

    def of(self, ids: Iterable[str]) -> Array:
        """Return the outputs of some samples, (k, ...) in the order of the ids."""
        places = np.array([self.place[name] for name in ids], np.int64)
        if not len(places):
            return np.zeros((0,), np.float32)
        width = self.model.width
        needed = np.unique(places // width).tolist()
        batches = {number: self.kept[number] for number in needed if number in self.kept}
        missing = [number for number in needed if number not in batches]
        batches |= self._computed(missing)
        self._keep(batches)
        return np.stack([batches[place // width][place % width] for place in places])

    def why_not_logits(self, kind: Kind) -> str | None:
        """Return why the outputs do not look like logits, from those of the first samples; see `why_not_logits`.

        Args:
            kind: as fitted to the model; its first answer is kept.
        """
        if not self._scale:
            self._scale.append(why_not_logits(kind.logits, self._first(SAMPLES)))
        return self._scale[0]

    def _first(self, count: int) -> Iterator[Array]:
        """Yield the outputs of the first samples in digest order, batch by batch, without those that have none."""
        names = [self.split.ids[row] for row in self.order[:count]]
        for start in range(0, len(names), self.model.width):
            batch = names[start : start + self.model.width]
            outputs = self.of(batch)
            yield outputs[[name not in self.failed for name in batch]]

    def _computed(self, numbers: Sequence[int]) -> dict[int, Array]:
        """Return the outputs of some batches by number."""
        width = self.model.width
        rows = [self.order[number * width : (number + 1) * width] for number in numbers]
        batches = {}
        with self.model.frozen(), torch.no_grad():
            for number, batch in zip(numbers, self.split.ahead(rows), strict=True):
                inputs = torch.from_numpy(self.model.inputs(batch)).to(self.device)
                with seeded(seed_of("outputs", batch.ids[0], str(self.seed)), self.device):
                    targets = torch.from_numpy(batch.targets).to(self.device)
                    output, failed = answers(self.model, inputs, targets, self.kind)
                batches[number] = output.float().cpu().numpy()
                self.failed |= {batch.ids[row]: reason for row, reason in failed.items()}
        return batches

    def _keep(self, batches: dict[int, Array]) -> None:
        """Keep outputs, and forget the oldest ones over the limit."""
        self.kept |= batches
        size = sum(batch.nbytes for batch in self.kept.values())
        while size > MOST_BYTES and self.kept:
            size -= self.kept.pop(next(iter(self.kept))).nbytes
