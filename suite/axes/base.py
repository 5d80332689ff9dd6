"""What an axis is given and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from suite.data import Split, TaskData
from suite.data.digests import in_digest_order, seed_of
from suite.kinds.base import Array, Kind, Outcomes
from suite.models.base import TorchModel
from suite.types import Measure

Item = TypeVar("Item")

GALLERY = 12
"""Samples that the pages of the report show; the same ones on every axis."""


class Track(Protocol):
    """Wraps an iterable of known length with a progress bar."""

    def __call__(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items."""
        ...


@dataclass(frozen=True)
class Context:
    """Everything an axis may ask: the kind, the model, the samples.

    Attributes:
        test: the samples that are scored.
        names: what seeds of single samples are made from, beside the sample's id: task, model and axis spec.
        members: returns the model trained with the first k seeds, the model itself among them; raises
            NotApplicableError for a model that the suite did not train.
        history: the training history of the model, empty where the suite did not train it.
        batch_size: samples per forward pass; results do not depend on it.
        seed: seed of whatever is random beyond single samples.
    """

    kind: Kind
    data: TaskData
    test: Split
    model: TorchModel
    members: Callable[[int], list[TorchModel]]
    track: Track
    device: torch.device
    names: tuple[str, ...]
    history: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 64
    seed: int = 0

    @cached_property
    def pixels(self) -> Tensor:
        """Return what the model is shown of the test samples, on the device, (n, ...)."""
        return torch.from_numpy(self.model.inputs(self.test)).to(self.device)

    @cached_property
    def targets(self) -> Tensor:
        """Return the test targets on the device."""
        return torch.from_numpy(self.test.targets).to(self.device)

    def forward(self, split: Split, model: TorchModel | None = None) -> Array:
        """Return the raw outputs of a whole split in float32, by a frozen model without gradients."""
        predictor = model or self.model
        parts = []
        with predictor.frozen(), torch.no_grad():
            for start in range(0, len(split), self.batch_size):
                few = split.take(range(start, min(start + self.batch_size, len(split))))
                shown = torch.from_numpy(predictor.inputs(few)).to(self.device)
                parts.append(predictor(shown).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0,), np.float32)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Return what the model says about the clean test samples."""
        output, classes = self.forward(self.test), self.data.info.classes
        about = (self.test.ids, output, self.test.targets, classes, self.seed, self.kind)
        return Outcomes(*about, model=self.model, data=self.data, inputs=self.pixels)

    def in_space(self, space: str) -> Context:
        """Return the context with the model as it is seen from another space.

        Raises:
            NotApplicableError: the model has no such space.
        """
        return replace(self, model=self.model.in_space(space), names=(*self.names, space))

    def fitted_on_validation(self) -> Context:
        """Return the context with the kind as it settles on this model, by its validation samples."""
        kind = self.kind.fitted_on_validation(lambda: (self.validation_output, self.data.validation.targets), self.data)
        settled = replace(self, kind=kind)
        if (known := self.__dict__.get("validation_output")) is not None:
            settled.__dict__["validation_output"] = known  # as cached_property keeps it
        return settled

    @cached_property
    def validation_output(self) -> Array:
        """Return the raw outputs for the validation samples."""
        return self.forward(self.data.validation)

    def sample_seeds(self, purpose: str, rows: Iterable[int]) -> list[int]:
        """Return one seed per sample that depends on nothing but who it is and what for."""
        return [seed_of(*self.names, purpose, self.test.ids[row], str(self.seed)) for row in rows]

    @cached_property
    def gallery(self) -> list[int]:
        """Return the rows of the samples that are shown: the first in the order of their ids' digests."""
        return in_digest_order(self.test.ids)[:GALLERY]

    def batches(self, rows: Array, label: str, size: int | None = None) -> Iterator[Array]:
        """Yield rows in batches, with progress."""
        width = size or self.batch_size
        starts = range(0, len(rows), width)
        for start in self.track(starts, label, len(starts)):
            yield rows[start : start + width]


@dataclass(frozen=True)
class AxisResult:
    """What an axis found: measures, per-sample columns, and what the report shows."""

    measures: list[Measure]
    samples: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)


class Axis(Protocol):
    """One axis with its configuration."""

    def measure(self, context: Context) -> AxisResult:
        """Ask the kind and the model, and return what was found."""
        ...
