"""The stored records to verify, and what they were made from: tasks, and models with the weights that were measured."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch

from suite.data import TaskData, load
from suite.errors import ModelError, StoreError, SuiteError, UnknownNameError, WeightsError, did_you_mean
from suite.kinds.base import Array, Kind
from suite.models.base import TorchModel
from suite.models.training.trainer import seeded
from suite.models.weights import load_weights
from suite.registry import REGISTRY, resolve
from suite.runner.identity import display_name
from suite.spec import parse
from suite.store import Store

AXIS = "robustness"
"""The axis whose records hold adversarial inputs."""

COLUMN = "robust@"
"""What the name of a per-sample column begins with, before the size."""

NAMED = 5
"""Sample ids that a sentence names."""

PROBE = 8
"""Test images that the identity of a model with weights of its own is taken from; the same ones as in a run."""


@dataclass(frozen=True)
class RecordFilter:
    """Which records to verify; an empty filter lets everything through.

    Attributes:
        tasks, models: specs. One from a file by path also says where the file is: the store knows its name only.
        axes: ``robustness``, or specs as they were run.
    """

    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    axes: Sequence[str] = ()


@dataclass(frozen=True)
class StoredRecord:
    """A record as it was read: one of its rows for what they have in common, all its rows, and the rest."""

    about: pd.Series[Any]
    rows: pd.DataFrame
    samples: pd.DataFrame
    details: Mapping[str, Any]
    arrays: Mapping[str, Array]

    @classmethod
    def read(cls, store: Store, name: str, rows: pd.DataFrame) -> Self:
        """Return a record of the store; whatever is damaged raises."""
        return cls(rows.iloc[0], rows, store.samples(name), store.details(name), store.arrays(name))

    @property
    def ids(self) -> Array:
        """The samples that the inputs were made from."""
        return self.arrays["found_id"].astype(str)

    @property
    def digests(self) -> dict[str, str]:
        """The digests that the record was made with."""
        return dict(json.loads(self.about["digests"]))

    @property
    def columns(self) -> dict[float, str]:
        """The per-sample columns by size."""
        names = [str(name) for name in self.samples.columns if str(name).startswith(COLUMN)]
        return {float(name.removeprefix(COLUMN)): name for name in names}

    @property
    def graded(self) -> bool:
        """Whether samples are answered better or worse, and not right or wrong."""
        return bool(self.details.get("headline", "accuracy") != "accuracy")

    @property
    def is_text(self) -> bool:
        """Whether the inputs are texts: code points, where all others are numbers."""
        return bool(self.arrays["found"].dtype == np.int32)

    @property
    def norm(self) -> str:
        """What limits the perturbations."""
        return str(self.details.get("norm"))


def selected(store: Store, wanted: RecordFilter) -> pd.DataFrame:
    """Return the rows of the robustness records that are wanted, of several records of one key the current one."""
    rows = store.rows()
    rows = rows[rows["axis"] == AXIS] if len(rows) else rows
    if rows.empty:
        raise StoreError(f"No robustness is stored in {store.root}. Measure some first, for example with: suite demo")
    for column, texts in (("task", wanted.tasks), ("model", wanted.models), ("spec", wanted.axes)):
        names = {display_name(parse(text)) for text in texts} - ({AXIS} if column == "spec" else set())
        known = rows[column].unique().tolist()
        if unknown := sorted(names - set(known)):
            raise UnknownNameError(f"No robustness of {unknown[0]!r} is stored.{did_you_mean(unknown[0], known)}")
        rows = rows[rows[column].isin(names)] if names else rows
    return rows


@dataclass(frozen=True)
class Task:
    """A task with its samples, and the row of each test sample by its id."""

    kind: Kind
    data: TaskData
    row: Mapping[str, int]

    def places(self, ids: Array) -> Array:
        """Return where samples stand among the test samples, (n,); -1 where they do not."""
        return np.array([self.row.get(str(name), -1) for name in ids], dtype=int)


@dataclass(frozen=True)
class LoadedTask:
    """A task with the model that was measured on it.

    Attributes:
        model: the model; None where it cannot be built as it was.
        why: the reason for that.
    """

    task: Task
    model: TorchModel | None
    why: str = ""

    PIXELS: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """The range of a pixel, which is what most models are shown."""

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the numbers that the model is shown."""
        return self.model.limits if self.model is not None else self.PIXELS

    def clean(self, places: Array) -> Array:
        """Return what the model is shown of some test samples; without a model, what the samples are."""
        few = self.task.data.test.take(places)
        return np.asarray(few.pixels() if self.model is None else self.model.inputs(few))


