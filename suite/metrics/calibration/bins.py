"""Reliability bins: counts and sums from which every binned calibration error follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import DataError, MeasureError
from suite.metrics.calibration.debiased import DebiasedSquare, Gaps
from suite.metrics.calibration.inputs import BoolArray, FloatArray, IndexArray, checked_events
from suite.metrics.calibration.top import checked_top_labels

BINNING = "equal-width; (lo, hi]; 0 in the first bin, 1 in the last"
"""Convention of the bins; stored with every number that depends on them."""

_BLOCK = 8192
"""Events in one partial sum: a single running float64 sum of 4e7 equal terms would accumulate rounding errors."""


def bin_index(confidence: FloatArray, bins: int) -> IndexArray:
    """Return the bin 0..bins-1 of confidences in [0, 1], any shape, by the convention `BINNING`.

    Edges are the float64 numbers k / bins. Raises MeasureError unless `bins` >= 1.
    """
    if bins < 1:
        raise MeasureError(f"got {bins} bins; expected at least 1, such as 15.")
    flat = confidence.ravel()
    scaled = flat * bins
    index = np.ceil(scaled).astype(np.int64) - 1
    # The product is rounded, so next to an edge the value is compared with the edge itself.
    near = np.flatnonzero(np.abs(scaled - np.rint(scaled)) < 1e-9)
    index[near] = np.searchsorted(np.arange(bins + 1) / bins, flat[near], side="left") - 1
    return np.maximum(index, 0).reshape(confidence.shape)


def _block_sums(keys: IndexArray, values: FloatArray | BoolArray, bins: int) -> FloatArray:
    starts = range(0, keys.size, _BLOCK)
    parts = [np.bincount(keys[s : s + _BLOCK], values[s : s + _BLOCK], bins) for s in starts]
    # numpy sums contiguous rows pairwise, but columns one after the other.
    return np.asarray(np.ascontiguousarray(np.stack(parts, axis=1)).sum(axis=1))


SAMPLES = "samples"
"""What a reliability diagram counts if every sample has one confidence."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Counts and sums per bin of confidence.

    Attributes:
        counts: (bins,) int64 number of events.
        confidence_sums: (bins,) float64 sums of confidence.
        correct_sums: (bins,) float64 sums of correctness.
    """

    counts: IndexArray
    confidence_sums: FloatArray
    correct_sums: FloatArray

    def __post_init__(self) -> None:
        """Copy the arrays and make the copies read-only."""
        for name, dtype in (("counts", np.int64), ("confidence_sums", np.float64), ("correct_sums", np.float64)):
            array = np.array(getattr(self, name), dtype=dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not self.counts.shape == self.confidence_sums.shape == self.correct_sums.shape or self.counts.ndim != 1:
            raise DataError("counts and sums differ in shape; expected three arrays of shape (bins,).")

    @classmethod
    def from_events(cls, confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> Reliability:
        """Return the bins of (n,) confidences and (n,) correctness, both in [0, 1].

        Raises:
            DataError: a value is not finite or outside [0, 1], there are none, or the lengths differ.
        """
        return cls._binned(*checked_events(confidence, correct), bins)

    @classmethod
    def from_probabilities(cls, probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Reliability:
        """Return the bins of the top labels of probabilities (n, classes), given class indices (n,).

        Raises:
            DataError: a row is no distribution, or a label no class.
        """
        return cls._binned(*checked_top_labels(probabilities, labels), bins)

    @classmethod
    def _binned(cls, confidence: FloatArray, correct: FloatArray | BoolArray, bins: int) -> Reliability:
        keys = bin_index(confidence, bins)
        counts = np.bincount(keys, minlength=bins)
        return cls(counts, _block_sums(keys, confidence, bins), _block_sums(keys, correct, bins))

    @property
    def bins(self) -> int:
        """Number of bins."""
        return self.counts.size

    @property
    def n(self) -> int:
        """Number of events."""
        return int(self.counts.sum())

    def _means(self, sums: FloatArray) -> list[float | None]:
        pairs = zip(sums.tolist(), self.counts.tolist(), strict=True)
        return [total / count if count else None for total, count in pairs]

    def _require_events(self) -> int:
        if self.n == 0:
            raise DataError("the reliability bins hold no events; expected at least one before an error is computed.")
        return self.n

    def __add__(self, other: Reliability) -> Reliability:
        """Return the bins of both sets of events."""
        return Reliability(
            self.counts + other.counts,
            self.confidence_sums + other.confidence_sums,
            self.correct_sums + other.correct_sums,
        )

    def ece(self) -> float:
        """Return the plug-in expected calibration error, in [0, 1] (Guo et al. 2017); biased upwards."""
        return float(np.abs(self.correct_sums - self.confidence_sums).sum() / self._require_events())

    def debiased_square(self, level: float = 0.95) -> DebiasedSquare:
        """Return the debiased squared error of 0/1 outcomes, sum of p (gap^2 - y(1 - y)/(n - 1)) over bins.

        Formula: Broecker (2012), Kumar et al. (2019); p is a bin's share, n its number of samples, y its accuracy. For
        the interval see `suite.metrics.calibration.debiased`.
        """
        self._require_events()
        gaps = Gaps.of_counts(self.counts, self.confidence_sums, self.correct_sums)
        return gaps.square(level)


@dataclass(frozen=True)
class Diagram:
    """A reliability diagram that adds up over samples.

    Attributes:
        bins: the bins of confidence.
        events: what is counted, in the plural; anything but samples is not independent within a sample.
    """

    bins: Reliability
    events: str = SAMPLES

    def __add__(self, other: Diagram) -> Diagram:
        """Return the diagram of both sets of events."""
        return Diagram(self.bins + other.bins, self.events)

    def to_json(self) -> dict[str, Any]:
        """Return the diagram as JSON values; empty without any event.

        They are the edges, and per bin the count, the mean confidence and the accuracy, None if the bin is empty.
        """
        if not self.bins.n:
            return {}
        return {
            "events": self.events,
            "edges": (np.arange(self.bins.bins + 1) / self.bins.bins).tolist(),
            "count": self.bins.counts.tolist(),
            "confidence": self.bins._means(self.bins.confidence_sums),
            "accuracy": self.bins._means(self.bins.correct_sums),
        }
