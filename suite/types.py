"""The values that travel between the layers: frozen, and free of torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from suite.errors import MeasureError

SCHEMA = 2
"""Version of the stored row; raised whenever a field changes its meaning.

2: a number with a failed check has the status ``suspect``; under 1 it shared ``inconclusive`` with what is undefined.
"""

NOT_APPLICABLE = "not-applicable"
"""The method of a measure that this model or task has no use for; its reason says why."""

Status = Literal["ok", "suspect", "inconclusive", "failed", "skipped"]
Verdict = Literal["valid", "suspect", "invalid"]
Check = Literal["pass", "fail", "n/a"]


@dataclass(frozen=True)
class Sample:
    """One labelled input of a task.

    Attributes:
        id: stable and unique within the task; outcomes of all axes are joined on it.
        input: what the model sees; for images an array (height, width) or (channels, height, width), uint8 in
            0..255 or floating point in 0..1; for texts a string.
        target: what is true of it; for classification a class name or a class index.
        shares: where several people were asked, the share of them who chose each class, adding up to 1.
    """

    id: str
    input: Any
    target: Any
    shares: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Rejected:
    """A record that a task could not turn into a sample; the data report names it and its reason."""

    id: str
    reason: str


@dataclass(frozen=True)
class Measure:
    """One number with its interval, and the evidence that it means something.

    Attributes:
        metric: the name of what was measured.
        value: the estimate, or None where it is undefined; then `reason` says why.
        lo, hi: the interval of `value` at confidence `level`, or None where there is none.
        n: how many samples the value rests on.
        method: how the interval was made, for example ``wilson`` or ``bootstrap-percentile(1000)``.
        params: what distinguishes this number from others of the same metric (eps, class, number of bins, ...).
        checks: what was verified about it: name to pass, fail or n/a.
        control: the same measure for the random control of equal size, where there is one.
        n_failed: how many samples had no outcome; they count against the model.
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
                        "Give None and a reason for what is undefined."
                    )
                object.__setattr__(self, name, float(number))
        if self.value is None and not self.reason:
            raise MeasureError(f"{self.metric}: the value is undefined without a reason; give one.")
        if self.value is not None and self.lo is not None and self.hi is not None:
            slack = 1e-9 * max(1.0, abs(self.value))
            if not self.lo - slack <= self.value <= self.hi + slack:
                raise MeasureError(
                    f"{self.metric}: value {self.value} lies outside its interval [{self.lo}, {self.hi}] "
                    f"({self.method}); the interval must belong to the value."
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
        """Whether the number can be believed; see `verdict_of`."""
        return verdict_of(self.status)


def verdict_of(status: str) -> Verdict:
    """Return what a row's status says about its number.

    ``valid``: every check that applies passed. ``suspect``: there is a number, but a check of it failed; a suspect
    robust accuracy is an upper bound, since a better attack would find more. ``invalid``: there is no number to
    believe, for it is undefined, failed, was skipped, or has a status that this version does not know.
    """
    if status == "ok":
        return "valid"
    return "suspect" if status == "suspect" else "invalid"


def not_applicable(metric: str, reason: str, **params: Any) -> Measure:
    """Return the measure that stands where a number makes no sense for this model or task."""
    return Measure(metric, None, None, None, 0, NOT_APPLICABLE, params=params, reason=reason)


@dataclass(frozen=True)
class Cell:
    """One unit of work: an axis asked of a model on a task. Small and picklable, so that any worker can run it.

    Attributes:
        task, model, axis: spec strings.
        n: how many test samples at most; None for all.
        seed: seed of training, attacks and resampling.
    """

    task: str
    model: str
    axis: str
    n: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Provenance:
    """Where a record's numbers come from; equal for two runs of one command on one machine.

    Attributes:
        key: the content address: what was asked, of what, by which code.
        digests: SHA-256 of the data, the model (its weights, or all that training depends on), the code, the
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
    """What differs between two runs of one command: when it ran, how long it took, from which commit."""

    run: str
    time: str
    wall_s: float
    peak_mb: float
    git: str


@dataclass(frozen=True)
class Record:
    """All that one cell leaves behind.

    Attributes:
        measures: the rows; for a cell that failed or was skipped, one undefined measure with the reason.
        samples: per-sample outcomes: column name to values; ``id`` is the sample's id.
        details: JSON values for pages of the report: curves, confusion, learning curve.
        arrays: numpy arrays for pages of the report: images, perturbations, maps.
    """

    provenance: Provenance
    run_info: RunInfo
    status: Status
    measures: tuple[Measure, ...]
    samples: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
