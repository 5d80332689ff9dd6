"""Calibration of segmenters: one distribution per pixel. Whole images are resampled, since pixels are correlated."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from suite.errors import NotApplicableError
from suite.kinds.base import Array, Calibrated, Rescaling
from suite.kinds.classification.calibration import best_temperature, temperature_scaling
from suite.metrics.segmentation import IGNORED, REGIONS, PixelEvents, pixel_sample
from suite.metrics.stats import resampled, sums_ratio

CHUNK = 16
"""Images whose pixels are counted at once."""

SAMPLE = 200_000
"""Maximum number of validation pixels that a temperature is fitted on."""

WIDTH = 2
"""Largest distance in pixels to a border between true classes at which a pixel belongs to the boundary."""


def calibrated(predicted: Array, targets: Array, *, seed: int, params: Mapping[str, Any], bins: int) -> Calibrated:
    """Return the calibration of distributions (n, classes, h, w): of all pixels, the foreground and the boundaries."""
    events = PixelEvents(predicted.shape[1], bins, WIDTH)
    for start in range(0, len(predicted), CHUNK):
        events.add(predicted[start : start + CHUNK], targets[start : start + CHUNK])

    def params_of(region: str) -> dict[str, Any]:
        named = {} if region == "pooled" else {"region": region}
        return {**params, **named, "bins": bins, "pixels": int(np.sum(events.pixels(region)))}

    n, per_image = len(predicted), events.per_image_ece()
    defined = np.isfinite(per_image)
    mean_per_image = sums_ratio(np.where(defined, per_image, 0), defined)  # errors of images do not cancel in this mean
    with_bins = {**params, "bins": bins}
    infinite = f"{events.impossible} pixels have a true class of probability 0, so that the mean is infinite"
    common: dict[str, Any] = {"seed": seed, "higher_is_better": False}
    binned: dict[str, Any] = {**common, "recentred": True, "why": "no valid pixel of this kind"}
    scores: dict[str, Any] = {**common, "params": dict(params)}
    empty = "no valid pixel"
    measures = [
        *(resampled("ece", partial(events.ece, region), n, params=params_of(region), **binned) for region in REGIONS),
        resampled("classwise_ece", events.classwise_ece, n, params=with_bins, **binned),
        resampled("nll", events.nll, n, unit="nat", why=infinite if events.impossible else empty, **scores),
        resampled("brier", events.brier, n, unit="squared error", why=empty, **scores),
        resampled("image_ece", mean_per_image, n, params=with_bins, why=empty, **common),
    ]
    return Calibrated(measures, {"image_ece": per_image}, events.reliability().diagram())


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
