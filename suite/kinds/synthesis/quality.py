"""Quality of generated images: metrics of their features, and of their distance to the training images.

The control of every row is the same metric for real images of the validation split in place of generated ones: no
generator can be expected to do better at this number of images.
"""

from dataclasses import dataclass, replace
from typing import Any

from suite.kinds.base import Array
from suite.kinds.synthesis.judge import WIDTH
from suite.kinds.synthesis.memorization import IMAGE_MEMORIZATION, image_memorization, row_fields
from suite.kinds.synthesis.pools import CONTROL, GENERATED, REAL
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.generation import (
    Neighbors,
    compared,
    frechet_distance,
    frechet_error,
    kernel_distance,
    kernel_interval,
)
from suite.metrics.generation.fid import GROUPS
from suite.metrics.generation.kid import FEWEST, FEWEST_INTERVAL, KERNEL
from suite.metrics.stats import FEW_SAMPLES, Interval, clopper_pearson, too_few
from suite.metrics.stats.quantiles import quantile_of_level
from suite.metrics.table import Table
from suite.types import Measure

K, DENSE = 3, 5
"""Neighbors of precision and recall, and of density and coverage, as in the papers that define them."""

KID_METHOD = "bootstrap-t and jackknife of both sets"
"""Interval method of the kernel distance."""

COVERAGE_METHOD = "korn-graubard, jackknife of the real images"
"""Interval method of the coverage."""

GROUPED = f"jackknife of groups of both sets ({GROUPS})"
"""Interval method of the Fréchet distance."""

KID = Metric(
    "kid",
    "KID",
    "distance between generated and real images (kernel distance of features); 0 is none",
    unit="squared distance",
    higher_is_better=False,
    control="real",
    columns=(BoardColumn("KID"),),
    descriptive=("control", "subset", "subsets"),
)
FID = Metric(
    "fid",
    "FID",
    "distance between generated and real images (Fréchet distance of features)",
    unit="squared distance",
    higher_is_better=False,
    control="real",
    columns=(BoardColumn("FID"),),
    descriptive=("control",),
)
PRECISION = Metric(
    "precision",
    "precision",
    "share of generated images that look real: in the features of a classifier, they are as close to a real image as "
    "real images are to each other",
    control="real",
    columns=(BoardColumn("precision"),),
    is_headline=True,
    outcome="on_manifold",
    descriptive=("control", "proxy"),
)
RECALL = Metric(
    "recall",
    "recall",
    "share of real images that look generated, a measure of variety",
    control="real",
    descriptive=("control",),
)
DENSITY = Metric(
    "density",
    "density",
    "number of real neighborhoods that a generated image lies in; 1 is the value for real images",
    unit="balls over k",
    bounds=(0.0, None),
    control="real",
    descriptive=("control",),
)
COVERAGE = Metric(
    "coverage",
    "coverage",
    "share of real images with a generated image in their neighborhood",
    control="real",
    columns=(BoardColumn("coverage"),),
    descriptive=("control",),
)
QUALITY = (KID, FID, PRECISION, RECALL, DENSITY, COVERAGE, IMAGE_MEMORIZATION)
"""The metrics of `quality_measures`, in their order."""


def quality_measures(table: Table) -> list[Measure]:
    """Return the metrics of `QUALITY` in their order, image_memorization by pixels and by features.

    An undefined value has a reason.
    """
    table = table.of_others()
    scores, controls = (Scores(table, name).measures() for name in (GENERATED, CONTROL))
    count = len(table.of(CONTROL, "features"))
    rows = [_with_control(one, other, count) for one, other in zip(scores, controls, strict=True)]
    return [*rows, *(image_memorization(table, space) for space in ("pixels", "features"))]


def _with_control(measure: Measure, control: Measure, count: int) -> Measure:
    params = {**measure.params, "control": f"{count} real images of the validation and training splits"}
    return replace(measure, control=control.value, params=params)


