"""Plan, skip what is stored, train or load, measure, store. A failure is a row, never a crash."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from suite.axes.base import Axis, Context, Finding, Track
from suite.errors import StoreError, SuiteError
from suite.identity import (
    build_nested,
    code_digest,
    environment,
    full_spec,
    git_state,
    ids_digest,
    key_of,
    origins,
    shown,
    without_folder,
)
from suite.models.adapter import TorchClassifier
from suite.prepare import INJECTED, PreparedTask, Workshop, prepare_task
from suite.process import peak_megabytes
from suite.registry import REGISTRY, resolve
from suite.spec import digest, parse
from suite.store import Store
from suite.types import Cell, Measure, Occasion, Provenance, Record, Status

AXES = ("clean", "robustness", "calibration", "attribution")
"""Axes in the order they are measured: the cheapest first."""

LONGEST_REASON = 400
"""Characters of an exception's message that are kept in a failed row."""


def silent(items: Iterable[Any], label: str, total: int) -> Iterator[Any]:
    """Track nothing: the progress bar of a run without a terminal."""
    yield from items


@dataclass(frozen=True)
class Settings:
    """How a run computes and what it shows; none of it changes a result.

    Attributes:
        device: ``auto`` for a GPU if there is one, or a PyTorch device.
        batch_size: samples per forward pass.
        track: wraps whatever takes time with a progress bar.
        tell: is told of every cell that was measured: (cell, status, reason of a failure).
        inform: is told what was read of every task, and what was dropped.
    """

    device: str = "auto"
    batch_size: int = 64
    track: Track = silent
    tell: Callable[[Cell, Status, str], None] = lambda cell, status, reason: None
    inform: Callable[[str], None] = lambda sentence: None


@dataclass
class Outcome:
    """What a run did: cells by how they ended, and the keys under which their records are stored."""

    ran: list[tuple[Cell, Status, str]] = field(default_factory=list)
    stored: list[Cell] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    @property
    def failed(self) -> list[tuple[Cell, str]]:
        """The cells that failed, with the reason."""
        return [(cell, reason) for cell, status, reason in self.ran if status == "failed"]


def plan(
    tasks: Sequence[str],
    models: Sequence[str],
    axes: Sequence[str] = AXES,
    *,
    n: int | None = None,
    seed: int = 0,
    given: Container[str] = (),
) -> list[Cell]:
    """Return the cells of every model on every task on every axis.

    Args:
        tasks: spec strings of tasks.
        models: spec strings of models.
        axes: names (the task's presets are used) or specs such as ``robustness(attack=pgd(eps=[0.1]))``.
        n: how many test samples at most.
        seed: seed of the split, of training, attacks and resampling.
        given: names of models that exist in memory only.

    Raises:
        SuiteError: a name or an argument does not exist; nothing has run then.
    """
    cells: list[Cell] = []
    tasks, models = list(dict.fromkeys(tasks)), list(dict.fromkeys(models))
    for model in models:
        if model not in given:
            full_spec("model", model, injected=INJECTED["model"])
    for task in tasks:
        entry, spec = resolve("task", task)
        full_spec("task", spec, injected=INJECTED["task"])
        kind = REGISTRY.get("kind", entry.meta["kind"]).factory()
        for axis in axes:
            bare = parse(axis)
            presets = {**kind.presets, **entry.meta["presets"]}
            for chosen in presets.get(bare.name, (axis,)) if not bare.args else (axis,):
                full_spec("axis", chosen)
                build_nested(chosen)
                cells.extend(Cell(task, model, str(parse(chosen)), n, seed) for model in models)
    return sorted(cells, key=lambda cell: (tasks.index(cell.task), models.index(cell.model)))


class Harness:
    """Runs cells on one machine.

    Args:
        store: receives the records.
        settings: device, batch size, progress.
        given: models that exist in memory only, by the name that cells call them.
    """

    def __init__(
        self, store: Store, settings: Settings | None = None, *, given: Mapping[str, TorchClassifier] | None = None
    ) -> None:
        self.store, self.settings = store, settings or Settings()
        self.device = pick_device(self.settings.device)
        self.run_id = uuid.uuid4().hex[:12]
        self.workshop = Workshop(store, self.device, self.settings.track, given or {})
        self.task = functools.lru_cache(maxsize=2)(self._prepare)

    def run(self, cells: Sequence[Cell]) -> Outcome:
        """Measure every cell that is not stored with status ok; store each as soon as it is measured."""
        outcome, done = Outcome(), self.store.done()
        for cell in self.settings.track(cells, "cells", len(cells)):
            began = time.perf_counter()
            job = _Job(self, cell)
            status: Status = "ok"
            reason = ""
            try:
                job.identify()
                if job.key() in done:
                    outcome.keys.add(job.key())
                    outcome.stored.append(cell)
                    continue
                self.store.put(job.record(job.measure(), status, began))
            except StoreError:
                raise  # nothing can be kept any more
            except Exception as error:  # whatever a model raises becomes a row; the other cells go on
                status, reason = "failed", _reason(error)
                self.store.put(job.record(_nothing(cell, reason), status, began))
            outcome.keys.add(job.key())
            outcome.ran.append((cell, status, reason))
            self.settings.tell(cell, status, reason)
        return outcome

    def _prepare(self, text: str, seed: int) -> PreparedTask:
        task = prepare_task(text, seed)
        self.settings.inform(f"{task.data.info.name}: {task.data.report.sentence()}")
        return task


