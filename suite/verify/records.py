"""Stored records to verify, with their tasks and models."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from suite.data import TaskData
from suite.data import load as load_task
from suite.errors import ModelError, StoreError, UnknownNameError, WeightsError, did_you_mean
from suite.kinds.base import Array, Kind
from suite.models.base import TorchModel
from suite.models.training.trainer import seeded
from suite.models.weights import load_weights
from suite.registry import REGISTRY, resolve
from suite.runner.identity import display_name
from suite.runner.process import pick_device
from suite.spec import parse
from suite.store import Store

AXIS = "robustness"
"""The axis whose records contain adversarial examples."""

COLUMN = "robust@"
"""Prefix of the names of per-sample columns; the size follows."""

MAX_IDS = 5
"""Maximum number of sample ids in a message."""

PROBE = 8
"""Number of test samples for the digest of a model that came with weights; the same as in a run."""


@dataclass(frozen=True)
class RecordFilter:
    """Selects the records to verify; an empty filter selects all.

    Attributes:
        tasks, models: specs. A spec with the path of a file also tells where the file is; the store keeps only its
            name.
        axes: ``robustness``, or specs as they were run.
    """

    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    axes: Sequence[str] = ()


@dataclass(frozen=True)
class StoredRecord:
    """A record of the store: what all rows have in common (`about`), the rows, and everything else."""

    about: pd.Series[Any]
    rows: pd.DataFrame
    samples: pd.DataFrame
    details: Mapping[str, Any]
    arrays: Mapping[str, Array]

    @property
    def ids(self) -> Array:
        """The sample ids of the adversarial examples, (k,)."""
        return self.arrays["found_id"].astype(str)

    @property
    def digests(self) -> dict[str, str]:
        """The digests of the record."""
        return dict(json.loads(self.about["digests"]))

    @property
    def columns(self) -> dict[float, str]:
        """The names of the per-sample columns by size."""
        names = [str(name) for name in self.samples.columns if str(name).startswith(COLUMN)]
        return {float(name.removeprefix(COLUMN)): name for name in names}

    @property
    def is_graded(self) -> bool:
        """Whether outcomes are graded, and not just correct or wrong."""
        return bool(self.details.get("headline", "accuracy") != "accuracy")

    @property
    def is_text(self) -> bool:
        """Whether the inputs are texts, stored as int32 code points."""
        return bool(self.arrays["found"].dtype == np.int32)

    @property
    def norm(self) -> str:
        """The norm that limits the perturbations."""
        return str(self.details.get("norm"))


def select(store: Store, wanted: RecordFilter) -> pd.DataFrame:
    """Return the rows of the selected robustness records; of several records of one key, the current one."""
    rows = store.rows()
    rows = rows[rows["axis"] == AXIS] if len(rows) else rows
    if rows.empty:
        raise StoreError(
            f"{store.root} contains no robustness results. Measure some first, for example with: suite demo"
        )
    for column, texts in (("task", wanted.tasks), ("model", wanted.models), ("spec", wanted.axes)):
        names = {display_name(parse(text)) for text in texts} - ({AXIS} if column == "spec" else set())
        known = rows[column].unique().tolist()
        if unknown := sorted(names - set(known)):
            raise UnknownNameError(
                f"There are no robustness results for {unknown[0]!r}.{did_you_mean(unknown[0], known)}"
            )
        rows = rows[rows[column].isin(names)] if names else rows
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

    PIXELS: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """The range of pixel values, the input of most models."""

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the model inputs."""
        return self.model.limits if self.model is not None else self.PIXELS

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
        batch_size: samples per forward pass.
        given: models that exist only in memory, by name.
    """

    def __init__(
        self,
        store: Store,
        wanted: RecordFilter,
        device: str = "auto",
        batch_size: int = 64,
        given: Mapping[str, TorchModel] | None = None,
    ) -> None:
        self.store, self.batch_size, self.given = store, batch_size, given or {}
        self.device = pick_device(device)
        self.specs = {display_name(parse(text)): text for text in (*wanted.tasks, *wanted.models)}
        self.task = functools.lru_cache(maxsize=2)(self._task)
        self.model = functools.lru_cache(maxsize=2)(self._model)

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
        if not isinstance(model, task.kind.adapter):
            raise ModelError(f"it is a {type(model).__name__}; its function must return {task.kind.adapter.__name__}")
        return model.to(self.device)

    def _probe(self, model: TorchModel, task: Task) -> torch.Tensor:
        test = task.data.test
        return torch.from_numpy(model.inputs(test.take(range(min(PROBE, len(test)))))).to(self.device)

    def load(self, stored: StoredRecord, task: Task) -> LoadedTask:
        """Return the task with the model of a record, or with the reason why the model cannot be loaded."""
        about, digest = stored.about, stored.digests.get("model", "")
        try:
            return LoadedTask(
                task, self.model(about["model"], about["task"], int(about["seed"]), digest, about["device"])
            )
        except Exception as error:  # third-party code may raise anything
            return LoadedTask(task, None, error_text(error))

    def fit_to_model(self, model: TorchModel, task: Task) -> Kind:
        """Return the kind of the task, fitted to this model on validation samples."""

        def validation() -> tuple[Array, Array]:
            split = task.data.validation
            parts = [part.cpu().numpy() for part in self._outputs(model, model.inputs(split))]
            return np.concatenate(parts) if parts else np.zeros(0), split.targets

        return task.kind.fit_to_model(validation, task.data)

    def damage(self, model: TorchModel, task: Task, kind: Kind, pixels: Array, targets: Array) -> Array:
        """Return the damage to inputs, (n,) in [0, 1], by forward passes of the frozen model without gradients."""
        parts, start = [np.zeros(0)], 0
        for output in self._outputs(model, pixels):
            kind.check_output(output, task.data.info.classes)
            part = targets[start : start + len(output)]
            parts.append(kind.damage(output, torch.from_numpy(part).to(self.device)).double().cpu().numpy())
            start += len(output)
        return np.concatenate(parts)

    def _outputs(self, model: TorchModel, pixels: Array) -> Iterator[torch.Tensor]:
        with model.frozen(), torch.no_grad():
            for start in range(0, len(pixels), self.batch_size):
                yield model(torch.from_numpy(pixels[start : start + self.batch_size]).to(self.device)).float()


def error_text(error: Exception) -> str:
    """Return the type and message of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def named(ids: Array, bad: Array | np.bool) -> str:
    """Return how many samples are bad, with the ids of the first ones."""
    names = [str(name) for name in ids[bad]]
    more = ", ..." if len(names) > MAX_IDS else ""
    return f"{len(names)} of {len(ids)} ({', '.join(names[:MAX_IDS])}{more})"
