"""Calibration of segmenters: a distribution per pixel, resampled by images because pixels of an image go together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from suite.errors import NotApplicableError
from suite.kinds.base import Array, Calibrated, Rescaling
from suite.kinds.classification.calibration import by_temperature
from suite.metrics.calibration import fit_temperature
from suite.metrics.segmentation import IGNORED, REGIONS, PixelEvents, pixel_sample
from suite.metrics.stats import resampled
from suite.types import Measure

CHUNK = 16
"""Images whose pixels are counted at once."""

SAMPLE = 200_000
"""Validation pixels that a temperature is fitted on, at most."""

WIDTH = 2
"""Distance in pixels to the nearest border between true classes up to which a pixel belongs to the boundary."""


def calibrated(predicted: Array, targets: Array, *, seed: int, params: Mapping[str, Any], bins: int) -> Calibrated:
    """Return the calibration of distributions (n, classes, h, w): of all pixels, the foreground and the boundaries."""
    events = PixelEvents(predicted.shape[1], bins, WIDTH)
    for start in range(0, len(predicted), CHUNK):
        events.add(predicted[start : start + CHUNK], targets[start : start + CHUNK])
    n, measures = len(predicted), list[Measure]()
    common: dict[str, Any] = {"seed": seed, "higher_is_better": False, "why": "no pixel of this kind counts"}
    binned: dict[str, Any] = {**common, "recentred": True}
    for region in REGIONS:

        def ece(counts: Array | None, region: str = region) -> Array:
            return events.ece(region, counts)

        named = {} if region == "pooled" else {"region": region}
        told = {**params, **named, "bins": bins, "pixels": int(np.sum(events.pixels(region)))}
        measures.append(resampled("ece", ece, n, params=told, **binned))
    measures.append(resampled("classwise_ece", events.classwise_ece, n, params={**params, "bins": bins}, **binned))
    infinite = f"{events.impossible} pixels have a true class of probability 0, so that the mean is infinite"
    infinite = infinite if events.impossible else "no pixel counts"
    scores: dict[str, Any] = {**common, "params": dict(params)}
    measures.append(resampled("nll", events.nll, n, unit="nat", **{**scores, "why": infinite}))
    measures.append(resampled("brier", events.brier, n, unit="squared error", **scores))
    measures.append(_per_image(events, params, bins, seed))
    return Calibrated(measures, {"image_ece": events.per_image_ece()}, events.reliability().diagram())


def _per_image(events: PixelEvents, params: Mapping[str, Any], bins: int, seed: int) -> Measure:
    """Return the mean over images of each one's own error, which lets no image make up for another."""
    errors = events.per_image_ece()
    known = np.isfinite(errors)

    def mean(counts: Array | None) -> Array:
        drawn = known[None].astype(float) if counts is None else counts * known
        whole = drawn.sum(axis=1)
        sums = drawn @ np.where(known, errors, 0)
        return np.asarray(np.divide(sums, whole, out=np.full(len(whole), np.nan), where=whole > 0))

    fields: dict[str, Any] = {"higher_is_better": False, "params": {**params, "bins": bins}}
    if not known.any():
        return Measure("image_ece", None, None, None, len(errors), "none", reason="no pixel counts", **fields)
    return resampled("image_ece", mean, len(errors), seed=seed, **fields)


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits a sample of validation pixels.

    Its interval is left out: pixels of one image go together, and the sandwich formula takes them for independent.

    Raises:
        NotApplicableError: no pixel counts, or no temperature is best.
    """
    if not (targets != IGNORED).any():
        raise NotApplicableError("no validation pixel counts, so that there is nothing to fit a temperature on")
    logits, labels = pixel_sample(output, targets, SAMPLE, 0)
    fit = fit_temperature(logits, labels)
    if not fit.converged:
        raise NotApplicableError(f"no temperature is best on {len(labels)} validation pixels: {fit.reason}")
    return by_temperature(fit.value, None, None, len(output))
