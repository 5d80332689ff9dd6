"""A language model as it is seen from its embeddings: what is scored stays where it is."""

from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import NotApplicableError
from suite.models.adapters.text import MARGIN, Embedded, TorchText


class Marks(NamedTuple):
    """How characters that are not to be moved are written among embeddings; see `ContextEmbedded`."""

    bits: int
    strength: float = MARGIN / 2

    def written(self, ids: Tensor, width: int) -> Tensor:
        """Return ids (...) as the signs of numbers, (..., width)."""
        digits = (ids[..., None] >> torch.arange(self.bits, device=ids.device)) & 1
        return nn.functional.pad(self.strength * (2.0 * digits - 1), (1, width - 1 - self.bits))

    def ids(self, points: Tensor, classes: int) -> Tensor:
        """Return the ids that were written into points (..., width)."""
        digits = (points[..., 1 : 1 + self.bits] > 0).long() << torch.arange(self.bits, device=points.device)
        return digits.sum(dim=-1).clamp_max(classes - 1)


class ContextEmbedded(Embedded):
    """A language model that is shown embeddings in place of the characters that are not scored.

    The scored characters are read as well, each as the past of the next, and are not to be moved. In their place stand
    a mark on the lower bound, where no embedding lies, and behind it the digits of their ids as signs, so that no
    perturbation below `Marks.strength` standard deviations changes them, and no gradient leads to them.
    """

    def __init__(self, text: TorchText) -> None:
        super().__init__(text)
        self.marks = Marks((len(text.tokenizer.vocabulary) - 1).bit_length())
        if text.table.shape[1] <= self.marks.bits:
            raise NotApplicableError(
                f"embeddings of {text.table.shape[1]} numbers have no room for the ids of "
                f"{len(text.tokenizer.vocabulary)} characters, so that scored ones could not be kept as they are"
            )

    def inputs(self, split: Split) -> npt.NDArray[Any]:
        """Return embeddings of the context and marks of the scored characters, float32 (n, length, d)."""
        shown = super().inputs(split)
        scored = split.targets.shape[1]
        ids = self.text.read(torch.from_numpy(split.pixels()[:, -scored:])).ids
        shown[:, -scored:] = self.marks.written(ids, shown.shape[2]).numpy()
        shown[:, -scored:, 0] = self.limits[0]
        return shown

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits for embeddings and marks (n, length, d)."""
        held = pixels.detach()
        fixed = held[..., 0] < self.limits[0] + MARGIN / 2
        table = self.text.table
        own = table[self.marks.ids(held, len(table))] / self.unit
        return super().raw(torch.where(fixed[..., None], own.to(pixels), pixels))
