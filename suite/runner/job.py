"""A job: measures one cell and makes its record."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from suite.axes.base import Axis, AxisResult, Context
from suite.errors import SuiteError
from suite.models.base import TorchModel
from suite.registry import REGISTRY, resolve
from suite.runner.identity import (
    code_digest,
    display_name,
    environment,
    full_spec,
    git_state,
    ids_digest,
    origins,
    without_folder,
)
from suite.runner.preparation import INJECTED, ModelProvider, PreparedTask
from suite.runner.process import peak_megabytes
from suite.runner.settings import Settings
from suite.spec import digest, parse
from suite.store import Store
from suite.types import Cell, Measure, Provenance, Record, RunInfo, Status

LONGEST_REASON = 400
"""Maximum length of an exception's message in a failed row, in characters."""


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
    """

    store: Store
    settings: Settings
    device: torch.device
    models: ModelProvider
    task: Callable[[str, int], PreparedTask]
    id: str


class Job:
    """Measures one cell and makes its record. If a step fails, the record holds what is known up to then."""

    def __init__(self, run: Run, cell: Cell) -> None:
        self.run, self.cell = run, cell
        self.task: PreparedTask | None = None
        self.model: TorchModel | None = None
        self.model_digest = "unknown"

    def identify(self) -> None:
        """Load the samples and compute the digest of the model, without training it."""
        cell, models = self.cell, self.run.models
        self.task = self.run.task(cell.task, cell.seed)
        self.model = models.build(cell.model, self.task, cell.seed)
        self.model_digest = models.digest(self.model, cell.model, self.task, cell.seed)

    def key(self) -> str:
        """Return the key of the result: the digest of everything it depends on."""
        return digest(self._parts())

    def measure(self) -> AxisResult:
        """Train or load the model and measure the axis."""
        cell, task = self.cell, self.task
        if task is None or self.model is None:
            raise SuiteError("Call identify() before measure().")
        models = self.run.models
        entry, spec = resolve("axis", cell.axis)
        axis: Axis = entry.build(spec)
        context = Context(
            kind=task.kind,
            data=task.data,
            test=task.test(cell.n),
            model=models.ready(self.model, self.model_digest, task, cell.seed),
            members=lambda count: models.members(count, cell.model, task, cell.seed),
            track=self.run.settings.track,
            device=self.run.device,
            names=self._names(),
            history=self.run.store.history(self.model_digest),
            batch_size=self.run.settings.batch_size,
            seed=cell.seed,
        )
        return axis.measure(context.fit_to_model())

    def record(self, result: AxisResult, status: Status, began: float) -> Record:
        """Return the record of a result; `began` is the `time.perf_counter` of the start."""
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
            dtype="float32",
            suite_version=version("trust-suite"),
        )
        run_info = RunInfo(
            run=self.run.id,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            wall_s=round(time.perf_counter() - began, 3),
            peak_mb=peak_megabytes(self.run.device),
            git=git_state(),
        )
        return Record(
            provenance, run_info, status, tuple(result.measures), result.samples, result.details, result.arrays
        )

    def _parts(self) -> dict[str, Any]:
        cell = self.cell
        metrics = sorted(entry.name for entry in REGISTRY.names("metric")) if cell.axis == "clean" else []
        return {
            "task": without_folder(full_spec("task", cell.task, injected=INJECTED["task"])).canonical(),
            "data": self.task.data.digest if self.task else "unknown",
            "model": _model_name(cell.model, self.run),
            "weights": self.model_digest,
            "axis": full_spec("axis", cell.axis).canonical(),
            "metrics": metrics,
            "code": self._code(),
            "n": len(self.task.test(cell.n)) if self.task else cell.n,
            "seed": cell.seed,
        }

    def _names(self) -> tuple[str, ...]:
        """Return the names that seeds depend on; they are the same for equal specs."""
        parts = self._parts()
        return digest(parts["task"]), parts["model"], digest(parts["axis"])

    def _code(self) -> str:
        cell = self.cell
        files = origins("task", cell.task) | origins("axis", cell.axis)
        if cell.model not in self.run.models.given:
            files |= origins("model", cell.model)
        if cell.axis == "clean":
            files |= {entry.origin for entry in REGISTRY.names("metric")}
        return code_digest(tuple(sorted(files)))

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


def failure(cell: Cell, reason: str) -> AxisResult:
    """Return the result of a failed cell: one undefined measure with the reason."""
    return AxisResult([Measure("-", None, None, None, 0, "none", reason=reason, params={"axis": cell.axis})])


def reason_of(error: Exception) -> str:
    """Return an exception as one line of text."""
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
    message = " ".join(str(error).split())[:LONGEST_REASON]
    return f"{'out of memory: ' if out_of_memory else ''}{type(error).__name__}: {message}"
