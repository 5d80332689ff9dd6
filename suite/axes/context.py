"""What an axis may use of a cell: the kind, the model, and the samples, of which it sees one cohort at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.axes.outputs import Outputs
from suite.axes.rounds import Executor, Round, State, Track, in_order, joined
from suite.data import Split, TaskData
from suite.data.cohorts import cohort_size, cohorts
from suite.data.digests import in_digest_order, seed_of
from suite.kinds.base import Array, Kind, Outcomes
from suite.kinds.logits import NOT_LOGITS
from suite.metrics.table import Part
from suite.models.base import TorchModel
from suite.types import Display

GALLERY = 12
"""Number of samples in the galleries of the report; the same samples on every axis."""

VALIDATION = "validation output"
"""The name of the shared outputs for validation samples, which are the same on every axis."""


def _computed(name: str, settings: Mapping[str, Any], compute: Callable[[], State]) -> State:
    """Compute a training node; it is stored nowhere."""
    return compute()


@dataclass(frozen=True)
class Context:
    """Everything an axis may use: the kind, the model and the samples.

    A round gets the context of a cohort: its `test` holds the samples of the cohort, and so do all arrays.

    Attributes:
        test: the samples to evaluate.
        names: task and axis spec; together with its id they determine the seeds of a sample. The name of the model is
            none of them, so models are compared under equal draws.
        members: takes k and returns the model trained with the first k seeds, the model itself included; raises
            NotApplicableError for a model that the suite did not train.
        history: the training history of the model; empty if the suite did not train it.
        seed: seed of everything random that does not belong to a single sample.
        node: takes a name, settings and a function; returns the state that the function trains, which is stored and
            shared by all cells of the model.
        executor: measures the cohorts of a round.
        outputs: the outputs for the clean samples; made for the context if None.
        shared: values that all cohorts of this process share, by name.
        displayed: ids of the samples of the gallery, in their order.
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
    seed: int = 0
    node: Callable[[str, Mapping[str, Any], Callable[[], State]], State] = _computed
    executor: Executor = in_order
    outputs: Outputs | None = None
    shared: dict[str, Any] = field(default_factory=dict)
    displayed: tuple[str, ...] | None = None

    # rounds

    def run(self, round_: Round, rows: Sequence[int] | Array | None = None, state: State | None = None) -> Part:
        """Run a round on some of the test samples, by default on all, and return its parts as one.

        Columns are in the order of `rows`.
        """
        chosen = np.arange(len(self.test)) if rows is None else np.asarray(rows, np.int64).reshape(-1)
        groups = cohorts(self.test.ids, chosen, round_.size, self.model.width)
        return joined(chosen, groups, self.executor(self._whole, round_, groups, state or {}))

    def of(self, rows: Sequence[int] | Array) -> Context:
        """Return the context of one cohort."""
        return replace(self._whole, test=self.test.take(rows))

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a value that is made once for all cohorts of this process."""
        if name not in self.shared:
            self.shared[name] = make()
        return self.shared[name]

    def afresh(self) -> Context:
        """Return the context without what an axis shared with its cohorts, which depends on the axis."""
        kept = {name: value for name, value in self.shared.items() if name == VALIDATION}
        return replace(self._whole, shared=kept)

    @cached_property
    def _whole(self) -> Context:
        """The context with what its cohorts share."""
        outputs = self.outputs or Outputs(self.model, self.test, self.kind, self.device, self.seed)
        displayed = self.displayed
        if displayed is None:
            displayed = tuple(self.test.ids[row] for row in in_digest_order(self.test.ids)[:GALLERY])
        return replace(self, outputs=outputs, displayed=displayed)

    @property
    def cohort(self) -> int:
        """Number of samples that are measured together where the kind of measurement leaves it open."""
        return cohort_size(self.test.shape)

    # the samples of this context

    @cached_property
    def pixels(self) -> Tensor:
        """The model inputs on the device, (n, ...)."""
        return torch.from_numpy(self.model.inputs(self.test)).to(self.device)

    @cached_property
    def targets(self) -> Tensor:
        """The targets on the device, (n, ...)."""
        return torch.from_numpy(self.test.targets).to(self.device)

    @cached_property
    def output(self) -> Array:
        """The raw float32 outputs of the model for the clean samples, (n, ...)."""
        outputs = self._whole.outputs
        return np.zeros((0,), np.float32) if outputs is None else outputs.of(self.test.ids)

    @property
    def failed(self) -> dict[str, str]:
        """Why the model has no output for a sample, by id, of the samples so far; these samples count as wrong."""
        outputs = self._whole.outputs
        known = {} if outputs is None else outputs.failed
        return {name: known[name] for name in self.test.ids if name in known} if known else {}

    @cached_property
    def outcomes(self) -> Outcomes:
        """The outputs of the model for the clean samples, with ids and targets."""
        return Outcomes(
            self.test.ids,
            self.output,
            self.test.targets,
            self.data.info.classes,
            self.seed,
            self.kind,
            model=self.model,
            data=self.data,
            read=lambda: self.pixels,
        )

    @cached_property
    def ids(self) -> Array:
        """The ids of the samples, as strings (n,)."""
        return np.array(self.test.ids, dtype=object)

    @cached_property
    def gallery(self) -> list[int]:
        """The rows of the gallery's samples, in its order."""
        place = {name: row for row, name in enumerate(self.test.ids)}
        return [place[name] for name in self._whole.displayed or () if name in place]

    def batches(self, rows: Array, size: int) -> Iterator[Array]:
        """Yield rows in batches."""
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    # the model

    def forward(self, split: Split, model: TorchModel | None = None) -> Array:
        """Return the raw float32 outputs of a frozen model, by default this one, for a whole split."""
        predictor, parts = model or self.model, []
        with predictor.frozen(), torch.no_grad():
            for batch in split.batches(predictor.width):
                inputs = torch.from_numpy(predictor.inputs(batch)).to(self.device)
                parts.append(predictor(inputs).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0,), np.float32)

    def in_space(self, space: str) -> Context:
        """Return the context with the model as a function of another space, for example of word embeddings.

        Raises:
            NotApplicableError: the model has no such space.
        """
        model = self.model.in_space(space)
        return replace(self._whole, model=model, names=(*self.names, space), outputs=None, shared={})

    def fit_to_model(self) -> Context:
        """Return the context with the kind fitted to this model on validation samples."""
        kind = self.kind.fit_to_model(lambda: (self.validation_output, self.data.validation.targets), self.data)
        return replace(self, kind=kind)

    @property
    def validation_output(self) -> Array:
        """The raw outputs for the validation samples."""
        output: Array = self.once(VALIDATION, lambda: self.forward(self.data.validation))
        return output

    def output_arrays(self, inputs: Tensor) -> dict[str, Display]:
        """Return the predictions of the frozen model for some inputs, by name, as they are stored for galleries."""
        with self.model.frozen(), torch.no_grad():
            return dict(self.kind.showing.output_arrays(self.model(inputs).float().cpu().numpy()))

    # seeds and facts

    def sample_seeds(self, purpose: str, rows: Iterable[int]) -> list[int]:
        """Return one seed per sample, which depends only on `names`, the sample's id, the purpose and the seed."""
        return [seed_of(*self.names, purpose, self.test.ids[row], str(self.seed)) for row in rows]

    @property
    def own_facts(self) -> dict[str, Any]:
        """The class names, the seed, and the names that seeds of the record depend on."""
        return {"classes": list(self.data.info.classes), "seed": self.seed, "names": list(self.names)}

    @property
    def facts(self) -> dict[str, Any]:
        """What every summary may need: `own_facts`, and why the outputs are no logits if they do not look like it."""
        outputs = self._whole.outputs
        reason = None if outputs is None else outputs.why_not_logits(self.kind)
        return self.own_facts if reason is None else {**self.own_facts, NOT_LOGITS: reason}
