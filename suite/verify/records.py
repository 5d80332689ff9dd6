"""The records to verify, and their tasks and models."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from suite.data import TaskData
from suite.data import load as load_task
from suite.errors import ModelError, StoreError, SuiteError, UnknownNameError, WeightsError, described, did_you_mean
from suite.kinds.base import Array, Kind, required
from suite.models.base import TorchModel
from suite.models.training.trainer import seeded
from suite.models.weights import load_weights
from suite.records.reading import StoredRecord
from suite.registry import REGISTRY, resolve
from suite.runner.identity import display_name
from suite.runner.process import pick_device
from suite.spec import parse
from suite.store import Store

MAX_IDS = 5
"""Maximum number of sample ids in a message."""

PROBE = 8
"""Number of test samples for the digest of a model that came with weights; the same as in a run."""


TOGETHER = 4
"""Forward passes whose outputs are read together."""


@dataclass(frozen=True)
class RecordFilter:
    """Selects the records to verify; an empty filter selects all.

    Attributes:
        tasks, models: specs. A spec with the path of a file also tells where the file is; the store keeps only its
            name.
        axes: names of axes, such as ``robustness``, or specs as they were run.
    """

    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    axes: Sequence[str] = ()


def select(store: Store, wanted: RecordFilter) -> pd.DataFrame:
    """Return the rows of the selected records; of several records of one key, the current one.

    Raises:
        StoreError: the store is empty.
        UnknownNameError: the filter names a task, model or axis that is not stored.
    """
    rows = store.rows()
    if rows.empty:
        raise StoreError(f"{store.root} contains no results. Measure some first, for example with: suite demo")
    for columns, texts in ((("task",), wanted.tasks), (("model",), wanted.models), (("axis", "spec"), wanted.axes)):
        names = {display_name(parse(text)) for text in texts}
        known = {name for column in columns for name in rows[column].unique().tolist()}
        if unknown := sorted(names - known):
            raise UnknownNameError(f"There are no results for {unknown[0]!r}.{did_you_mean(unknown[0], known)}")
        chosen = np.logical_or.reduce([rows[column].isin(names) for column in columns])
        rows = rows[chosen] if names else rows
    return rows


@dataclass(frozen=True)
class Task:
    """A task with its samples, and the row of each test sample by its id."""

    kind: Kind
    data: TaskData
    row: Mapping[str, int]

    def places(self, ids: Array) -> Array:
        """Return the rows of samples among the test samples, (n,); -1 for unknown samples."""
        return np.array([self.row.get(str(name), -1) for name in ids], dtype=int)


@dataclass(frozen=True)
class LoadedTask:
    """A task with the model that was evaluated on it.

    Attributes:
        model: the model; None if it cannot be loaded.
        why: the reason why it cannot be loaded.
    """

    task: Task
    model: TorchModel | None
    why: str = ""

    @property
    def limits(self) -> tuple[float, float] | None:
        """The range of the model inputs; None if it is not known."""
        return None if self.model is None else self.model.limits

    def clean(self, places: Array) -> Array:
        """Return the model inputs of some test samples; without a model, their pixels."""
        few = self.task.data.test.take(places)
        return np.asarray(few.pixels() if self.model is None else self.model.inputs(few))


class Loader:
    """Loads the tasks and models of records.

    Args:
        store: contains the weights of trained models.
        wanted: gives the paths of files.
        device: ``auto`` for a GPU if there is one, or the name of a PyTorch device.
        given: models that exist only in memory, by name.
    """

    def __init__(
        self,
        store: Store,
        wanted: RecordFilter,
        device: str = "auto",
        given: Mapping[str, TorchModel] | None = None,
    ) -> None:
        self.store, self.given = store, given or {}
        self.device = pick_device(device)
        self.specs = {display_name(parse(text)): text for text in (*wanted.tasks, *wanted.models)}
        self._register()
        self.task = functools.lru_cache(maxsize=2)(self._task)
        self.model = functools.lru_cache(maxsize=2)(self._model)

    def _register(self) -> None:
        """Load the files that the filter names, since they may also register kinds and metrics."""
        for text in self.specs.values():
            for role in ("task", "model"):
                with contextlib.suppress(SuiteError):  # reported with the records that need it
                    resolve(role, text)

    def _task(self, name: str, seed: int) -> Task:
        entry, spec = resolve("task", self.specs.get(name, name))
        kind: Kind = REGISTRY.get("kind", entry.meta["kind"]).factory()
        data = load_task(entry, spec, seed=seed, kind=kind)
        return Task(kind, data, {sample: row for row, sample in enumerate(data.test.ids)})

    def _model(self, name: str, task_name: str, seed: int, digest: str, made_on: str) -> TorchModel:
        """Return the model that was evaluated.

        Raises:
            SuiteError: it cannot be built, its weights are not stored, or it has changed.
        """
        task = self.task(task_name, seed)
        model = self._built(name, task, seed)
        if model.recipe is None or model.weights is not None:
            if self.device.type == made_on and model.digest(self._probe(model, task)) != digest:
                raise ModelError("this is not the model that was evaluated, or its outputs differ on this machine")
            return model
        folder = self.store.model_folder(digest)
        if folder is None:
            raise WeightsError(
                f"the store has no weights {digest[:12]}; restore that folder of models/, or measure the model again"
            )
        load_weights(model.module, folder / "weights.safetensors")
        return model

    def _built(self, name: str, task: Task, seed: int) -> TorchModel:
        if name in self.given:
            return self.given[name].to(self.device)
        try:
            entry, spec = resolve("model", self.specs.get(name, name))
        except UnknownNameError as error:
            raise ModelError(
                f"{error} Verify a model that suite.audit measured in memory from Python: "
                f"suite.verify.verifier.verify(store, given={{{name!r}: model}})."
            ) from error
        with seeded(seed, self.device):
            model = entry.build(spec, task=task.data.info)
        adapter = task.kind.models.adapter
        if not isinstance(model, adapter):
            raise ModelError(f"it is a {type(model).__name__}; its function must return {adapter.__name__}")
        return model.to(self.device)

    def _probe(self, model: TorchModel, task: Task) -> torch.Tensor:
        test = task.data.test
        return torch.from_numpy(model.inputs(test.take(range(min(PROBE, len(test)))))).to(self.device)

    def load(self, record: StoredRecord, task: Task) -> LoadedTask:
        """Return the task with the model of a record, or with the reason why the model cannot be loaded."""
        one = record.provenance
        try:
            model = self.model(one.model, one.task, one.seed, one.digests.get("model", ""), one.device)
            model.width = one.batch_size
        except Exception as error:  # third-party code may raise anything
            return LoadedTask(task, None, described(error))
        return LoadedTask(task, model)

    def fit_to_model(self, model: TorchModel, task: Task) -> Kind:
        """Return the kind of the task, fitted to this model on validation samples."""

        def validation() -> tuple[Array, Array]:
            split = task.data.validation
            parts = [part.cpu().numpy() for part in self._outputs(model, model.inputs(split))]
            return np.concatenate(parts) if parts else np.zeros(0), split.targets

        return task.kind.fit_to_model(validation, task.data)

    def damage(self, model: TorchModel, task: Task, kind: Kind, pixels: Array, targets: Array) -> Array:
        """Return the damage to inputs, (n,) in [0, 1], by forward passes of the frozen model without gradients."""
        attacks, parts, start = required(kind.attacks), [np.zeros(0)], 0
        for output in self._outputs(model, pixels):
            kind.models.check_output(output, task.data.info.classes)
            part = targets[start : start + len(output)]
            parts.append(attacks.damage(output, torch.from_numpy(part).to(self.device)).double().cpu().numpy())
            start += len(output)
        return np.concatenate(parts)

    def _outputs(self, model: TorchModel, pixels: Array) -> Iterator[torch.Tensor]:
        with model.frozen(), torch.no_grad():
            for start in range(0, len(pixels), TOGETHER * model.width):
                yield model(torch.from_numpy(pixels[start : start + TOGETHER * model.width]).to(self.device)).float()


def named(ids: Array, bad: Array | np.bool) -> str:
    """Return how many samples are bad, with the ids of the first ones."""
    names = [str(name) for name in ids[bad]]
    more = ", ..." if len(names) > MAX_IDS else ""
    return f"{len(names)} of {len(ids)} ({', '.join(names[:MAX_IDS])}{more})"
