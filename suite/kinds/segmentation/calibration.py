"""Calibration of segmenters: one distribution per pixel. Whole images are resampled, since pixels are correlated."""

from functools import partial
from typing import Any

import numpy as np

from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Prediction, Rescaling
from suite.kinds.classification.calibration import best_temperature, temperature_scaling
from suite.metrics.calibration import Diagram
from suite.metrics.catalogue import Metric
from suite.metrics.segmentation import (
    IGNORED,
    PIXEL_COLUMNS,
    REGIONS,
    SEGMENTATION_CALIBRATION,
    PixelEvents,
    pixel_sample,
)
from suite.metrics.segmentation.calibration import IMAGE_ECE, PIXEL_BRIER, PIXEL_CLASSWISE_ECE, PIXEL_ECE, PIXEL_NLL
from suite.metrics.stats import Statistic
from suite.metrics.stats.imagined import Imagined
from suite.metrics.table import Measured, Table
from suite.types import Measure

SAMPLE = 200_000
"""Maximum number of validation pixels that a temperature is fitted on."""

WIDTH = 2
"""Largest distance in pixels to a border between true classes at which a pixel belongs to the boundary."""

NO_PIXEL = "no valid pixel"
"""Reason of measures that are undefined because all pixels are ignored."""


def pixel_sums(prediction: Prediction) -> Measured:
    """Return sums over the pixels of each image, from which all measures follow, and a reliability diagram."""
    events = PixelEvents.of(prediction.predicted, prediction.targets, prediction.bins, WIDTH)
    return Measured(events.columns, sums={"reliability": Diagram(events.reliability(), "pixels")})


@metric(
    kind="segmentation",
    axis="calibration",
    per_method=True,
    entries=SEGMENTATION_CALIBRATION,
    measure=pixel_sums,
)
def segmentation_calibration(table: Table) -> list[Measure]:
    """Calibration of distributions: of all pixels, of the foreground and near class borders; and proper scores."""
    events = PixelEvents({name: table[name] for name in PIXEL_COLUMNS})
    bins = {"bins": int(table.facts["bins"])}

    def params_of(region: str) -> dict[str, Any]:
        named = {} if region == REGIONS[0] else {"region": region}
        return {**named, **bins, "pixels": int(events.pixels(region).sum())}

    def row(
        metric: Metric, values: Statistic, region: str = REGIONS[0], highest: float = 1.0, **fields: Any
    ) -> Measure:
        statistic = Imagined(events.pixels(region)[:, None], (0.0, highest)).statistic(
            lambda weights: values(weights)[:, None]
        )
        return table.resampled(metric, lambda weights: statistic(weights)[:, 0], added=Imagined.added, **fields)

    binned: dict[str, Any] = {"recentred": True, "why": f"{NO_PIXEL} of this kind"}
    return [
        *(row(PIXEL_ECE, partial(events.ece, name), name, params=params_of(name), **binned) for name in REGIONS),
        row(PIXEL_CLASSWISE_ECE, events.classwise_ece, params=bins, **binned),
        row(PIXEL_NLL, events.nll, highest=events.highest_nll, why=_why_no_nll(events)),
        row(PIXEL_BRIER, events.brier, highest=2.0, why=NO_PIXEL),
        _image_ece(table, events, bins),
    ]


def _why_no_nll(events: PixelEvents) -> str:
    if not events.impossible:
        return NO_PIXEL
    return f"{events.impossible} pixels have a true class of probability 0, so that the mean is infinite"


def _image_ece(table: Table, events: PixelEvents, params: dict[str, Any]) -> Measure:
    """Return the mean ECE of the images that have valid pixels; errors of images do not cancel in this mean."""
    per_image = events.per_image_ece()
    defined = np.isfinite(per_image)
    if not defined.any():
        return table.undefined(IMAGE_ECE, NO_PIXEL, n=len(table), params=params)
    return table.mean(IMAGE_ECE, per_image[defined], rows=defined, params=params)


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits a sample of validation pixels.

    It has no interval: the sandwich estimator assumes independent pixels, and those of one image are correlated.

    Raises:
        NotApplicableError: all pixels are ignored, or no temperature is best.
    """
    if not (targets != IGNORED).any():
        raise NotApplicableError("all validation pixels are ignored, so that a temperature cannot be fitted")
    temperature = best_temperature(*pixel_sample(output, targets, SAMPLE, 0), "pixels")
    return temperature_scaling(temperature, len(output))
