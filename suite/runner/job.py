"""A job: measures one cell and makes its record."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import torch

from suite.axes.answers import is_out_of_memory
from suite.axes.base import Axis, AxisResult, Context, measure, summarise
from suite.axes.outputs import Outputs
from suite.axes.registered import metrics_of
from suite.errors import MeasureError, SuiteError, described
from suite.escaping import escaped_name
from suite.metrics.catalogue import Metric
from suite.models.base import TorchModel
from suite.records.record import About, LabelSpace, Record
from suite.registry import REGISTRY, Entry, resolve
from suite.runner.identity import (
    code_digest,
    display_name,
    environment,
    full_spec,
    git_state,
    ids_digest,
    origins,
    package_versions,
    without_folder,
)
from suite.runner.preparation import INJECTED, ModelProvider, PreparedTask, kind_of
from suite.runner.process import peak_megabytes
from suite.runner.settings import Settings
from suite.runner.width import default_width
from suite.spec import digest, parse
from suite.store import Store
from suite.types import Cell, Measure, Provenance, RunInfo, Status

KEPT = 2
"""Models whose outputs for the clean samples are kept."""

LONGEST_REASON = 400
"""Maximum length of an exception's message in a failed row, in characters."""


@dataclass
class SharedOutputs:
    """The outputs of a few models for the clean samples, shared by the axes of a run.

    Attributes:
        kept: the outputs by what they depend on, the latest last.
    """

    kept: dict[tuple[Any, ...], Outputs] = field(default_factory=dict)

    def of(self, key: tuple[Any, ...], make: Callable[[], Outputs]) -> Outputs:
        """Return the outputs under a key, made if they are not kept."""
        self.kept[key] = self.kept.pop(key) if key in self.kept else make()
        while len(self.kept) > KEPT:
            self.kept.pop(next(iter(self.kept)))
        return self.kept[key]


@dataclass(frozen=True)
class Run:
    """What all cells of a run share.

    Attributes:
        store: receives the records.
        settings: device, batch size, progress.
        device: the device that models run on.
        models: builds, loads and trains the models.
        task: takes a task spec and a seed; returns the task with its samples.
        id: the name of the run.
        outputs: outputs that several axes use.
    """

    store: Store
    settings: Settings
    device: torch.device
    models: ModelProvider
    task: Callable[[str, int], PreparedTask]
    id: str
    outputs: SharedOutputs


