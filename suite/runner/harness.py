"""Plan, skip what is stored, train or load, measure, store. A failure is a row, never a crash."""

from __future__ import annotations

import functools
import inspect
import time
import uuid
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from suite.errors import DataError, StoreError
from suite.models.base import TorchModel
from suite.registry import REGISTRY, resolve
from suite.runner.identity import build_nested, full_spec
from suite.runner.job import Job, Run, nothing_found, reason_of
from suite.runner.preparation import INJECTED, ModelProvider, PreparedTask, prepare_task
from suite.runner.settings import Settings, pick_device
from suite.spec import make, parse
from suite.store import Store
from suite.types import Cell, Status

AXES = ("clean", "robustness", "calibration", "attribution")
"""Axes in the order they are measured: the cheapest first."""


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

    def add(self, other: Outcome) -> None:
        """Add what another run did."""
        self.ran += other.ran
        self.stored += other.stored
        self.keys |= other.keys


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
        self, store: Store, settings: Settings | None = None, *, given: Mapping[str, TorchModel] | None = None
    ) -> None:
        self.store, self.settings = store, settings or Settings()
        device = pick_device(self.settings.device)
        models = ModelProvider(store, device, self.settings.track, given or {})
        task = functools.lru_cache(maxsize=2)(self._prepare)
        self._run = Run(store, self.settings, device, models, task, uuid.uuid4().hex[:12])

    def run(self, cells: Sequence[Cell]) -> Outcome:
        """Measure every cell that is not stored with status ok; store each as soon as it is measured.

        Raises:
            StoreError: nothing can be kept any more.
            DataError: a task drops something, and settings are strict; nothing has been measured then.
        """
        if self.settings.strict:
            for task, seed in dict.fromkeys((cell.task, cell.seed) for cell in cells):
                self._refuse_dropped(self._run.task(task, seed))
        outcome, done = Outcome(), self.store.done()
        for cell in self.settings.track(cells, "cells", len(cells)):
            began = time.perf_counter()
            job = Job(self._run, cell)
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
                status, reason = "failed", reason_of(error)
                self.store.put(job.record(nothing_found(cell, reason), status, began))
            outcome.keys.add(job.key())
            outcome.ran.append((cell, status, reason))
            self.settings.on_cell_done(cell, status, reason)
        return outcome

    def _prepare(self, text: str, seed: int) -> PreparedTask:
        task = prepare_task(text, seed)
        self.settings.on_task_loaded(f"{task.data.info.name}: {task.data.report.sentence()}")
        return task

    def _refuse_dropped(self, task: PreparedTask) -> None:
        report = task.data.report
        if report.dropped:
            raise DataError(
                f"Task {task.data.info.name} was to be read strictly: {report.sentence()}. Mend these records, or run "
                "without --strict."
            )


def with_full_recipe(model: str) -> str:
    """Return a model's spec with ``full=True`` where it takes that and does not say otherwise.

    Raises:
        SuiteError: there is no such model.
    """
    entry, spec = resolve("model", model)
    takes = "full" in inspect.signature(entry.factory).parameters and "full" not in spec.kwargs
    return str(make(parse(model).name, {**spec.kwargs, "full": True})) if takes else model
