"""The conformance kit: what a third-party file gets wrong, said before a long run finds out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from suite.data import Split, TaskInfo
from suite.data.loading import DataReport
from suite.errors import ModelError, PluginError, SuiteError
from suite.kinds.base import Kind
from suite.models.base import TorchModel
from suite.models.training.trainer import seeded
from suite.registry import REGISTRY, Entry
from suite.runner.preparation import PreparedTask, prepare_task
from suite.spec import parse


@dataclass(frozen=True)
class Finding:
    """One check of one thing: whether it passed, and a sentence that says what was seen and what to do."""

    subject: str
    passed: bool
    sentence: str


def check_file(path: str) -> list[Finding]:
    """Check every task and model that a file registers.

    Raises:
        PluginError: the file cannot be loaded, or registers nothing.
    """
    entries = REGISTRY.of_file(path)
    if not entries:
        raise PluginError(f"{path} registers nothing. Put @task(kind='classification') or @model() above a function.")
    findings: list[Finding] = []
    prepared: dict[str, PreparedTask] = {}
    for entry in sorted(entries, key=lambda entry: entry.role != "task"):
        subject = f"{entry.role} {entry.name}"
        if not entry.summary:
            findings.append(
                Finding(subject, False, "has no docstring; give it one, its first line is what `suite list` shows")
            )
        try:
            if entry.role == "task":
                prepared[entry.name] = _task(path, entry, findings)
            elif entry.role == "model":
                task = _task_for(entry, prepared, [other.name for other in entries if other.role == "task"])
                findings.extend(_model(path, entry, task))
            else:
                findings.append(Finding(subject, True, "is registered; only a run can say more"))
        except SuiteError as error:
            findings.append(Finding(subject, False, str(error)))
        except Exception as error:  # a stranger's code raises what it likes; the kit reports all of it
            findings.append(Finding(subject, False, f"raised {type(error).__name__}: {error}"))
    return findings


def _task(path: str, entry: Entry, findings: list[Finding]) -> PreparedTask:
    subject = f"task {entry.name}"
    first, again = (prepare_task(f"{path}:{entry.name}", 0) for _ in range(2))
    same = first.data.digest == again.data.digest
    findings.append(_said(subject, same, "reads the same twice", "reads differently twice; seed what is random"))
    report: DataReport = first.data.report
    findings.append(Finding(subject, not report.dropped, f"samples: {report.sentence()}"))
    shared = [detail for _, detail in report.dropped.get("duplicate", ()) if _split_of(detail) != _split_of(detail, -1)]
    findings.append(
        _said(
            subject,
            not shared,
            "has no sample in two splits",
            f"has {len(shared)} samples in two splits (a {''.join(shared[:1])}); a model would be tested on what it "
            "has learnt",
        )
    )
    lonely = [name for name, count in report.kept.items() if not count and name != "test"]
    findings.append(
        _said(
            subject,
            not lonely,
            "has train, validation and test samples",
            f"has no {' and no '.join(lonely)} samples: models cannot be trained on it, nor a temperature fitted",
        )
    )
    if first.kind.single_label:
        findings.append(_every_class(subject, first))
    return first


def _every_class(subject: str, task: PreparedTask) -> Finding:
    present = set(task.data.test.targets.tolist())
    names = [name for index, name in enumerate(task.data.info.classes) if index not in present]
    return _said(subject, not names, "has every class in test", f"has no test sample of {', '.join(names)}")


def _split_of(detail: str, place: int = 0) -> str:
    return detail.split()[place]  # "train sample equal to ID in test"


def _task_for(entry: Entry, prepared: dict[str, PreparedTask], own: list[str]) -> PreparedTask:
    wanted = (entry.meta["tasks"] or tuple(prepared) or own or ("digits",))[0]
    if wanted in own and wanted not in prepared:
        raise PluginError(f"was not checked, because the task {wanted} cannot be read; mend that first")
    return prepared[wanted] if wanted in prepared else prepare_task(wanted, 0)


def _model(path: str, entry: Entry, task: PreparedTask) -> Iterator[Finding]:
    subject = f"model {entry.name}"
    info: TaskInfo = task.data.info
    with seeded(0, torch.device("cpu")):
        built = entry.build(parse(f"{path}:{entry.name}"), task=info)
    wanted = task.kind.adapter
    is_adapter = isinstance(built, wanted)
    yield _said(
        subject,
        is_adapter,
        f"returns a {wanted.__name__}",
        f"returns {type(built).__name__}; wrap it: {wanted.__name__}(module)",
    )
    if not is_adapter:
        return
    known = built.weights is not None or built.recipe is not None
    yield _said(
        subject,
        known,
        "says where its weights come from",
        "has neither weights= nor recipe=, so that it would be measured as initialised; give one of them",
    )
    few = task.data.test.take(range(min(16, len(task.data.test))))
    with built.frozen():
        for name, passed, good, bad in _behaviour(built, task.kind, few, info.classes):
            yield _said(f"{subject} on {info.name}", passed(), f"{name}: {good}", f"{name}: {bad}")


def _behaviour(
    model: TorchModel, kind: Kind, few: Split, classes: Sequence[str]
) -> Iterator[tuple[str, Callable[[], bool], str, str]]:
    pixels, targets = torch.from_numpy(model.inputs(few)), torch.from_numpy(few.targets)
    with torch.no_grad():
        output = model(pixels)
    unfit = _unfit(kind, output, classes)
    yield "output", lambda: not unfit, f"fits the {len(classes)} classes of the task", unfit
    if kind.default_uncertainty == "softmax":
        yield (
            "scale",
            lambda: not _are_probabilities(output),
            "not probabilities",
            "rows are probabilities; return logits, a second softmax hides the gradient from attacks",
        )
    yield (
        "repeat",
        lambda: _same(model, pixels, output),
        "equal twice",
        "the same samples get another answer in a second call; seed what is random, and leave dropout off in eval()",
    )
    yield (
        "company",
        lambda: bool(torch.allclose(_alone(model, pixels), output, atol=1e-4)),
        "no sample depends on the others in its batch",
        "a sample's answer depends on the others in its batch; does eval() reach every BatchNorm?",
    )
    yield (
        "gradient",
        lambda: _has_gradient(*_entered(model, few, pixels), kind, targets),
        "finite, not zero",
        "the gradient on the input is NaN, zero or absent, so that attacks see nothing; do not detach or round",
    )


def _entered(model: TorchModel, few: Split, shown: torch.Tensor) -> tuple[TorchModel, torch.Tensor]:
    """Return where a gradient can be asked for: at the pixels, or at the embeddings of texts."""
    if shown.is_floating_point():
        return model, shown
    space = model.in_space("embedding")
    return space, torch.from_numpy(space.inputs(few))


def _unfit(kind: Kind, output: torch.Tensor, classes: Sequence[str]) -> str:
    try:
        kind.check_output(output, classes)
    except ModelError as error:
        return str(error)
    return ""


def _are_probabilities(logits: torch.Tensor) -> bool:
    sums = logits.double().sum(dim=1).numpy()
    return bool((logits >= 0).all()) and bool(np.allclose(sums, 1, atol=1e-4))


def _same(model: TorchModel, pixels: torch.Tensor, logits: torch.Tensor) -> bool:
    with torch.no_grad():
        return bool(torch.equal(model(pixels), logits))


def _alone(model: TorchModel, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(pixel[None]) for pixel in pixels])


def _has_gradient(model: TorchModel, pixels: torch.Tensor, kind: Kind, targets: torch.Tensor) -> bool:
    point, objective = pixels.clone().requires_grad_(True), kind.objective(model)
    with torch.enable_grad():
        raised = model(point).square() if objective is None else objective(point, targets, "ce", 0.0)[0]
        if not raised.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(raised.sum(), point, allow_unused=True)
    return gradient is not None and bool(torch.isfinite(gradient).all()) and bool((gradient != 0).any())


def _said(subject: str, passed: bool, good: str, bad: str) -> Finding:
    return Finding(subject, passed, good if passed else bad)