class Job:
    """Measures one cell and makes its record. If a step fails, the record holds what is known up to then."""

    def __init__(self, run: Run, cell: Cell) -> None:
        self.run, self.cell = run, cell
        self.task: PreparedTask | None = None
        self.model: TorchModel | None = None
        self.model_digest = "unknown"
        self.width = 0

    def identify(self) -> None:
        """Load the samples and compute the digest of the model, without training it."""
        cell, models = self.cell, self.run.models
        self.task = self.run.task(cell.task, cell.seed)
        self.model = models.build(cell.model, self.task, cell.seed)
        self.model.width = self.run.settings.batch_size or default_width(self.task.data.test.shape, self.run.device)
        self.width = self.model.width
        self.model_digest = models.digest(self.model, cell.model, self.task, cell.seed)

    def key(self) -> str:
        """Return the key of the result: the digest of everything it depends on."""
        return digest(self._parts())

    def measure(self) -> AxisResult:
        """Train or load the model and measure the axis; if memory runs out, try again with half the batch size.

        Raises:
            Exception: whatever the model or the axis raised; memory that runs out with a batch of one sample.
        """
        while True:
            try:
                return measure(self.axis(), self.context().fit_to_model())
            except Exception as error:
                if self.model is None or self.model.width == 1 or not is_out_of_memory(error):
                    raise
                self.model.width //= 2

    def context(self) -> Context:
        """Return what the axis gets; the model is trained or loaded.

        Raises:
            SuiteError: `identify` was not called, or the model cannot be trained.
        """
        cell, task, run = self.cell, self.task, self.run
        if task is None or self.model is None:
            raise SuiteError("Call identify() before measure().")
        test, model = task.test(cell.n), run.models.ready(self.model, self.model_digest, task, cell.seed)
        key = (self.model_digest, ids_digest(test.ids), task.data.digest, model.width, cell.seed)
        return Context(
            kind=task.kind,
            data=task.data,
            test=test,
            model=model,
            members=lambda count: self._members(count, task, model.width),
            track=run.settings.track,
            device=run.device,
            names=self._names(),
            history=run.store.history(self.model_digest),
            seed=cell.seed,
            executor=run.settings.executor,
            node=partial(run.models.node, (self.model_digest, task.data.digest, model.width)),
            outputs=run.outputs.of(key, lambda: Outputs(model, test, task.kind, run.device, cell.seed)),
        )

    def _members(self, count: int, task: PreparedTask, width: int) -> list[TorchModel]:
        """Return the models of an ensemble, with the width of the cell's model."""
        members = self.run.models.members(count, self.cell.model, task, self.cell.seed)
        for member in members:
            member.width = width
        return members

    def axis(self) -> Axis:
        """Return the axis of the cell."""
        entry, spec = resolve("axis", self.cell.axis)
        axis: Axis = entry.build(spec)
        return axis

    def record(self, result: AxisResult, began: float) -> Record:
        """Return the record of a result; `began` is the `time.perf_counter` of the start.

        Raises:
            MeasureError: a metric returned a measure that it does not declare.
        """
        if self.task is None:
            raise SuiteError("Call identify() before record().")
        axis, kind = self.axis(), self.task.kind
        measures = summarise(axis, kind, result.columns, result.facts)
        catalogue = declared(axis.entries(kind), measures)
        return replace(
            self._record("ok", began, measures),
            catalogue=catalogue,
            columns=tuple(result.columns),
            facts=result.facts,
            details={**result.details, **result.drawn(measures)},
            arrays=result.arrays,
        )

    def failure(self, reason: str, began: float) -> Record:
        """Return the record of a failed cell: one undefined measure with the reason."""
        failed = Measure("-", None, None, None, 0, "none", reason=reason, params={"axis": self.cell.axis})
        return self._record("failed", began, [failed])

    def _record(self, status: Status, began: float, measures: Sequence[Measure]) -> Record:
        cell = self.cell
        entry, spec = resolve("task", cell.task)
        axis, axis_spec = resolve("axis", cell.axis)
        provenance = Provenance(
            key=self.key(),
            task=display_name(spec),
            task_version=entry.meta["version"],
            kind=entry.meta["kind"],
            model=_model_name(cell.model, self.run),
            axis=axis.name,
            spec=str(axis_spec),
            n=len(self.task.test(cell.n)) if self.task else 0,
            seed=cell.seed,
            digests=self._digests(),
            device=self.run.device.type,
            dtype=self.model.precision if self.model else "unknown",
            batch_size=self.model.width if self.model else 0,
            suite_version=version("trust-suite"),
        )
        run_info = RunInfo(
            run=self.run.id,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            wall_s=round(time.perf_counter() - began, 3),
            peak_mb=peak_megabytes(self.run.device),
            git=git_state(),
        )
        return Record(provenance, run_info, status, tuple(measures), self._about())

    def _about(self) -> About | None:
        if self.task is None:
            return None
        scoring, classes = self.task.kind.scoring, self.task.data.info.classes
        return About(
            headline=scoring.headline.name,
            outcome=scoring.outcome.type,
            quality=scoring.outcome.quality,
            input=self.task.kind.input,
            capabilities=self.model.capabilities if self.model else None,
            labels=LabelSpace(classes, classes),
        )

    def _parts(self) -> dict[str, Any]:
        cell = self.cell
        return {
            "task": without_folder(full_spec("task", cell.task, injected=INJECTED["task"])).canonical(),
            "data": self.task.data.digest if self.task else "unknown",
            "model": _model_name(cell.model, self.run),
            "weights": self.model_digest,
            "axis": full_spec("axis", cell.axis).canonical(),
            "registered": [f"{entry.role} {entry.name}" for entry in self._registered()],
            "code": self._code(),
            "packages": dict(package_versions()),
            "threads": torch.get_num_threads(),
            "batch_size": self.width,
            "n": len(self.task.test(cell.n)) if self.task else cell.n,
            "seed": cell.seed,
        }

    def _names(self) -> tuple[str, ...]:
        """Return the names that seeds depend on: those of task and axis, so that all models get the same draws."""
        parts = self._parts()
        return digest(parts["task"]), digest(parts["axis"])

    def _code(self) -> str:
        cell = self.cell
        files = origins("task", cell.task) | origins("axis", cell.axis)
        if cell.model not in self.run.models.given:
            files |= origins("model", cell.model)
        files |= {entry.origin for entry in self._registered()}
        return code_digest(tuple(sorted(files)))

    def _registered(self) -> list[Entry]:
        """Return what the axis asks of the registry besides what its spec names: metrics and uncertainty methods."""
        axis, kind = resolve("axis", self.cell.axis)[0].name, kind_of(self.cell.task)
        metrics = [entry for each in (False, True) for entry in metrics_of(kind, axis, per_method=each)]
        return [*metrics, *(REGISTRY.names("uncertainty") if axis == "calibration" else ())]

    def _digests(self) -> dict[str, str]:
        versions = environment(torch.get_num_threads())
        return {
            "data": self.task.data.digest if self.task else "unknown",
            "model": self.model_digest,
            "code": self._code(),
            "samples": ids_digest(self.task.test(self.cell.n).ids) if self.task else "unknown",
            "environment": digest(dict(versions)),
            "versions": "; ".join(f"{name} {number}" for name, number in versions.items()),
        }


def _model_name(text: str, run: Run) -> str:
    return text if text in run.models.given else display_name(parse(text))


def declared(entries: Sequence[Metric], measures: Sequence[Measure]) -> tuple[Metric, ...]:
    """Return the declarations of the metrics of some measures, in the order of the measures.

    Raises:
        MeasureError: a measure has no declaration.
    """
    known = {metric.name: metric for metric in entries}
    names = list(dict.fromkeys(measure.metric for measure in measures))
    if missing := [name for name in names if name not in known]:
        raise MeasureError(
            f"The metric {missing[0]!r} is not declared; add it to entries=[...] of the @metric that returns it."
        )
    return tuple(known[name] for name in names)


def reason_of(error: BaseException) -> str:
    """Return an exception as one line of text."""
    return escaped_name(f"{'out of memory: ' if is_out_of_memory(error) else ''}{described(error)}"[:LONGEST_REASON])
