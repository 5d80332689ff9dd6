"""Ratios of sums over samples of unequal size, with one imagined sample at either bound.

A class that few images show says little about the images of it that were not seen. So each end of an interval has one
more image, in which everything of the class is wrong, or right; see `Added`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from suite.metrics.stats.interval import too_few, without_interval
from suite.metrics.stats.resampled import WORST_AND_BEST, Added, Array, Statistic, mean_defined, ratio
from suite.types import Measure

FEWEST_SAMPLES = 2
"""Fewest samples with units of a class for an interval of its ratio: by simulation, one sample does not tell their
size."""


@dataclass(frozen=True, eq=False)
class Imagined:
    """Two imagined samples beside n real ones, in which k ratios have their lowest and their highest value.

    A ratio is a mean over units: pixels, true boxes, detections. The weights of a statistic are (r, n + 2).

    Attributes:
        units: number of units of each ratio in each sample, (n, k).
        bounds: the lowest and the highest value of a ratio.
        unknown: ratios that the samples tell nothing about, bool (k,); their imagined samples decide alone. None if all
            are known.
    """

    units: Array
    bounds: tuple[float, float] = (0.0, 1.0)
    unknown: Array | None = None

    added: ClassVar[Added] = WORST_AND_BEST
    """The weights of the two samples at both ends."""

    @property
    def sizes(self) -> Array:
        """The units of an imagined sample, (k,): the size of the sample that an average unit lies in."""
        total = self.units.sum(axis=0)
        size = np.square(self.units, dtype=np.float64).sum(axis=0) / np.maximum(total, 1e-300)
        return np.asarray(size if self.unknown is None else np.where(self.unknown, 1e9 * total, size))

    @property
    def samples(self) -> Array:
        """The number of samples of average size that hold the units of a ratio, (k,); infinite without any unit."""
        sizes = self.sizes
        return np.asarray(np.where(sizes > 0, self.units.sum(axis=0) / np.maximum(sizes, 1e-300), np.inf))

    def statistic(self, values: Callable[[Array], Array], *, first_is_mean: bool = False) -> Statistic:
        """Return ratios under the weights of real and imagined samples, (r, n + 2) to (r, k).

        Args:
            values: the ratios under weights of the real samples, (r, n) to (r, k); NaN if undefined.
            first_is_mean: put the mean of the k ratios before them, (r, 1 + k). An unseen sample has the strongest
                effect on the mean through the ratio of the fewest samples; in the mean, only this one changes.
        """
        sizes = self.sizes
        rarest = np.arange(len(sizes)) == np.argmin(self.samples)

        def value(weights: Array | None) -> Array:
            real, low, high = self._split(weights)
            own, whole, more = values(real), real @ self.units, low + high
            part = np.where(whole > 0, own, 0.0) * whole + (self.bounds[0] * low + self.bounds[1] * high) * sizes
            each = np.where(more > 0, ratio(part, whole + more * sizes), own)
            if not first_is_mean:
                return each
            return np.concatenate([mean_defined(np.where(rarest, each, own))[:, None], each], axis=1)

        return value

    def _split(self, weights: Array | None) -> tuple[Array, Array, Array]:
        """Return the weights of the real samples (r, n), and of the imagined ones (r, 1) each."""
        n = len(self.units)
        if weights is None:
            return np.ones((1, n)), np.zeros((1, 1)), np.zeros((1, 1))
        return weights[:, :n], weights[:, n, None], weights[:, n + 1, None]


def imagined_ratios(
    part: Array, whole: Array, *, first_is_mean: bool = False, unknown: Array | None = None
) -> Statistic:
    """Return sums of parts (n, k) over sums of wholes (n, k) in [0, 1], for intervals with `Imagined.added`."""
    return Imagined(whole, unknown=unknown).statistic(
        lambda weights: ratio(weights @ part, weights @ whole), first_is_mean=first_is_mean
    )


def remembered(values: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return the function with its values kept by their weights.

    Both ends of an interval have the same weights of real samples, so that a slow statistic is computed once.
    """
    kept: dict[int, Array] = {}

    def value(weights: Array) -> Array:
        key = hash(weights.tobytes())
        if key not in kept:
            kept[key] = values(weights)
        return kept[key]

    return value


def too_rare(measure: Measure, samples: int, name: str) -> Measure:
    """Return the measure of a class that occurs in some samples, without an interval if these are too few."""
    if measure.value is None or samples >= FEWEST_SAMPLES:
        return measure
    return without_interval(measure, too_few(samples, FEWEST_SAMPLES, f"images with {name}"))
