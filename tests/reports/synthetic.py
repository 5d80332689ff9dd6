"""A small realistic store: two working models, one that failed, and names that try to inject markup."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from suite.leaderboard import Board
from suite.leaderboard.text import board_table
from suite.metrics.stats import clopper_pearson
from suite.metrics.table import Column
from suite.records.record import About, LabelSpace, Record
from suite.store import Store
from suite.types import IMAGE, Display, DisplayType, Input, Measure, Provenance, RunInfo, Status
from tests.reports.declared import ACCURACY, declared

TASK = "digits(size=8)"
GOOD, WEAK, BROKEN = "convnet(width=16)", "linear", "broken"
HOSTILE_TASK = "<script>window.hacked=1</script>![x](http://evil.invalid/a.png)[y](javascript:hack()) $\\alpha$ :red[z]"
HOSTILE_MODEL = "`</code><img src=x onerror=window.hacked=1> ![i](http://evil.invalid/b.png) **bold** :smile: $x^2$"
HOSTILE_FAILED = "second <i>model</i>"
HOSTILE_CLASS = "<b>ok</b> :red[r] $y$ <a href='http://evil.invalid'>c</a>"
HOSTILE_REASON = "<script>window.hacked=1</script> www.evil.invalid [l](javascript:hack()) `tick` %{x} :material/home:"
SUSPECT_REASON = "more steps raised the accuracy from 0.50 to 0.55"
EPS = (0.02, 0.05, 0.1)
METHODS = ("saliency", "integrated_gradients", "smoothgrad", "occlusion", "gradcam", "random")
AREAS = {"deletion": "deletion_auc", "insertion": "insertion_auc", "context_deletion": "context_deletion_auc"}
UNCERTAINTY = ("softmax", "softmax+temperature", "mc_dropout", "ensemble")


PARTS: dict[str, DisplayType] = {
    "prediction": "class",
    "confidence": "probability",
    "boxes": "boxes",
    "mask": "mask",
    "generated": "image",
    "reconstruction": "image",
    "divergence": "number",
    "on_manifold": "flag",
}
"""Parts of an output, and what they show."""

WHOLE = ("generated", "interpolated", "nearest", "prompt", "temperature")
"""Arrays that do not have one entry per sample."""


def about_task(
    headline: str = ACCURACY.name, outcome: str = "binary", quality: str = "correct predictions", what: Input = IMAGE
) -> About:
    return About(headline, outcome, quality, what, labels=LabelSpace())


def columns(**values: Any) -> list[Column]:
    """Return columns without a condition."""
    return [Column(name, np.asarray(value)) for name, value in values.items()]


def typed(arrays: Mapping[str, Any], what: DisplayType = "image", truth: DisplayType = "class") -> dict[str, Display]:
    """Return the arrays of a gallery with what they show.

    Args:
        arrays: by their usual names.
        what: what the inputs are.
        truth: what the targets are.
    """
    known: dict[str, tuple[DisplayType, str]] = {
        "ids": ("id", "ids"),
        "clean": (what, "input"),
        "images": (what, "input"),
        "codes": ("text", "input"),
        "adversarial": (what, "changed"),
        "worst": (what, "changed"),
        "eps": ("number", "size"),
        "label": (truth, "truth"),
        "names": ("name", "features"),
        "present": ("flag", "present"),
        "spans": ("spans", ""),
        "region": ("region", "region"),
        "score": ("probability", ""),
        "heat": ("map", ""),
        "generated": (what, "generated"),
        "prompt": ("text", "prompt"),
        "temperature": ("number", "temperature"),
        **{name: ("image", name) for name in ("reconstructed", "interpolated", "nearest")},
    }
    return {name: _typed(name, np.asarray(values), known) for name, values in arrays.items()}


def _typed(name: str, values: np.ndarray, known: Mapping[str, tuple[DisplayType, str]]) -> Display:
    if name in known:
        return Display(values, *known[name], per_sample=name not in WHOLE)
    first, _, rest = name.partition("_")
    if first in ("map", "attribution"):
        return Display(values, "map" if first == "map" else "number", "attribution", {"method": rest})
    if rest in PARTS:  # clean_mask, adversarial_mask, worst_mask
        return Display(values, PARTS[rest], "prediction" if first == "clean" else "changed_prediction")
    if name in PARTS:
        return Display(values, PARTS[name], "prediction")
    if first == "image" or first in PARTS:  # image_fog, mask_fog
        changed = "" if rest == "clean" else "changed"
        role = (changed or "input") if first == "image" else f"{changed}_prediction".removeprefix("_")
        return Display(values, PARTS.get(first, "image"), role, {"corruption": rest} if changed else {})
    return Display(values, "number", per_sample=values.ndim > 0)


def provenance(model: str, spec: str, *, task: str = TASK, **changes: Any) -> Provenance:
    axis = spec.split("(")[0]
    base = Provenance(
        key=hashlib.sha256(repr((task, model, spec, changes)).encode()).hexdigest(),
        task=task,
        task_version="1",
        kind="classification",
        model=model,
        axis=axis,
        spec=spec,
        n=300,
        seed=0,
        digests={"data": "d" * 64, "model": "m" * 64, "code": "c" * 64, "env": "e" * 64},
        device="cpu",
        dtype="float32",
        batch_size=64,
        suite_version="0.1.0",
    )
    return replace(base, **changes)


def run_info(time: str = "2026-05-01T12:00:00+00:00") -> RunInfo:
    return RunInfo(run="run-1", time=time, wall_s=1.5, peak_mb=300.0, git="abc1234")


def measured(metric: str, outcomes: np.ndarray, **more: Any) -> Measure:
    right, n = int(outcomes.sum()), len(outcomes)
    lo, hi = (float(x) for x in clopper_pearson(right, n))
    return Measure(metric, right / n, lo, hi, n, "clopper-pearson", **more)


def about(metric: str, value: float, *, width: float = 0.02, n: int = 300, **more: Any) -> Measure:
    return Measure(metric, value, value - width, value + width, n, "bootstrap-percentile(1000)", **more)


def undefined(model: str) -> Record:
    """Return a record whose robust accuracies are undefined although its cell did not fail."""
    record = robustness(model, "pgd", 0.9)
    nothing = {"value": None, "lo": None, "hi": None, "reason": "the outputs are NaN on 12 of 300 samples"}
    return replace(record, measures=tuple(replace(measure, **nothing) for measure in record.measures))


def printed(board: Board, width: int = 120) -> str:
    """Return a board as it is printed on a terminal."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(board_table(board, width=width))
    return console.file.getvalue()


