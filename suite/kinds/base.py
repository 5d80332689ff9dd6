"""The questions that a kind answers. An axis asks nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt
from torch import Tensor

from suite.types import Measure, Sample

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Outcomes:
    """What a model said about every sample of a split.

    Attributes:
        ids: sample ids, (n,).
        output: the model's raw output in float32, (n, ...); logits for classification.
        targets: what is true, (n,).
        classes: class names.
        seed: seed for resampling.
    """

    ids: tuple[str, ...]
    output: Array
    targets: Array
    classes: tuple[str, ...]
    seed: int


class Answer(NamedTuple):
    """What a model says about samples, for a reader: prediction (n,) and confidence in [0, 1] (n,)."""

    prediction: Array
    confidence: Array


@dataclass(frozen=True)
class Scalars:
    """The two scalars that attribution asks for.

    Attributes:
        target: (inputs, rows) to the scalar that is explained, (n,), differentiable; `rows` says which sample a row of
            a perturbed batch belongs to.
        score: (inputs, rows) to the score in [0, 1] that deletion and insertion follow, (n,).
    """

    target: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]


class Kind(Protocol):
    """One kind of task.

    Attributes:
        name: as in ``@task(kind=...)``.
        presets: axis name to the axis specs of a plain run.
    """

    name: str
    presets: Mapping[str, Sequence[str]]

    def admit(self, sample: Sample, classes: Sequence[str] | None) -> tuple[Array, Any]:
        """Return a sample's input and target in canonical form; raise DataError saying why it cannot be used."""

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError saying what is wrong where an output does not fit the task's classes."""

    def training_loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the loss that training lowers, per sample (n,)."""

    def attack_loss(self, output: Tensor, targets: Tensor, *, name: str, goals: Tensor | None = None) -> Tensor:
        """Return the loss that an attack raises, per sample (n,); towards `goals` (n,) where they are given."""

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Return the goals that an attack reaches most easily, the nearest first, (n, count or fewer)."""

    def fooled(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return which samples the output is wrong about, bool (n,)."""

    def overall(self, metric: str, right: Array, **fields: Any) -> Measure:
        """Return the headline measure from per-sample outcomes under the name `metric`."""

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the per-sample columns to store, beside ``id``."""

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return what a page of the report shows beyond the measures, as JSON values."""

    def probabilities(self, output: Array) -> Array:
        """Return the predicted distribution (n, classes) in float64."""

    def answer(self, probabilities: Array) -> Answer:
        """Return what the model says, and how sure it is, from its distributions."""

    def explained(self, model: Any, outputs: Tensor) -> Scalars:
        """Return what attribution explains for samples whose clean outputs are given."""
