"""An interval, or why there is none."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError
from suite.metrics.stats.weights import FloatArray
from suite.types import Measure

ONE_SAMPLE = "none(one sample)"
ONE_GROUP = "none(one group)"
CONSTANT = "none(constant sample)"
FEW_SAMPLES = "none(too few samples)"
REASONS = {
    ONE_SAMPLE: "one sample gives no interval",
    ONE_GROUP: "all samples are of one group, which gives no interval",
    CONSTANT: "the value is the same for all samples, from which no interval follows",
    FEW_SAMPLES: "too few samples",
}
"""Why a value has no interval, by the method that says so."""


@dataclass(frozen=True)
class Interval:
    """The ends of an interval, None if there is none, and the method that gave it."""

    lo: float | None
    hi: float | None
    method: str

    def measure(self, metric: str, value: float, n: int, **fields: Any) -> Measure:
        """Return a measure of n samples with this interval and further fields of `Measure`."""
        if self.method in REASONS:
            fields["reason"] = fields.get("reason") or REASONS[self.method]
        return Measure(metric, value, self.lo, self.hi, n, self.method, **fields)


def too_few(n: int, needed: int, of: str = "samples") -> str:
    """Return the reason of a value that n samples are too few for, and how many are needed."""
    return f"too few {of} (n = {n:,}; about {needed:,} are needed)"


def without_interval(measure: Measure, reason: str) -> Measure:
    """Return a measure that keeps its value, but for whose interval there are too few samples."""
    return replace(measure, lo=None, hi=None, method=FEW_SAMPLES, reason=reason)


def finite_values(name: str, values: ArrayLike) -> FloatArray:
    """Return values as a (n,) float64 array.

    Raises:
        DataError: they are empty, not one-dimensional, or not all finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"{name}: got values of shape {array.shape}; expected (n,) with n >= 1.")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise DataError(f"{name}: {count} of {array.size} values are not finite; drop them and count them as failed.")
    return array
