"""Checks of the tasks and models in a third-party file, before a long run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from suite.data import Split, TaskInfo
from suite.data.report import DataReport
from suite.errors import ModelError, PluginError, SuiteError, described
from suite.kinds.base import Kind, optional
from suite.kinds.class_order import Pairs, other_order
from suite.kinds.logits import why_not_logits
from suite.models.base import TorchModel
from suite.models.training.trainer import seeded
from suite.registry import REGISTRY, Entry
from suite.runner.preparation import PreparedTask, prepare_task
from suite.spec import parse

ORDER_SAMPLES = 200
"""Test samples on which the order of the outputs is checked."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check; the sentence states the problem and how to correct it."""

    subject: str
    passed: bool
    sentence: str


def check_file(path: str) -> list[CheckResult]:
    """Check every task and model in a file.

    Raises:
        PluginError: the file cannot be loaded, or registers nothing.
    """
    entries = REGISTRY.of_file(path)
    if not entries:
        raise PluginError(
            f"{path} registers nothing. Decorate a function with @task(kind='classification') or @model()."
        )
    results: list[CheckResult] = []
    prepared: dict[str, PreparedTask] = {}
    for entry in sorted(entries, key=lambda entry: entry.role != "task"):
        subject = f"{entry.role} {entry.name}"
        if not entry.summary:
            results.append(CheckResult(subject, False, "has no docstring; `suite list` shows its first line"))
        try:
            if entry.role == "task":
                prepared[entry.name] = _task(path, entry, results)
            elif entry.role == "model":
                task = _task_for(entry, prepared, [other.name for other in entries if other.role == "task"])
                results.extend(_model(path, entry, task))
            else:
                results.append(CheckResult(subject, True, "is registered; other roles are not checked"))
        except SuiteError as error:
            results.append(CheckResult(subject, False, str(error)))
        except (Exception, SystemExit) as error:  # third-party code may raise anything
            results.append(CheckResult(subject, False, f"raised {described(error)}"))
    return results


def _task(path: str, entry: Entry, results: list[CheckResult]) -> PreparedTask:
    subject = f"task {entry.name}"
    first, again = (prepare_task(f"{path}:{entry.name}", 0) for _ in range(2))
    report: DataReport = first.data.full_report()
    shared = [detail for _, detail in report.dropped.get("duplicate", ()) if _split_of(detail) != _split_of(detail, -1)]
    empty = [name for name, count in report.kept.items() if not count and name != "test"]
    results += [
        _result(
            subject,
            first.data.digest == again.data.digest,
            "yields the same samples twice",
            "yields different samples twice; use the seed",
        ),
        CheckResult(subject, not report.dropped, f"samples: {report.sentence()}"),
        _result(
            subject,
            not shared,
            "has no sample in two splits",
            f"has {len(shared)} samples in two splits (a {''.join(shared[:1])}); a model would be tested on samples "
            "that it was trained on",
        ),
        _result(
            subject,
            not empty,
            "has train, validation and test samples",
            f"has no {' and no '.join(empty)} samples: it can neither train models nor fit a temperature",
        ),
    ]
    if first.kind.scoring.outcome.type == "binary":  # one label per sample
        results.append(_every_class(subject, first))
    return first


def _every_class(subject: str, task: PreparedTask) -> CheckResult:
    present = set(task.data.test.targets.tolist())
    names = [name for index, name in enumerate(task.data.info.classes) if index not in present]
    return _result(subject, not names, "has test samples of every class", f"has no test sample of {', '.join(names)}")


def _split_of(detail: str, place: int = 0) -> str:
    return detail.split()[place]  # "train sample equal to ID in test"


def _task_for(entry: Entry, prepared: dict[str, PreparedTask], own: list[str]) -> PreparedTask:
    task = (entry.meta["tasks"] or tuple(prepared) or own or ("digits",))[0]
    if task in own and task not in prepared:
        raise PluginError(f"was not checked, because the task {task} cannot be loaded; correct the task first")
    return prepared[task] if task in prepared else prepare_task(task, 0)


