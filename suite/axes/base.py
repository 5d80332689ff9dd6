"""The interface of an axis: its context and its result."""

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
"""Number of samples in the galleries of the report; the same samples on every axis."""


class Track(Protocol):
    """Wraps an iterable of known length with a progress bar."""

    def __call__(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items."""


@dataclass(frozen=True)
class Context:
    """Everything an axis may use: the kind, the model and the samples.

    Attributes:
        test: the samples to evaluate.
        names: task, model and axis spec; together with its id they determine the seeds of a sample.
        members: takes k and returns the model trained with the first k seeds, the model itself included; raises
            NotApplicableError for a model that the suite did not train.
        history: the training history of the model; empty if the suite did not train it.
        batch_size: samples per forward pass; results do not depend on it.
        seed: seed of everything random that does not belong to a single sample.
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
        """The model inputs of the test samples on the device, (n, ...)."""
        return torch.from_numpy(self.model.inputs(self.test)).to(self.device)

    @cached_property
    def targets(self) -> Tensor:
        """The test targets on the device, (n, ...)."""
        return torch.from_numpy(self.test.targets).to(self.device)

    def forward(self, split: Split, model: TorchModel | None = None) -> Array:
        """Return the raw float32 outputs of a frozen model, by default this one, for a whole split."""
        predictor = model or self.model
        parts = []
        with predictor.frozen(), torch.no_grad():
            for start in range(0, len(split), self.batch_size):
                batch = split.take(range(start, min(start + self.batch_size, len(split))))
                inputs = torch.from_numpy(predictor.inputs(batch)).to(self.device)
                parts.append(predictor(inputs).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0,), np.float32)

    @cached_property
    def outcomes(self) -> Outcomes:
        """The outputs of the model for the clean test samples, with ids and targets."""
        return Outcomes(
            self.test.ids,
            self.forward(self.test),
            self.test.targets,
            self.data.info.classes,
            self.seed,
            self.kind,
            model=self.model,
            data=self.data,
            inputs=self.pixels,
        )

    def in_space(self, space: str) -> Context:
        """Return the context with the model as a function of another space, for example of word embeddings.

        Raises:
            NotApplicableError: the model has no such space.
        """
        return replace(self, model=self.model.in_space(space), names=(*self.names, space))

    def fit_to_model(self) -> Context:
        """Return the context with the kind fitted to this model on validation samples."""
        kind = self.kind.fit_to_model(lambda: (self.validation_output, self.data.validation.targets), self.data)
        fitted = replace(self, kind=kind)
        if "validation_output" in self.__dict__:  # where cached_property keeps its value
            fitted.__dict__["validation_output"] = self.validation_output
        return fitted

    @cached_property
    def validation_output(self) -> Array:
        """The raw outputs for the validation samples."""
        return self.forward(self.data.validation)

    def sample_seeds(self, purpose: str, rows: Iterable[int]) -> list[int]:
        """Return one seed per sample, which depends only on `names`, the sample's id, the purpose and the seed."""
        return [seed_of(*self.names, purpose, self.test.ids[row], str(self.seed)) for row in rows]

    def output_arrays(self, inputs: Tensor) -> dict[str, Array]:
        """Return the predictions of the frozen model for some inputs, by name, as they are stored for galleries."""
        with self.model.frozen(), torch.no_grad():
            return dict(self.kind.output_arrays(self.model(inputs).float().cpu().numpy()))

    @cached_property
    def gallery(self) -> list[int]:
        """The rows of the gallery: the first samples in digest order of their ids."""
        return in_digest_order(self.test.ids)[:GALLERY]

    def batches(self, rows: Array, label: str, size: int | None = None) -> Iterator[Array]:
        """Yield rows in batches with a progress bar."""
        width = size or self.batch_size
        starts = range(0, len(rows), width)
        for start in self.track(starts, label, len(starts)):
            yield rows[start : start + width]


@dataclass(frozen=True)
class AxisResult:
    """The result of an axis: measures, per-sample columns, and details and arrays for the report."""

    measures: list[Measure]
    samples: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)


class Axis(Protocol):
    """An axis with its configuration."""

    def measure(self, context: Context) -> AxisResult:
        """Evaluate the model and return the result."""
