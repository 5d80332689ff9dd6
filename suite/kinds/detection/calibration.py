"""Calibration of detectors: whether scores are probabilities of a true positive.

All errors match detections with objects by one rule, `suite.metrics.detection.RULE`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from suite.errors import NotApplicableError
from suite.kinds.base import Array, Calibrated, Rescaling
from suite.kinds.classification.calibration import best_temperature, temperature_scaling
from suite.kinds.detection.targets import class_count
from suite.metrics import detection as boxes
from suite.metrics.calibration import Reliability
from suite.metrics.detection.calibration import RULE
from suite.metrics.stats import Statistic, resampled
from suite.types import Measure

D_ECE_BINS, LAECE_BINS = 10, 25
"""Confidence bins of the two errors, as in the papers that define them."""

TINY = 1e-6
"""Smallest distance from 0 and 1 to which scores are clipped before taking log odds."""

FEWEST = 20
"""Fewest validation detections that a temperature can be fitted on."""


def calibrated(predicted: Array, targets: Array, *, seed: int, params: Mapping[str, Any], bins: int) -> Calibrated:
    """Return the calibration of detections (n, 100, 6): D-ECE, LaECE_0, LaACE_0 and OCE, with their number.

    Without detections the first three are undefined.
    """
    classes = class_count(predicted, targets)
    # Detections are selected before recalibration: those whose score then falls below the threshold are kept.
    least = 0.0 if str(params.get("uncertainty", "")).endswith("+temperature") else boxes.LEAST_SCORE
    hits, overlaps = (boxes.events(predicted, targets, classes, tau, least=least) for tau in (0.5, 0.0))
    objects, count = boxes.objects(predicted, targets, classes, least=least), len(hits.confidence)
    common = {**params, "detections": count, "rule": dict(RULE)}
    nothing = "no detection reaches the lowest score, so that there is nothing to be calibrated"

    def measure(name: str, statistic: Statistic, why: str = nothing, **more: Any) -> Measure:
        fields: dict[str, Any] = {"seed": seed, "higher_is_better": False, "why": why, "params": {**common, **more}}
        return resampled(name, statistic, len(predicted), recentred=name != "oce", **fields)

    measures = [
        measure("d_ece", lambda counts: boxes.d_ece(hits, counts, D_ECE_BINS), bins=D_ECE_BINS),
        measure("laece", lambda counts: boxes.laece(overlaps, counts, LAECE_BINS), bins=LAECE_BINS),
        measure("laace", partial(boxes.laace, overlaps)),
        measure("oce", partial(boxes.oce, objects), "no image has an object"),
    ]
    diagram = Reliability.from_events(hits.confidence, hits.correct, D_ECE_BINS).diagram() if count else {}
    return Calibrated(measures, {"detections": np.bincount(hits.image, minlength=hits.images)}, diagram)


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature of the scores' log odds, fitted to whether validation detections are true positives.

    It has no interval: detections of one image are correlated.

    Raises:
        NotApplicableError: there are too few detections, or no temperature is best.
    """
    events = boxes.events(output, targets, class_count(output, targets))
    if len(events.confidence) < FEWEST:
        raise NotApplicableError(f"{len(events.confidence)} validation detections are too few to fit a temperature on")
    odds = log_odds(events.confidence)
    logits = np.stack([np.zeros_like(odds), odds], axis=1)
    temperature = best_temperature(logits, events.correct.astype(np.int64), "detections")

    def apply(tables: Array) -> Array:
        scaled = tables.astype(np.float64)
        real = tables[..., 5] >= 0
        scaled[..., 4][real] = 1 / (1 + np.exp(-log_odds(scaled[..., 4][real]) / temperature))
        return scaled

    return Rescaling(apply, temperature_scaling(temperature, len(output)).measure)


def log_odds(scores: Array) -> Array:
    """Return the log odds of scores in [0, 1], which are clipped so that the odds are finite."""
    clipped = np.clip(np.asarray(scores, dtype=np.float64), TINY, 1 - TINY)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
