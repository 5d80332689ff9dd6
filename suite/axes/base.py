"""The interface of an axis: its context and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor

from suite.data import Split, TaskData
from suite.data.digests import in_digest_order, seed_of
from suite.errors import MeasureError, NotApplicableError
from suite.kinds.base import Array, Kind, Outcomes
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Table
from suite.models.base import TorchModel
from suite.types import Display, Measure, not_applicable

Item = TypeVar("Item")

Side = Literal["both", "lower", "upper"]

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

    def output_arrays(self, inputs: Tensor) -> dict[str, Display]:
        """Return the predictions of the frozen model for some inputs, by name, as they are stored for galleries."""
        with self.model.frozen(), torch.no_grad():
            return dict(self.kind.showing.output_arrays(self.model(inputs).float().cpu().numpy()))

    @cached_property
    def ids(self) -> Array:
        """The ids of the test samples, as strings (n,)."""
        return np.array(self.test.ids, dtype=object)

    @property
    def facts(self) -> dict[str, Any]:
        """What every summary may need: the class names, the seed, and the names that seeds of the record depend on."""
        return {"classes": list(self.data.info.classes), "seed": self.seed, "names": list(self.names)}

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
    """What an axis measured with the model; its measures follow from the columns and facts alone.

    Attributes:
        columns: per-sample columns; the ids of the samples are the column ``id``.
        facts: JSON values that summaries need besides the columns.
        details: JSON values that only the report needs.
        arrays: what the report shows of some samples.
        drawn: further details that are drawn from the measures, such as a curve; they are made once the measures are
            known, because intervals are costly.
    """

    columns: Sequence[Column] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Display] = field(default_factory=dict)
    drawn: Callable[[Sequence[Measure]], Mapping[str, Any]] = lambda measures: {}


def in_role(arrays: Mapping[str, Display], role: str, name: str = "{}", **params: Any) -> dict[str, Display]:
    """Return displays in a role and under a condition; `name` is the pattern of their names, such as ``clean_{}``."""
    return {
        name.format(own): replace(display, role=role, params={**display.params, **params})
        for own, display in arrays.items()
    }


def predicted_arrays(context: Context, rows: Sequence[int]) -> dict[str, Display]:
    """Return ids, targets and clean predictions of some samples."""
    split = context.test.take(rows)
    return {
        "ids": Display(np.array(split.ids), "id", "ids"),
        "label": Display(split.targets, context.kind.showing.truth, "truth"),
        **in_role(context.kind.showing.output_arrays(context.outcomes.output[rows]), "prediction"),
    }


class Axis(Protocol):
    """An axis with its configuration."""

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of all metrics of the axis; the first is named in rows of a skipped cell."""

    def measure(self, context: Context) -> AxisResult:
        """Evaluate the model.

        Raises:
            NotApplicableError: the axis does not apply to this model or task; the cell becomes a skipped row.
        """

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Return the measures that follow from stored columns and facts."""


SKIPPED = "not_applicable"
"""The fact that says why an axis does not apply."""


def measure(axis: Axis, context: Context) -> AxisResult:
    """Evaluate a model on an axis; where the axis does not apply, the result says why."""
    try:
        result = axis.measure(context)
    except NotApplicableError as error:
        return AxisResult(facts={**context.facts, SKIPPED: str(error)})
    # In C order as they are stored: the order of values in memory affects the last bits of sums.
    ordered = [replace(column, values=np.asarray(column.values, order="C")) for column in result.columns]
    return replace(result, columns=ordered)


def summarise(
    axis: Axis,
    kind: Kind,
    columns: Sequence[Column],
    facts: Mapping[str, Any],
    *,
    rows: Any = None,
    level: float = 0.95,
    side: Side = "both",
) -> list[Measure]:
    """Return the measures of an axis from stored columns and facts, without the model.

    On a part of the rows these stay whole: checks of an attack, which run on an audit set; passes per sample; a
    temperature, which was fitted on validation samples; and what is measured on generated samples.

    Args:
        axis: with the configuration that the columns were measured with.
        kind: the kind of the task.
        columns: as in `AxisResult`.
        facts: as in `AxisResult`.
        rows: indices or a mask of the samples to use; None for all.
        level: confidence level of the intervals.
        side: ``both`` for two-sided intervals; ``lower`` or ``upper`` for a one-sided bound at this level.

    Raises:
        MeasureError: the level or the side is invalid, or no sample is left.
    """
    if side not in get_args(Side) or not (0.0 if side == "both" else 0.5) < level < 1.0:
        raise MeasureError(
            f"got level={level} and side={side!r}; expected a side of {', '.join(get_args(Side))}, and a level between "
            "0 and 1, for a one-sided bound between 0.5 and 1."
        )
    if SKIPPED in facts:
        skipped = not_applicable(axis.entries(kind)[0].name, str(facts[SKIPPED]))
        return [replace(skipped, level=level)]
    two_sided = level if side == "both" else 2 * level - 1
    table = Table(tuple(columns), facts, seed=int(facts["seed"]), level=two_sided)
    if rows is not None:
        table = table.take(_distinct(rows, len(table)))
    measures = [replace(one, level=two_sided) if one.value is None else one for one in axis.summarise(table, kind)]
    if side == "both":
        return measures
    if side == "lower":
        return [replace(one, level=level, hi=None) for one in measures]
    return [replace(one, level=level, lo=None) for one in measures]


def _distinct(rows: Any, n: int) -> Array:
    """Return rows as indices of n samples.

    Raises:
        MeasureError: they are no mask of n samples and no distinct indices, or there are none.
    """
    try:
        chosen: Array = np.arange(n)[np.asarray(rows, dtype=None if np.size(rows) else int)]
        is_distinct = len(np.unique(chosen)) == len(chosen)
    except (IndexError, TypeError):
        is_distinct = False
    if not is_distinct:
        raise MeasureError(f"rows={rows!r:.60}; expected a mask of {n} samples, or distinct indices from 0 to {n - 1}.")
    if not len(chosen):
        raise MeasureError("No sample is left; choose at least one row.")
    return chosen