def _model(path: str, entry: Entry, task: PreparedTask) -> Iterator[CheckResult]:
    subject = f"model {entry.name}"
    info: TaskInfo = task.data.info
    with seeded(0, torch.device("cpu")):
        built = entry.build(parse(f"{path}:{entry.name}"), task=info)
    adapter = task.kind.models.adapter
    is_adapter = isinstance(built, adapter)
    yield _result(
        subject,
        is_adapter,
        f"returns {adapter.__name__}",
        f"returns {type(built).__name__}; wrap it: {adapter.__name__}(module)",
    )
    if not is_adapter:
        return
    yield _result(
        subject,
        built.weights is not None or built.recipe is not None,
        "has weights or a recipe",
        "has neither weights= nor recipe=, so it would be evaluated with random weights; give one of them",
    )
    few = task.data.test.take(range(min(16, len(task.data.test))))
    with built.frozen():
        for name, passed, good, bad in _behavior(built, task.kind, few, info.classes):
            yield _result(f"{subject} on {info.name}", passed(), f"{name}: {good}", f"{name}: {bad}")
        if built.weights is not None and task.kind.scoring.outcome.type == "binary":
            order = _other_order(built, task.data.test.few(ORDER_SAMPLES), info.classes)
            yield _result(
                f"{subject} on {info.name}", order is None, "order: outputs follow the classes", f"order: {order}"
            )


def _behavior(
    model: TorchModel, kind: Kind, few: Split, classes: Sequence[str]
) -> Iterator[tuple[str, Callable[[], bool], str, str]]:
    pixels, targets = torch.from_numpy(model.inputs(few)), torch.from_numpy(few.targets)
    with torch.no_grad():
        output = model(pixels)
    misfit = ""
    try:
        kind.models.check_output(output, classes)
    except ModelError as error:
        misfit = str(error)
    yield "output", lambda: not misfit, f"fits the {len(classes)} classes of the task", misfit
    if kind.logits is not None and not misfit:
        scale = why_not_logits(kind.logits, [output.numpy()])
        yield "scale", lambda: scale is None, "the outputs look like logits", str(scale)
    if model.input.type == "image":
        yield (
            "blank images",
            lambda: _is_finite(model, torch.stack([torch.zeros_like(pixels[0]), torch.ones_like(pixels[0])])),
            "black and white images have finite outputs",
            "a black or a white image has an output that is NaN or infinite; is it divided by its range or norm?",
        )
    yield (
        "determinism",
        lambda: _same(model, pixels, output),
        "two calls give the same outputs",
        "two calls give different outputs for the same samples; seed everything random, and turn dropout off in eval()",
    )
    yield (
        "batch",
        lambda: bool(torch.allclose(_alone(model, pixels), output, atol=1e-4)),
        "outputs do not depend on the other samples of the batch",
        "an output depends on the other samples of its batch; is every BatchNorm in eval mode?",
    )
    if model.capabilities.gradient:
        yield (
            "gradient",
            lambda: _has_gradient(*_differentiable(model, few, pixels), kind, targets),
            "the input gradient is finite and not zero",
            "the input gradient is NaN, zero or absent, so attacks cannot use it; do not detach or round",
        )


def _differentiable(model: TorchModel, few: Split, inputs: torch.Tensor) -> tuple[TorchModel, torch.Tensor]:
    """Return the model with inputs that have a gradient: pixels, or the embeddings of texts."""
    if not model.input.discrete:
        return model, inputs
    space = model.in_space("embedding")
    return space, torch.from_numpy(space.inputs(few))


@torch.no_grad()
def _other_order(model: TorchModel, samples: Split, classes: Sequence[str]) -> str | None:
    """Return which order of the classes would give a much higher accuracy, or None."""
    predictions = model(torch.from_numpy(model.inputs(samples))).argmax(dim=1).numpy()
    count = len(samples)
    return other_order(Pairs(np.arange(count), samples.targets, predictions, np.ones(count), classes), samples.ids)


@torch.no_grad()
def _is_finite(model: TorchModel, pixels: torch.Tensor) -> bool:
    return bool(torch.isfinite(model.raw(pixels)).all())


@torch.no_grad()
def _same(model: TorchModel, pixels: torch.Tensor, logits: torch.Tensor) -> bool:
    return torch.equal(model(pixels), logits)


@torch.no_grad()
def _alone(model: TorchModel, pixels: torch.Tensor) -> torch.Tensor:
    """Return the output of each input beside a copy of itself, because BatchNorm in train mode refuses a single row."""
    return torch.cat([model(torch.stack([pixel, pixel]))[:1] for pixel in pixels])


def _has_gradient(model: TorchModel, pixels: torch.Tensor, kind: Kind, targets: torch.Tensor) -> bool:
    point, attacks = pixels.clone().requires_grad_(True), optional(kind.attacks)
    objective = None if attacks is None else attacks.objective(model)
    with torch.enable_grad():
        raised = model(point).square() if objective is None else objective(point, targets, "ce", 0.0)[0]
        if not raised.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(raised.sum(), point, allow_unused=True)
    return gradient is not None and bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any())


def _result(subject: str, passed: bool, good: str, bad: str) -> CheckResult:
    return CheckResult(subject, passed, good if passed else bad)
