"""Frozen data classes that all layers share; they do not depend on torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from suite.errors import MeasureError

SCHEMA = 2
"""Version of the stored rows; it increases when a field changes its meaning.

2: a number with a failed check has the status ``suspect``; in version 1 it was ``inconclusive``.
"""

NOT_APPLICABLE = "not-applicable"
"""The method of a measure that does not apply to a model or task; its reason says why."""

Status = Literal["ok", "suspect", "inconclusive", "failed", "skipped"]
Verdict = Literal["valid", "suspect", "invalid"]
Check = Literal["pass", "fail", "n/a"]


@dataclass(frozen=True)
class Sample:
    """One labeled input of a task.

    Attributes:
        id: stable and unique within the task; the outcomes of all axes are joined on it.
        input: for images an array (height, width) or (channels, height, width), uint8 in 0..255 or floating point in
            0..1; for texts a string.
        target: the ground truth; for classification a class name or a class index.
        shares: the fraction of annotators who chose each class, with sum 1; None if unknown.
    """

    id: str
    input: Any
    target: Any
    shares: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Rejected:
    """A record that is not a usable sample; the data report lists it with the reason."""

    id: str
    reason: str


@dataclass(frozen=True)
class Measure:
    """One number with its interval and the checks of it.

    Attributes:
        metric: the name of the metric.
        value: the estimate; None if it is undefined, with a `reason`.
        lo, hi: the interval of `value` at confidence `level`; None if there is none.
        n: number of samples that the value is computed from.
        method: the method of the interval, for example ``wilson`` or ``bootstrap-percentile(1000)``.
        params: what distinguishes this number from others of the same metric (eps, class, number of bins, ...).
        checks: the results of checks by name: pass, fail or n/a.
        control: the same measure for the random control of equal size; None if there is none.
        n_failed: number of samples without an outcome; they count against the model.
        reason: why the value is undefined or suspect.
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
        """``ok``; ``suspect``: a check failed; ``inconclusive``: undefined; ``skipped``: not applicable."""
        if self.method == NOT_APPLICABLE:
            return "skipped"
        if self.value is None:
            return "inconclusive"
        return "suspect" if "fail" in self.checks.values() else "ok"

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
        key: the SHA-256 of specs, data, model, code, n and seed (and, on the clean axis, of the names of the registered
            metrics), under which the record is stored.
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


@dataclass(frozen=True)
class Record:
    """Everything that is stored for one cell.

    Attributes:
        measures: the rows; for a failed or skipped cell one undefined measure with the reason.
        samples: per-sample outcomes by column name; ``id`` contains the sample ids.
        details: JSON values for the report: curves, confusion matrix, learning curve.
        arrays: numpy arrays for the report: images, perturbations, attribution maps.
    """

    provenance: Provenance
    run_info: RunInfo
    status: Status
    measures: tuple[Measure, ...]
    samples: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