@dataclass(frozen=True)
class Scores:
    """Scores of a population of images against real ones."""

    table: Table
    population: str

    @property
    def real(self) -> Array:
        """The features of the real images, (n, features)."""
        return self.table.of(REAL, "features")

    @property
    def features(self) -> Array:
        """The features of the images, (m, features)."""
        return self.table.of(self.population, "features")

    def measures(self) -> list[Measure]:
        """Return kid, fid, precision, recall, density and coverage."""
        return [self.kid(), self.fid(), *self.neighbors()]

    def kid(self) -> Measure:
        """Return the kernel distance."""
        if undefined := self._undefined(KID, FEWEST):
            return undefined
        real, features, table = self.real, self.features, self.table
        kid = kernel_distance(real, features, seed=table.seed)
        interval, fields = (
            Interval(None, None, FEW_SAMPLES),
            self._fields(KID, kernel=KERNEL, subsets=kid.subsets, subset=kid.size),
        )
        if kid.size < FEWEST_INTERVAL:
            fields["reason"] = too_few(kid.size, FEWEST_INTERVAL, "images")
        else:
            interval = Interval(*kernel_interval(real, features, seed=table.seed, level=table.level), KID_METHOD)
        return interval.measure(KID.name, kid.value, len(features), level=table.level, **fields)

    def fid(self) -> Measure:
        """Return the Fréchet distance."""
        fewer = min(len(self.features), len(self.real))
        if undefined := self._undefined(FID, WIDTH + 1 + -(-fewer // GROUPS)):  # the jackknife leaves out a group
            return undefined
        value = frechet_distance(self.real, self.features)
        error = frechet_error(self.real, self.features, seed=self.table.seed)
        fields = self._fields(FID, dimensions=WIDTH, covers="the value to expect at this number of images")
        return self._normal(FID, (value, error, 0.0), GROUPED, fields)

    def neighbors(self) -> list[Measure]:
        """Return precision, recall, density and coverage."""
        metrics, table = (PRECISION, RECALL, DENSITY, COVERAGE), self.table
        undefined = [self._undefined(one, DENSE + 1) for one in metrics]
        if missing := [one for one in undefined if one is not None]:
            return missing
        scores = compared(self.real, self.features, k=K, dense=DENSE)
        over_generated = "generated images, the real ones as given"
        over_real = "real images, the generated ones as given"
        return [
            table.rate(PRECISION, scores.realistic, **self._more(k=K, covers=over_generated)),
            table.rate(RECALL, scores.recalled, **self._more(k=K, covers=over_real)),
            table.mean(DENSITY, scores.density, **self._more(k=DENSE, covers=over_generated)),
            self._coverage(scores, {"k": DENSE, "covers": over_real}),
        ]

    def _coverage(self, scores: Neighbors, params: dict[str, Any]) -> Measure:
        """Return the coverage with the interval of as many independent outcomes as have its standard error."""
        value, n, fields = float(scores.covered.mean()), len(scores.covered), self._fields(COVERAGE, **params)
        spread, square = value * (1 - value), scores.covered_error**2
        size = min(n, spread / square) if spread and square > 0 else n
        interval = Interval(*clopper_pearson(value * size, size, self.table.level), COVERAGE_METHOD)
        return interval.measure(COVERAGE.name, value, n, level=self.table.level, **fields)

    def _normal(
        self, metric: Metric, estimate: tuple[float, float, float], method: str, fields: dict[str, Any]
    ) -> Measure:
        """Return a measure with a normal interval from its value, standard error and lowest possible value."""
        value, error, lowest = estimate
        half = quantile_of_level(self.table.level) * error
        bounds = (max(lowest, value - half), value + half)
        return Measure(metric.name, value, *bounds, len(self.features), method, self.table.level, **fields)

    def _undefined(self, metric: Metric, needed: int) -> Measure | None:
        """Return an undefined measure if there are too few images."""
        fewer = min(len(self.features), len(self.real))
        if fewer >= needed:
            return None
        reason = f"{fewer} usable images on one side; expected at least {needed}"
        return self.table.undefined(metric, reason, n=fewer, **self._more())

    def _fields(self, metric: Metric, **params: Any) -> dict[str, Any]:
        return self.table.fields(metric, **self._more(**params))

    def _more(self, **params: Any) -> dict[str, Any]:
        return row_fields(self.table, **params)