def ids(n: int) -> list[str]:
    return [f"test/{i:05d}" for i in range(n)]


def clean(model: str, accuracy: float, classes: list[str], *, task: str = TASK, n: int = 300, **changes: Any) -> Record:
    draw = np.random.default_rng(7)
    label = draw.integers(len(classes), size=n)
    difficulty = draw.permutation(n) / n
    correct = difficulty < accuracy
    prediction = np.where(correct, label, (label + 1) % len(classes))
    recalls = [
        measured("recall", correct[label == k], params={"class": name})
        for k, name in enumerate(classes)
        if (label == k).any()
    ]
    overall = about("macro_f1", accuracy - 0.004)
    when = changes.pop("time", "2026-05-01T12:00:00+00:00")
    measures = (measured("accuracy", correct), about("balanced_accuracy", accuracy - 0.002), overall, *recalls)
    return Record(
        provenance(model, "clean", task=task, n=n, **changes),
        run_info(when),
        "ok",
        measures,
        about_task(),
        declared(measures),
        columns(
            id=ids(n),
            label=label,
            prediction=prediction,
            correct=correct,
            confidence=draw.uniform(0.5, 1, n),
            top5=np.ones(n, bool),
        ),
        facts={"classes": classes},
        details={
            "data": {
                "kept": {"train": 1000, "validation": 200, "test": n},
                "dropped": {"duplicate of a training sample": [["test/00007", "same pixels as train/00012"]]},
                "source": "scikit-learn digits",
            },
            "training": training(),
        },
    )


def training() -> dict[str, Any]:
    epochs = [
        {
            "epoch": e,
            "train_loss": 2.0 * 0.7**e + 0.05,
            "validation_loss": 2.0 * 0.75**e + 0.12 + 0.01 * max(0, e - 7),
            "train_accuracy": 1 - 0.8 * 0.7**e,
            "validation_accuracy": 0.96 - 0.8 * 0.72**e,
        }
        for e in range(1, 13)
    ]
    return {
        "epochs": epochs,
        "chosen_epoch": 8,
        "stopped": "early",
        "recipe": "adamw, learning rate 0.003, batch 64, cosine",
        "seconds": 3.1,
        "seed": 0,
    }


