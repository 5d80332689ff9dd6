"""A language model with embeddings of the context as inputs; the scored characters stay fixed."""

from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor, nn

from suite.data import Split
from suite.errors import NotApplicableError
from suite.models.adapters.text import MARGIN, Embedded, TorchText


class Marks(NamedTuple):
    """The encoding of fixed characters among embeddings; see `ContextEmbedded`."""

    bits: int
    strength: float = MARGIN / 2

    def encode(self, ids: Tensor, width: int) -> Tensor:
        """Return ids (...) encoded as signs, (..., width)."""
        digits = (ids[..., None] >> torch.arange(self.bits, device=ids.device)) & 1
        return nn.functional.pad(self.strength * (2.0 * digits - 1), (1, width - 1 - self.bits))

    def decode(self, points: Tensor, classes: int) -> Tensor:
        """Return the ids encoded in points (..., width)."""
        digits = (points[..., 1 : 1 + self.bits] > 0).long() << torch.arange(self.bits, device=points.device)
        return digits.sum(dim=-1).clamp_max(classes - 1)


class ContextEmbedded(Embedded):
    """A language model whose inputs are the embeddings of the context.

    The scored characters are inputs too, each as context of the next, but must not be perturbed. Each is replaced by a
    mark at the lower bound, where no embedding lies, followed by the binary digits of its id as signs. Perturbations
    below `Marks.strength` standard deviations do not change them, and their gradient is zero.
    """

    def __init__(self, text: TorchText) -> None:
        super().__init__(text)
        self.marks = Marks((len(text.tokenizer.vocabulary) - 1).bit_length())
        if text.table.shape[1] <= self.marks.bits:
            raise NotApplicableError(
                f"embeddings of size {text.table.shape[1]} are too small to encode the ids of "
                f"{len(text.tokenizer.vocabulary)} characters, so the scored ones could not be kept fixed"
            )

    def inputs(self, split: Split) -> npt.NDArray[Any]:
        """Return embeddings of the context and marks of the scored characters, float32 (n, length, d)."""
        points = super().inputs(split)
        scored = split.targets.shape[1]
        ids = self.text.read(torch.from_numpy(split.pixels()[:, -scored:])).ids
        points[:, -scored:] = self.marks.encode(ids, points.shape[2]).numpy()
        points[:, -scored:, 0] = self.limits[0]
        return points

    def raw(self, pixels: Tensor) -> Tensor:
        """Return logits for embeddings and marks (n, length, d)."""
        held = pixels.detach()
        fixed = held[..., 0] < self.limits[0] + MARGIN / 2
        table = self.text.table
        own = table[self.marks.decode(held, len(table))] / self.unit
        return super().raw(torch.where(fixed[..., None], own.to(pixels), pixels))
