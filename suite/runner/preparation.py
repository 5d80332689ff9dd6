"""Preparation of tasks and models: loads samples and weights, and trains each model once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from suite.attacks.engine.problem import Problem
from suite.attacks.rng import as_seeds
from suite.axes.answers import first_answer
from suite.axes.rounds import State, Track
from suite.data import Split, TaskData, load
from suite.errors import ModelError, NotApplicableError
from suite.kinds.base import Kind, optional, required
from suite.models.base import WIDTH, TorchModel
from suite.models.training.trainer import TrainingData, seeded, train
from suite.models.weights import load_weights, to_bytes
from suite.registry import REGISTRY, Entry, resolve
from suite.runner.exposure import check_unseen, seen_contents
from suite.runner.identity import code_digest, full_spec, origins, package_versions, without_folder
from suite.runner.settings import check_seed
from suite.spec import digest
from suite.store import Store

INJECTED = {"task": ("split", "seed"), "model": ("task",)}
"""Arguments of factories that the harness provides, by role."""


@dataclass(frozen=True)
class PreparedTask:
    """A task with its samples and its kind."""

    entry: Entry
    kind: Kind
    data: TaskData

    def test(self, n: int | None) -> Split:
        """Return all test samples or n of them; the choice is deterministic, and a larger n includes a smaller one."""
        return self.data.test if n is None else self.data.test.few(n)


def kind_of(task: str) -> Kind:
    """Return the kind of a task.

    Raises:
        SuiteError: the task or its kind does not exist.
    """
    kind: Kind = REGISTRY.get("kind", resolve("task", task)[0].meta["kind"]).factory()
    return kind


def prepare_task(text: str, seed: int) -> PreparedTask:
    """Load the samples of a task.

    Raises:
        SuiteError: the task or its kind does not exist, or has no usable samples.
    """
    check_seed(seed)
    entry, spec = resolve("task", text)
    full_spec("task", spec, injected=INJECTED["task"])
    kind = kind_of(text)
    return PreparedTask(entry, kind, load(entry, spec, seed=seed, kind=kind))


@dataclass
class ModelProvider:
    """Builds, loads and trains the models of one run.

    Attributes:
        store: keeps the trained weights.
        given: models that exist only in memory, by name; they take precedence over registered ones.
    """

    store: Store
    device: torch.device
    track: Track
    given: Mapping[str, TorchModel] = field(default_factory=dict)
    _failed: dict[str, Exception] = field(default_factory=dict)

    def build(self, text: str, task: PreparedTask, seed: int) -> TorchModel:
        """Return a model with its weights if it has any, else as initialized with the seed.

        Raises:
            SuiteError: the model does not exist, or cannot be built for this task.
        """
        if text in self.given:
            return self.given[text].to(self.device)
        entry, spec = resolve("model", text)
        tasks = entry.meta["tasks"]
        if tasks is not None and task.entry.name not in tasks:
            raise ModelError(f"Model {text} is declared for {', '.join(tasks)}, not for {task.entry.name}.")
        if entry.meta["kind"] != task.kind.name:
            raise ModelError(
                f"Model {text} is of kind {entry.meta['kind']}, but {task.entry.name} is of kind {task.kind.name}."
            )
        with seeded(seed, self.device):
            model = entry.build(spec, task=task.data.info)
        adapter = task.kind.models.adapter
        if not isinstance(model, adapter):
            raise ModelError(f"Model {text} is a {type(model).__name__}; its function must return {adapter.__name__}.")
        return model.to(self.device)

    def digest(self, model: TorchModel, text: str, task: PreparedTask, seed: int) -> str:
        """Return the SHA-256 of the weights of a model, or of everything that its training depends on."""
        if not _to_train(model):
            with seeded(0, self.device):  # a model that draws random numbers has one identity, too
                return model.digest(self._probe(model, task))
        files = origins("model", text)
        if model.recipe and model.recipe.adversary:
            files |= origins("attack", model.recipe.adversary)
        return digest(
            {
                "data": task.data.digest,
                "model": without_folder(full_spec("model", text, injected=INJECTED["model"])).canonical(),
                "recipe": model.recipe.canonical() if model.recipe else None,
                "seed": seed,
                "device": self.device.type,
                "code": code_digest(tuple(sorted(files))),
                "packages": dict(package_versions()),
            }
        )

    def ready(self, model: TorchModel, identity: str, task: PreparedTask, seed: int) -> TorchModel:
        """Return a model with its final weights; train it first if it has a recipe and is not stored.

        Args:
            model: the model as `build` returned it; it is changed in place.
            identity: its `digest`.
            task: the task with the training samples.
            seed: seed of the training run.

        Raises:
            SuiteError: the output of the model does not fit the task, training diverged, or the weights were trained
                on test samples.
        """
        with model.frozen(), torch.no_grad():
            task.kind.models.check_output(first_answer(model, self._probe(model, task)), task.data.info.classes)
        if not _to_train(model):
            if model.weights is not None:
                check_unseen(model.weights, task.data, task.kind.input)
            return model
        if identity in self._failed:  # a failed training run is not repeated for every axis
            raise self._failed[identity]
        folder = self.store.model_folder(identity)
        if folder is None:
            try:
                history = self._train(model, task, seed)
            except Exception as error:
                self._failed[identity] = error
                raise
            seen = seen_contents(task.data, task.kind.input)
            folder = self.store.put_model(identity, to_bytes(model.module), history, seen=seen)
        load_weights(model.module, folder / "weights.safetensors")
        return model

    def node(
        self, identity: Sequence[Any], name: str, settings: Mapping[str, Any], train: Callable[[], State]
    ) -> State:
        """Return the state of a training node of a model, such as a surrogate; it is trained and stored only once.

        Args:
            identity: digests of what it is trained on.
            name: what it is.
            settings: its settings, as JSON values.
            train: returns the state: arrays and JSON values.
        """
        key = digest(
            {
                "node": name,
                "identity": list(identity),
                "settings": dict(settings),
                "code": code_digest(),
                "packages": dict(package_versions()),
                "device": self.device.type,
            }
        )
        stored = self.store.state(key)
        if stored is not None:
            return stored
        state = train()
        self.store.put_state(key, state)
        return state

    def members(self, count: int, text: str, task: PreparedTask, seed: int) -> list[TorchModel]:
        """Return a model trained with `count` seeds, from `seed` on.

        Raises:
            NotApplicableError: the suite did not train this model.
            SuiteError: as `build` and `ready`, for any member.
        """
        if not _to_train(self.build(text, task, seed)):
            raise NotApplicableError("the model comes with weights; an ensemble needs a model that the suite trains")
        return [self._member(text, task, seed + member) for member in range(count)]

    def _member(self, text: str, task: PreparedTask, seed: int) -> TorchModel:
        model = self.build(text, task, seed)
        return self.ready(model, self.digest(model, text, task, seed), task, seed)

    def _probe(self, model: TorchModel, task: PreparedTask) -> Tensor:
        """Return a few test inputs on the device."""
        few = task.data.test.take(range(min(8, len(task.data.test))))
        return torch.from_numpy(model.inputs(few)).to(self.device)

    def _train(self, model: TorchModel, task: PreparedTask, seed: int) -> dict[str, Any]:
        recipe = model.recipe
        if recipe is None:
            raise ModelError("This model has no recipe to train it with.")
        perturb = _adversary(recipe.adversary, task.kind) if recipe.adversary else None
        attacks = optional(task.kind.attacks)
        damage = None if attacks is None else attacks.damage
        data = TrainingData(
            task.data.train, task.data.validation, required(task.kind.training), seed, self.track, perturb, damage
        )
        width, model.width = model.width, WIDTH  # the validation loss must not depend on the batch size of cells
        try:
            return train(model, recipe, data, device=self.device)
        finally:
            model.width = width


def _to_train(model: TorchModel) -> bool:
    return model.recipe is not None and model.weights is None


def _adversary(text: str, kind: Kind) -> Any:
    """Return a function that replaces a training batch by adversarial examples of the attack's largest size."""
    entry, spec = resolve("attack", text)
    attack = entry.build(spec)

    def perturb(model: TorchModel, pixels: Tensor, targets: Tensor, seed: int) -> Tensor:
        problem = Problem.of(kind, model, adapter=model)
        seeds = as_seeds([seed + place for place in range(len(pixels))], pixels.device)
        with model.frozen():
            moved: Tensor = attack.perturb(problem, pixels, targets, attack.sizes[-1], seeds)
        return moved.detach()

    return perturb