def robustness(
    model: str, attack: str, accuracy: float, *, fails: bool = False, task: str = TASK, norm: str = "linf"
) -> Record:
    n = 300
    difficulty = np.random.default_rng(7).permutation(n) / n
    sizes = {eps: accuracy * (1 - 0.6 * eps / EPS[-1]) for eps in EPS}
    checks: Mapping[str, Any] = {
        "eps0_equals_clean": "pass",
        "falls_with_eps": "pass",
        "more_steps_never_help": "fail" if fails else "pass",
        "random_does_less": "n/a",
    }
    outcomes = {eps: difficulty < share for eps, share in sizes.items()}
    measures = tuple(
        measured(
            "robust_accuracy",
            outcomes[eps],
            params={"attack": attack, "norm": norm, "eps": eps, **({"reference": True} if eps == EPS[1] else {})},
            control=accuracy - eps / 5,
            checks=checks,
            reason=SUSPECT_REASON if fails else None,
        )
        for eps in EPS
    )
    curve = [{"size": 0.0, **_around(accuracy), **_around(accuracy, "random")}] + [
        {"size": eps, **_around(share), **_around(accuracy - eps / 5, "random")} for eps, share in sizes.items()
    ]
    spec = f"robustness(attack={attack}(eps=[0.02, 0.05, 0.1], norm={norm}, steps=20))"
    return Record(
        provenance(model, spec, task=task),
        run_info(),
        "ok",
        measures,
        about_task(),
        declared(measures),
        under_attack({**outcomes, 0.0: difficulty < accuracy}, norm),
        facts={
            "classes": [f"{digit}" for digit in range(10)],
            "attack": attack_facts(attack, norm, f"{attack}(eps=[0.02, 0.05, 0.1], steps=20)"),
            "checks": {
                name: [status, f"{name.replace('_', ' ')}: compared 300 samples."] for name, status in checks.items()
            },
        },
        details={"curve": curve},
        arrays=typed(gallery()),
    )


def attack_facts(
    name: str, norm: str, spec: str = "", size: str = "eps", unit: str = "", **more: Any
) -> dict[str, Any]:
    return {"name": name, "spec": spec or name, "norm": norm, "size_name": size, "unit": unit, "space": "input", **more}


def under_attack(outcomes: Mapping[float, np.ndarray], norm: str, size: str = "eps") -> list[Column]:
    """Return the outcomes of samples by size; size 0 is without attack."""
    conditions = {key: {"norm": norm, size: key} if key else {} for key in outcomes}
    quality = [Column("quality", np.asarray(outcomes[key]), params) for key, params in conditions.items()]
    return [*columns(id=ids(len(outcomes[0.0]))), *quality]


def patch(model: str, accuracy: float) -> Record:
    difficulty = np.random.default_rng(7).permutation(300) / 300
    share = {"area": 0.1}
    measures = (
        measured(
            "robust_accuracy",
            difficulty < accuracy,
            params={"attack": "patch", "norm": "patch", "reference": True, **share},
            control=0.9,
            checks={"random_does_less": "pass"},
        ),
        about("control_accuracy", 0.91, params={"attack": "patch", "control": "grey", **share}),
        about("control_accuracy", 0.90, params={"attack": "patch", "control": "random", **share}),
    )
    curve = [
        {"size": size, **_around(0.95 - size), **_around(0.95, "random"), **_around(0.95, "grey")}
        for size in (0.0, 0.1)
    ]
    checks = {"random_does_less": ["pass", "A random patch of the same size left 90 % of predictions correct."]}
    covers = {"quantity": "share of the image covered"}
    patches = Display(np.random.default_rng(3).uniform(size=(1, 3, 3)), "image", "patch", per_sample=False)
    return Record(
        provenance(model, "robustness(attack=patch(area=0.1))"),
        run_info(),
        "ok",
        measures,
        about_task(),
        declared(measures),
        under_attack({0.0: difficulty < 0.95, 0.1: difficulty < accuracy}, "patch", "area"),
        facts={
            "attack": attack_facts("patch", "patch", "patch(area=0.1)", "area", "%", **covers),
            "checks": checks,
        },
        details={"curve": curve},
        arrays={**typed(gallery()), "patch": patches},
    )


def _around(value: float, name: str = "value") -> dict[str, float]:
    return {name: value, f"{name}_lo": max(0.0, value - 0.04), f"{name}_hi": min(1.0, value + 0.04)}