class Archive:
    """Reads again what records were made from: tasks, and models with the weights that were measured.

    Args:
        store: holds the weights of trained models.
        wanted: says where files by path are.
        device: ``auto`` for a GPU if there is one, or a PyTorch device.
        batch_size: samples per forward pass.
        given: models that exist in memory only, by name.
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
        self.device = _device(device)
        self.written = {display_name(parse(text)): text for text in (*wanted.tasks, *wanted.models)}
        self.task = functools.lru_cache(maxsize=2)(self._task)
        self.model = functools.lru_cache(maxsize=2)(self._model)

    def _task(self, name: str, seed: int) -> Task:
        entry, spec = resolve("task", self.written.get(name, name))
        kind: Kind = REGISTRY.get("kind", entry.meta["kind"]).factory()
        data = load(entry, spec, seed=seed, kind=kind)
        return Task(kind, data, {sample: row for row, sample in enumerate(data.test.ids)})

    def _model(self, name: str, task_name: str, seed: int, digest: str, made_on: str) -> TorchModel:
        """Return the model that was measured.

        Raises:
            SuiteError: it cannot be built, its weights are not stored, or it is another one now.
        """
        task = self.task(task_name, seed)
        model = self._built(name, task, seed)
        if model.recipe is None or model.weights is not None:
            if self.device.type == made_on and model.digest(self._probe(model, task)) != digest:
                raise ModelError("the model at hand is not the one that was measured, or it answers otherwise here")
            return model
        folder = self.store.model_folder(digest)
        if folder is None:
            raise WeightsError(
                f"the weights {digest[:12]} are not among the models in the store; bring that folder back, or measure "
                "the model again"
            )
        load_weights(model.module, folder / "weights.safetensors")
        return model

    def _built(self, name: str, task: Task, seed: int) -> TorchModel:
        if name in self.given:
            return self.given[name].to(self.device)
        try:
            entry, spec = resolve("model", self.written.get(name, name))
        except UnknownNameError as error:
            raise ModelError(
                f"{error} One that suite.audit measured from memory is verified from Python: "
                f"suite.verify.verifier.verify(store, given={{{name!r}: model}})."
            ) from error
        with seeded(seed, self.device):
            model = entry.build(spec, task=task.data.info)
        if not isinstance(model, task.kind.adapter):
            raise ModelError(f"it is a {type(model).__name__}; its function must return a {task.kind.adapter.__name__}")
        return model.to(self.device)

    def _probe(self, model: TorchModel, task: Task) -> torch.Tensor:
        test = task.data.test
        return torch.from_numpy(model.inputs(test.take(range(min(PROBE, len(test)))))).to(self.device)

    def asked(self, stored: StoredRecord, task: Task) -> LoadedTask:
        """Return the task with the model that was measured, or with the reason why there is none."""
        about, digest = stored.about, stored.digests.get("model", "")
        try:
            return LoadedTask(
                task, self.model(about["model"], about["task"], int(about["seed"]), digest, about["device"])
            )
        except Exception as error:  # a model is a stranger's code and raises what it likes
            return LoadedTask(task, None, said(error))

    def fitted_on_validation(self, model: TorchModel, task: Task) -> Kind:
        """Return the task's kind with what it chooses on validation samples for this model."""

        def validation() -> tuple[Array, Array]:
            split = task.data.validation
            parts = [part.cpu().numpy() for part in self._outputs(model, model.inputs(split))]
            return np.concatenate(parts) if parts else np.zeros(0), split.targets

        return task.kind.fitted_on_validation(validation, task.data)

    def damage(self, model: TorchModel, task: Task, kind: Kind, pixels: Array, targets: Array) -> Array:
        """Return how wrong a frozen model is about inputs, by forward passes without gradients, (n,) in [0, 1]."""
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
                part = pixels[start : start + self.batch_size]
                yield model(torch.from_numpy(part).to(self.device)).float()


def _device(name: str) -> torch.device:
    """Return a device by name; the harness does the same, but drags the attacks along."""
    try:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SuiteError(f"Device {name!r} cannot be used: {str(error).splitlines()[0]}. Try cpu or auto.") from error
    return device


def said(error: Exception) -> str:
    """Return an error with its type, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def those(ids: Array, bad: Array | np.bool) -> str:
    """Return how many of the samples are bad, and the ids of the first."""
    names = [str(name) for name in ids[bad]]
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} of {len(ids)} ({', '.join(names[:NAMED])}{more})"