class _Job:
    """One cell on its way from specs to a record; what is known so far decides what a failure can say."""

    def __init__(self, harness: Harness, cell: Cell) -> None:
        self.harness, self.cell = harness, cell
        self.task: PreparedTask | None = None
        self.model_digest = "unknown"

    def identify(self) -> None:
        """Read the samples and find out who the model is, without training it."""
        cell, workshop = self.cell, self.harness.workshop
        self.task = self.harness.task(cell.task, cell.seed)
        model = workshop.build(cell.model, self.task, cell.seed)
        self.model_digest = workshop.digest(model, cell.model, self.task, cell.seed)

    def key(self) -> str:
        """Return the content address of the result."""
        return key_of(self._parts())

    def measure(self) -> Finding:
        """Train or load the model and ask the axis."""
        cell, task = self.cell, self.task
        if task is None:
            raise SuiteError("A cell is measured after it is identified.")
        workshop = self.harness.workshop
        entry, spec = resolve("axis", cell.axis)
        axis: Axis = entry.build(spec)
        context = Context(
            kind=task.kind,
            data=task.data,
            test=task.test(cell.n),
            model=workshop.ready(cell.model, task, cell.seed),
            members=lambda count: workshop.members(count, cell.model, task, cell.seed),
            track=self.harness.settings.track,
            device=self.harness.device,
            names=self._names(),
            history=self.harness.store.history(self.model_digest),
            batch_size=self.harness.settings.batch_size,
            seed=cell.seed,
        )
        return axis.measure(context)

    def record(self, finding: Finding, status: Status, began: float) -> Record:
        """Return what is stored."""
        cell = self.cell
        entry, spec = resolve("task", cell.task)
        axis, axis_spec = resolve("axis", cell.axis)
        provenance = Provenance(
            key=self.key(),
            task=shown(spec),
            task_version=entry.meta["version"],
            kind=entry.meta["kind"],
            model=_model_name(cell.model, self.harness),
            axis=axis.name,
            spec=str(axis_spec),
            n=len(self.task.test(cell.n)) if self.task else 0,
            seed=cell.seed,
            digests=self._digests(),
            device=self.harness.device.type,
            dtype="float32",
            suite_version=version("trust-suite"),
        )
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        seconds = round(time.perf_counter() - began, 3)
        occasion = Occasion(self.harness.run_id, now, seconds, peak_megabytes(self.harness.device), git_state())
        return Record(
            provenance, occasion, status, tuple(finding.measures), finding.samples, finding.details, finding.arrays
        )

    def _parts(self) -> dict[str, Any]:
        cell = self.cell
        metrics = sorted(entry.name for entry in REGISTRY.names("metric")) if cell.axis == "clean" else []
        return {
            "task": without_folder(full_spec("task", cell.task, injected=INJECTED["task"])).canonical(),
            "data": self.task.data.digest if self.task else "unknown",
            "model": _model_name(cell.model, self.harness),
            "weights": self.model_digest,
            "axis": full_spec("axis", cell.axis).canonical(),
            "metrics": metrics,
            "code": self._code(),
            "n": len(self.task.test(cell.n)) if self.task else cell.n,
            "seed": cell.seed,
        }

    def _names(self) -> tuple[str, ...]:
        """Return what seeds are made from: what was asked, however it was spelt."""
        task = without_folder(full_spec("task", self.cell.task, injected=INJECTED["task"]))
        axis = full_spec("axis", self.cell.axis)
        return digest(task.canonical()), _model_name(self.cell.model, self.harness), digest(axis.canonical())

    def _code(self) -> str:
        cell = self.cell
        files = origins("task", cell.task) | origins("axis", cell.axis)
        if cell.model not in self.harness.workshop.given:
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


def pick_device(name: str) -> torch.device:
    """Return the device: the named one, or with ``auto`` a GPU if there is one.

    Raises:
        SuiteError: there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SuiteError(f"Device {name!r} cannot be used: {str(error).splitlines()[0]}. Try cpu or auto.") from error
    return device


def _model_name(text: str, harness: Harness) -> str:
    return text if text in harness.workshop.given else shown(parse(text))


def _nothing(cell: Cell, reason: str) -> Finding:
    return Finding([Measure("-", None, None, None, 0, "none", reason=reason, params={"axis": cell.axis})])


def _reason(error: Exception) -> str:
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
    what = "out of memory: " if out_of_memory else ""
    message = " ".join(str(error).split())[:LONGEST_REASON]
    return f"{what}{type(error).__name__}: {message}"