def digit_like(k: int = 4, size: int = 8) -> np.ndarray:
    row, column = np.mgrid[0:size, 0:size] - (size - 1) / 2
    radius = np.hypot(row, column)
    return np.stack([np.exp(-((radius - 2 - 0.3 * i) ** 2) / (1 + 0.2 * i)) for i in range(k)])[:, None]


def gallery(k: int = 4) -> dict[str, Any]:
    draw = np.random.default_rng(5)
    images = digit_like(k)
    adversarial = np.clip(images + 0.05 * np.sign(draw.normal(size=images.shape)), 0, 1)
    return {
        "ids": np.array(ids(k)),
        "clean": images,
        "adversarial": adversarial,
        "eps": np.full(k, 0.05),
        "label": np.arange(k) % 3,
        "clean_prediction": np.arange(k) % 3,
        "clean_confidence": np.linspace(0.99, 0.8, k),
        "adversarial_prediction": np.array([1, 1, 0, 0][:k]),
        "adversarial_confidence": np.linspace(0.6, 0.9, k),
    }


def calibration(model: str, accuracy: float, *, task: str = TASK) -> Record:
    draw = np.random.default_rng(11)
    measures: list[Measure] = []
    diagrams = {}
    low = {"higher_is_better": False}
    for i, uncertainty in enumerate(UNCERTAINTY):
        params = {"params": {"uncertainty": uncertainty}}
        ece = 0.061 - 0.012 * i
        measures += [
            about("ece", ece, width=0.01, **low, **params),
            about("ece_noise_floor", 0.021, width=0.005, **low, **params),
            about("nll", 0.21 - 0.01 * i, unit="nats", **low, **params),
            about("brier", 0.09, unit="score", **low, **params),
            about("aurc", 0.012 + (1 - accuracy) / 5, width=0.004, **low, **params),
            about("accuracy", accuracy, **params),
        ]
        diagrams[uncertainty] = reliability(draw, i)
    measures.append(Measure("temperature", 1.7, None, None, 200, "none", unit="ratio", higher_is_better=None))
    correct = np.random.default_rng(7).permutation(300) / 300 < accuracy
    return Record(
        provenance(model, "calibration(bins=15)", task=task),
        run_info(),
        "ok",
        tuple(measures),
        about_task(),
        declared(measures),
        [
            *columns(id=ids(300), label=np.zeros(300, int), prediction=np.zeros(300, int), correct=correct),
            Column("confidence", np.full(300, 0.9), {"uncertainty": "softmax"}),
        ],
        facts=calibration_facts(diagrams, 1.7),
    )


def calibration_facts(diagrams: Mapping[str, Any], temperature: float | None) -> dict[str, Any]:
    methods = [
        {"params": {"uncertainty": name}, "facts": {"reliability": diagram}} for name, diagram in diagrams.items()
    ]
    fitted = {"reason": "no temperature"} if temperature is None else {"value": temperature, "n": 200, "error": None}
    return {"methods": methods, "temperature": fitted, "bins": 15}


def reliability(draw: np.random.Generator, better: int, events: str = "samples") -> dict[str, Any]:
    edges = np.linspace(0, 1, 16)
    middle = (edges[1:] + edges[:-1]) / 2
    count = np.round(np.where(middle < 0.4, 0, 300 * middle**6 / 3)).astype(int)
    count[-1] += 300 - count.sum()
    seen = count > 0
    accuracy = np.clip(middle - 0.05 + 0.015 * better + draw.normal(0, 0.02, 15), 0, 1)
    return {
        "events": events,
        "edges": edges.tolist(),
        "count": count.tolist(),
        "confidence": [float(m) if s else None for m, s in zip(middle, seen, strict=True)],
        "accuracy": [float(a) if s else None for a, s in zip(accuracy, seen, strict=True)],
    }


