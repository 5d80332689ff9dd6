"""Frozen data classes that all layers share; they do not depend on torch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from suite.errors import MeasureError

SCHEMA = 3
"""Version of the stored rows; it increases when a field changes its meaning.

3: records describe themselves: kind, input, metrics and typed per-sample columns.
"""

NOT_APPLICABLE = "not-applicable"
"""The method of a measure that does not apply to a model or task; its reason says why."""

Status = Literal["ok", "suspect", "inconclusive", "failed", "skipped"]
Verdict = Literal["valid", "suspect", "invalid"]
Check = Literal["pass", "fail", "n/a"]


InputType = Literal["image", "text", "latent", "embedding", "vector"]


@dataclass(frozen=True)
class Input:
    """What the samples of a task, or the inputs of a model, are.

    Attributes:
        type: image, (channels, height, width) in [0, 1]; text, code points (characters,); latent, embedding or vector,
            numbers of any shape.
        noun: what one sample is called, in the singular.
        element: what one number of it is called, in the singular.
        discrete: whether it has no gradient; texts do not.
        fixed_length: whether all samples have one meaningful length; texts are then not padded for insertions.
        has_words: whether models get the vocabulary of the training samples.
    """

    type: InputType
    noun: str
    element: str
    discrete: bool = False
    fixed_length: bool = True
    has_words: bool = False


IMAGE = Input("image", "image", "pixel")
TEXT = Input("text", "text", "character", discrete=True, fixed_length=False, has_words=True)
WINDOW = Input("text", "window", "character", discrete=True)
EMBEDDING = Input("embedding", "text", "embedding")
LATENT = Input("latent", "latent", "latent dimension")
VECTOR = Input("vector", "sample", "feature")


@dataclass(frozen=True)
class Capabilities:
    """What a model can do.

    Attributes:
        gradient: whether its output has a gradient with respect to its input, or to the embeddings of its tokens.
        layers: whether it has a convolution whose activations Grad-CAM can use.
        dropout: whether it has active dropout layers.
        embedding: whether it has word embeddings.
        tokens: whether it exposes how it splits a text into tokens.
        max_batch: the largest batch that it takes; None for no limit.
        deterministic: whether it declares that equal inputs give equal outputs; the probes of attacks check it.
    """

    gradient: bool = True
    layers: bool = False
    dropout: bool = False
    embedding: bool = False
    tokens: bool = False
    max_batch: int | None = None
    deterministic: bool = True


DisplayType = Literal[
    "image", "text", "latent", "embedding", "vector", "class", "probability", "boxes", "mask", "map", "region",
    "number", "flag", "id", "name", "spans",
]  # fmt: skip
"""What an array shows: images (n, c, h, w), uint8 or float in [0, 1]; texts, code points (n, characters); class
indices, (n,) or one per character (n, positions); boxes (n, k, 6): x1, y1, x2, y2, score, class, or true ones;
masks of classes (n, h, w); maps of attributions (n, h, w); regions, bool (n, h, w); names of features (n, features)."""


@dataclass(frozen=True)
class Display:
    """An array for the report, with what it shows.

    Attributes:
        values: one entry per sample, (n, ...), unless `per_sample` is false.
        type: what an entry is.
        role: the part that it plays, such as ``input``, ``changed``, ``truth``, ``prediction``, ``attribution``.
        params: the condition, such as the corruption or the method.
        per_sample: whether there is one entry per sample of the gallery.
    """

    values: Any
    type: DisplayType
    role: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    per_sample: bool = True


@dataclass(frozen=True)
class Deferred:
    """An input or a target on disk that is read when it is needed, perhaps more than once and in another thread.

    Attributes:
        read: returns the value, the same at every call; raises a DataError that says why it cannot be read. A
            `functools.partial` of a function of a module can be sent to other processes; a lambda cannot.
        files: paths of everything that it reads. The digest of the data is made from their contents; without files,
            the value is read for it.
        key: what the value depends on beside the files, such as the size to which an image is scaled.
    """

    read: Callable[[], Any]
    files: tuple[str, ...] = ()
    key: str = ""

    def then(self, function: Callable[[Any], Any], key: str) -> "Deferred":
        """Return what a function makes of the value; `key` says what the function depends on."""
        return Deferred(partial(_after, self.read, function), self.files, f"{self.key}; {key}")


def _after(read: Callable[[], Any], function: Callable[[Any], Any]) -> Any:
    return function(read())


@dataclass(frozen=True)
class Sample:
    """One labeled input of a task.

    Attributes:
        id: stable and unique within the task; the outcomes of all axes are joined on it.
        input: for images an array (height, width) or (channels, height, width), uint8 in 0..255 or floating point in
            0..1; for texts a string; or a `Deferred` that returns one.
        target: the ground truth; for classification a class name or a class index; or a `Deferred` that returns it.
        shares: the fraction of annotators who chose each class, with sum 1; None if unknown.
        group: what the sample belongs to, such as a patient or a camera; None if unknown.
    """

    id: str
    input: Any
    target: Any
    shares: tuple[float, ...] | None = None
    group: str | None = None


@dataclass(frozen=True)
class Rejected:
    """A record that is not a usable sample; the data report lists it with the reason."""

    id: str
    reason: str


@dataclass(frozen=True)
class Remark:
    """A sentence about the data as a whole, without a full stop; a task yields it beside its samples."""

    text: str


@dataclass(frozen=True)
class ClassNames:
    """The classes of a data set in the order in which models number them; a task yields it before its samples.

    Argument ``classes=`` of the task comes first. Classes without samples stay, since the others would move.

    Attributes:
        names: each class once.
        source: what the order is taken from, such as ``data.yaml`` or ``folder names sorted as text``.
    """

    names: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Measure:
    """One number with its interval and the checks of it.

    Attributes:
        metric: the name of the metric.
        value: the estimate; None if it is undefined, with a `reason`.
        lo, hi: the interval of `value` at confidence `level`; None if there is none.
        n: number of samples that the value is computed from.
        method: the method of the interval, for example ``clopper-pearson`` or ``bootstrap-percentile(600)``;
            ``none(...)`` if the samples allow no interval.
        params: what distinguishes this number from others of the same metric (eps, class, number of bins, ...).
        checks: the results of checks by name: pass, fail or n/a.
        control: the same measure for the random control of equal size; None if there is none.
        n_failed: number of samples without an outcome; they count against the model.
        reason: why the value is undefined, suspect or without an interval.
        groups: number of groups of dependent samples, such as patients; None if samples are independent.
    """

    metric: str
    value: float | None
    lo: float | None
    hi: float | None
    n: int
    method: str
    level: float = 0.95
    unit: str = "fraction"
    higher_is_better: bool | None = True
    params: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Check] = field(default_factory=dict)
    control: float | None = None
    n_failed: int = 0
    reason: str | None = None
    groups: int | None = None

    def __post_init__(self) -> None:
        for name in ("value", "lo", "hi", "control"):
            number = getattr(self, name)
            if number is not None:
                if not math.isfinite(number):
                    raise MeasureError(
                        f"{self.metric}: {name} is {number}; expected a finite number. "
                        "Use None with a reason for an undefined number."
                    )
                object.__setattr__(self, name, float(number))
        if self.value is None and not self.reason:
            raise MeasureError(f"{self.metric}: the value is None without a reason; give one.")
        if self.value is not None and self.lo is not None and self.hi is not None:
            slack = 1e-9 * max(1.0, abs(self.value))
            if not self.lo - slack <= self.value <= self.hi + slack:
                raise MeasureError(
                    f"{self.metric}: value {self.value} lies outside its interval [{self.lo}, {self.hi}] "
                    f"({self.method}); the interval must contain the value."
                )

    @property
    def status(self) -> Status:
        """``ok``; ``suspect``: a check failed; ``skipped``: not applicable.

        ``inconclusive``: undefined, or without an interval because of too few samples.
        """
        if self.method == NOT_APPLICABLE:
            return "skipped"
        if self.value is None:
            return "inconclusive"
        if "fail" in self.checks.values():
            return "suspect"
        return "inconclusive" if self.method.startswith("none(") else "ok"

    @property
    def verdict(self) -> Verdict:
        """Whether the number can be trusted; see `verdict_of`."""
        return verdict_of(self.status)


def verdict_of(status: str) -> Verdict:
    """Return whether the number of a row can be trusted, from its status.

    ``valid``: all applicable checks passed. ``suspect``: a check of the number failed; a suspect robust accuracy is an
    upper bound, because a stronger attack would lower it. ``invalid``: there is no number, because it is undefined,
    failed, was skipped, or has a status that this version does not know.
    """
    if status == "ok":
        return "valid"
    return "suspect" if status == "suspect" else "invalid"


def not_applicable(metric: str, reason: str, **params: Any) -> Measure:
    """Return a measure without a value, for a metric that does not apply to a model or task."""
    return Measure(metric, None, None, None, 0, NOT_APPLICABLE, params=params, reason=reason)


@dataclass(frozen=True)
class Cell:
    """One unit of work: one axis for one model on one task; picklable, so that any process can run it.

    Attributes:
        task, model, axis: spec strings.
        n: maximum number of test samples; None for all.
        seed: seed of training, attacks and resampling.
    """

    task: str
    model: str
    axis: str
    n: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Provenance:
    """The provenance of a record; equal for two runs of one command on one machine.

    Attributes:
        key: the SHA-256 of specs, data, model, code, package versions, n and seed, and of the names of the registered
            metrics and uncertainty methods that the axis asks, under which the record is stored.
        dtype: the floating-point type of the model's parameters.
        batch_size: samples of every forward pass; fewer than the key says if memory ran out.
        digests: SHA-256 of the data, the model (its weights, or everything that training depends on), the code, the
            environment and the sample ids.
    """

    key: str
    task: str
    task_version: str
    kind: str
    model: str
    axis: str
    spec: str
    n: int
    seed: int
    digests: Mapping[str, str]
    device: str
    dtype: str
    batch_size: int
    suite_version: str
    schema: int = SCHEMA


@dataclass(frozen=True)
class RunInfo:
    """What differs between two runs of one command: run id, time, duration, memory and commit."""

    run: str
    time: str
    wall_s: float
    peak_mb: float
    git: str
