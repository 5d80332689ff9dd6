"""The harness: plans cells, skips stored ones, measures the others and stores them. A failure becomes a row."""

from __future__ import annotations

import functools
import inspect
import time
import uuid
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from suite.axes.base import Checked
from suite.axes.registered import metrics_of
from suite.errors import DataError, PluginError, RecordError, SpecError, StoreError, did_you_mean
from suite.kinds.base import Kind
from suite.metrics.catalogue import Metric
from suite.models.base import TorchModel
from suite.registry import REGISTRY, resolve
from suite.runner.identity import build_nested, full_spec
from suite.runner.job import Job, Run, SharedOutputs, reason_of
from suite.runner.preparation import INJECTED, ModelProvider, PreparedTask, kind_of, prepare_task
from suite.runner.process import pick_device
from suite.runner.settings import Settings, check_seed, is_whole
from suite.spec import parse
from suite.store import Store
from suite.types import Cell, Status

AXES = ("clean", "robustness", "calibration", "attribution")
"""The default axes, in the order in which they are measured: the cheapest first."""


@dataclass
class Outcome:
    """The outcome of a run.

    Attributes:
        ran: the cells that were measured, each with its status and the reason of a failure.
        stored: the cells that had been stored before.
        keys: the keys of the records of all cells.
    """

    ran: list[tuple[Cell, Status, str]] = field(default_factory=list)
    stored: list[Cell] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    @property
    def failed(self) -> list[tuple[Cell, str]]:
        """The cells that failed, each with the reason."""
        return [(cell, reason) for cell, status, reason in self.ran if status == "failed"]

    def add(self, other: Outcome) -> None:
        """Add the outcome of another run."""
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
        n: maximum number of test samples; None for all.
        seed: seed of the split, of training, attacks and resampling.
        given: names of models that exist only in memory.

    Raises:
        SuiteError: a name or an argument does not exist. This is found before anything runs.
    """
    check_numbers(n, seed)
    n, seed = None if n is None else int(n), int(seed)  # of NumPy, they could not be stored
    if isinstance(axes, str) or not axes:
        raise SpecError(f"axes={axes!r}; expected a list of axes, such as {list(AXES)}.")
    check_registered()
    cells: list[Cell] = []
    tasks, models = list(dict.fromkeys(tasks)), list(dict.fromkeys(models))
    for model in models:
        if model not in given:
            full_spec("model", model, injected=INJECTED["model"])
    for task in tasks:
        entry, spec = resolve("task", task)
        full_spec("task", spec, injected=INJECTED["task"])
        kind = kind_of(task)
        presets = {**kind.presets, **entry.meta["presets"]}
        for axis in axes:
            bare = parse(axis)
            for chosen in presets.get(bare.name, (axis,)) if not bare.args else (axis,):
                full_spec("axis", chosen)
                build_nested(chosen)
                check_metrics(chosen, kind)
                check_arguments(chosen, kind)
                cells.extend(Cell(task, model, str(parse(chosen)), n, seed) for model in models)
    return sorted(cells, key=lambda cell: (tasks.index(cell.task), models.index(cell.model)))


def check_numbers(n: int | None, seed: int) -> None:
    """Raise SpecError unless a number of samples and a seed are possible."""
    if n is not None and (not is_whole(n) or n < 1):
        raise SpecError(f"n={n!r}; expected the maximum number of test samples, at least 1, or None for all.")
    check_seed(seed)


def check_arguments(spec: str, kind: Kind) -> None:
    """Raise SpecError if the arguments of an axis do not fit a kind."""
    entry, parsed = resolve("axis", spec)
    axis = entry.build(parsed)
    if isinstance(axis, Checked):
        axis.check(kind)


def check_registered() -> None:
    """Check what the registered metrics are for.

    Raises:
        PluginError: a metric names a kind or an axis that does not exist.
    """
    for role in ("kind", "axis"):
        known = [entry.name for entry in REGISTRY.names(role)]
        for metric in REGISTRY.names("metric"):
            if metric.meta[role] not in known:
                raise PluginError(
                    f"{metric.origin}: the metric {metric.name} is for the {role} {metric.meta[role]!r}, which does "
                    f"not exist.{did_you_mean(metric.meta[role], known)}"
                )


def check_metrics(spec: str, kind: Kind) -> None:
    """Check that the registered metrics of an axis can be computed.

    Raises:
        PluginError: the axis asks for no metrics, or two metrics declare one name differently.
    """
    entry, parsed = resolve("axis", spec)
    declared: dict[str, Metric] = {}
    for metric in entry.build(parsed).entries(kind):
        if declared.setdefault(metric.name, metric) != metric:
            raise PluginError(f"Two metrics of the axis {entry.name} declare the name {metric.name!r}; rename one.")
    for registered in metrics_of(kind, entry.name):
        if missing := [metric.name for metric in registered.meta["entries"] if metric.name not in declared]:
            raise PluginError(f"The axis {entry.name} asks for no registered metrics, so {missing[0]!r} has no rows.")


class Harness:
    """Runs cells on one machine.

    Args:
        store: receives the records.
        settings: device, batch size, progress.
        given: models that exist only in memory, by their name in the cells.
    """

    def __init__(
        self, store: Store, settings: Settings | None = None, *, given: Mapping[str, TorchModel] | None = None
    ) -> None:
        self.store, self.settings = store, settings or Settings()
        device = pick_device(self.settings.device)
        models = ModelProvider(store, device, self.settings.track, given or {})
        prepare = functools.lru_cache(maxsize=2)(self._prepare)
        self._run = Run(store, self.settings, device, models, prepare, uuid.uuid4().hex[:12], SharedOutputs())

    def run(self, cells: Sequence[Cell]) -> Outcome:
        """Measure every cell that is not stored with status ok, and store each one at once.

        Raises:
            SpecError: a cell has an impossible number of samples or seed.
            StoreError: the store cannot be written.
            DataError: settings are strict and a task drops samples. This is found before anything is measured.
        """
        for cell in cells:
            check_numbers(cell.n, cell.seed)
        if self.settings.strict:
            for task, seed in dict.fromkeys((cell.task, cell.seed) for cell in cells):
                data = self._run.task(task, seed).data
                if (report := data.full_report()).dropped:
                    raise DataError(
                        f"Task {data.info.name} drops samples in strict mode: {report.sentence()}. Correct the "
                        "data, or run without --strict."
                    )
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
                self.store.put(job.record(job.measure(), began))
            except RecordError as error:  # this result cannot be stored, but others can
                status, reason = "failed", self._failed(job, error, began)
            except StoreError:
                raise
            except (Exception, SystemExit) as error:  # third-party code may raise anything; the other cells still run
                status, reason = "failed", self._failed(job, error, began)
            outcome.keys.add(job.key())
            outcome.ran.append((cell, status, reason))
            self.settings.on_cell_done(cell, status, reason)
        return outcome

    def _failed(self, job: Job, error: BaseException, began: float) -> str:
        """Store a failed row and return its reason."""
        reason = reason_of(error)
        self.store.put(job.failure(reason, began))
        return reason

    def _prepare(self, text: str, seed: int) -> PreparedTask:
        task = prepare_task(text, seed)
        self.settings.on_task_loaded(f"{task.data.info.name}: {task.data.report.sentence()}")
        return task


def with_full_recipe(model: str) -> str:
    """Return the spec of a model with ``full=True`` if the model has this argument and the spec does not set it.

    Raises:
        SuiteError: there is no such model.
    """
    entry, spec = resolve("model", model)
    has_full = "full" in inspect.signature(entry.factory).parameters
    return str(spec.but(full=True)) if has_full and "full" not in spec.kwargs else model