def attribution(model: str, *, beats: bool = True, task: str = TASK) -> Record:
    measures: list[Measure] = []
    curves = {}
    samples = columns(id=ids(100))
    draw = np.random.default_rng(13)
    fractions = np.linspace(0, 1, 11)
    for i, method in enumerate(METHODS):
        gain = 0.0 if method == "random" or not beats else 0.05 * (i + 1)
        check: dict[str, Any] = {} if method == "random" else {"beats_random": "pass" if gain > 0 else "fail"}
        curves[method] = {}
        for baseline in ("mean", "blur"):
            params = {"method": method, "baseline": baseline}
            more = {"params": params, "checks": check, "unit": "probability"}
            measures += [
                about("deletion_auc", 0.5 - gain, control=0.5, higher_is_better=False, **more),
                about("insertion_auc", 0.5 + gain, control=0.5, **more),
            ]
            noise = draw.normal(scale=0.1, size=100)
            samples.append(Column("insertion_auc", 0.5 + gain + noise - noise.mean(), params))
            curves[method][f"deletion/{baseline}"] = (0.95 * (1 - fractions) ** (0.9 + 4 * gain)).tolist()
            curves[method][f"insertion/{baseline}"] = (0.95 * fractions ** (1 / (0.9 + 4 * gain))).tolist()
        measures.append(about("infidelity", 0.03, higher_is_better=False, unit="score", params={"method": method}))
    images = digit_like()
    maps = {
        f"map_{method}": images[:, 0] - 0.4 + 0.1 * np.random.default_rng(i).normal(size=images[:, 0].shape)
        for i, method in enumerate(METHODS)
    }
    arrays = {
        "ids": np.array(ids(4)),
        "images": images,
        "label": np.arange(4) % 3,
        "prediction": np.arange(4) % 3,
        "confidence": np.linspace(0.99, 0.8, 4),
        **maps,
    }
    return Record(
        provenance(model, "attribution(cells=4)", task=task),
        run_info(),
        "ok",
        tuple(measures),
        about_task(),
        declared(measures),
        samples,
        facts={"classes": [f"{digit}" for digit in range(10)]},
        details={"curves": curves, "areas": AREAS, "fractions": fractions.tolist()},
        arrays=typed(arrays),
    )


def failed(
    model: str,
    spec: str,
    reason: str,
    *,
    task: str = TASK,
    status: Status = "failed",
    time: str = "2026-05-01T12:00:00+00:00",
    **changes: Any,
) -> Record:
    measure = Measure("-", None, None, None, 0, "none", higher_is_better=None, reason=reason)
    return Record(
        provenance(model, spec, task=task, **{"digests": {"data": "unknown", "model": "unknown"}, **changes}),
        run_info(time),
        status,
        (measure,),
    )


def crowd(root: Path, models: int) -> Store:
    """Fill a store as `fill` does, and add a task with many models, with about 80 rows each."""
    store = fill(root)
    for m in range(models):
        name, accuracy = f"model{m:02d}", 0.99 - 0.03 * m
        store.put(clean(name, accuracy, [f"{digit}" for digit in range(10)], task="crowd"))
        store.put(robustness(name, "pgd", accuracy, task="crowd"))
        store.put(calibration(name, accuracy, task="crowd"))
        store.put(attribution(name, task="crowd"))
    return store


def fill(root: Path) -> Store:
    """Fill a store with a plain task of three models and a task whose every name is hostile."""
    store = Store(root)
    classes = [f"{digit}" for digit in range(10)]
    for model, accuracy in ((GOOD, 0.97), (WEAK, 0.96)):
        store.put(clean(model, accuracy, classes))
        store.put(robustness(model, "pgd", accuracy - (0 if model == GOOD else 0.3)))
        store.put(robustness(model, "fgsm", accuracy, fails=model == WEAK))
        store.put(robustness(model, "cw", accuracy - 0.05, norm="l2"))
        store.put(patch(model, 0.6))
        store.put(calibration(model, accuracy))
    store.put(attribution(GOOD))
    store.put(attribution(WEAK, beats=False))
    store.put(failed(BROKEN, "clean", "TrainingError: the loss became NaN in epoch 2; lower the learning rate."))
    store.put(failed(BROKEN, "calibration(bins=15)", "the model could not be trained", status="skipped"))
    store.put(clean(HOSTILE_MODEL, 0.9, [HOSTILE_CLASS, "plain", "$z$"], task=HOSTILE_TASK))
    store.put(robustness(HOSTILE_MODEL, "pgd", 0.9, task=HOSTILE_TASK))
    store.put(calibration(HOSTILE_MODEL, 0.9, task=HOSTILE_TASK))
    store.put(attribution(HOSTILE_MODEL, task=HOSTILE_TASK))
    store.put(failed(HOSTILE_FAILED, "clean", HOSTILE_REASON, task=HOSTILE_TASK))
    return store
