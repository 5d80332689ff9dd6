"""Calibration of detectors: whether a score is the chance of a hit. All by one rule of matching,
`suite.metrics.detection.RULE`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from suite.errors import NotApplicableError
from suite.kinds.base import Array, Calibrated, Rescaling
from suite.kinds.classification.calibration import by_temperature
from suite.metrics import detection as boxes
from suite.metrics.calibration import Reliability, fit_temperature
from suite.metrics.detection.calibration import RULE
from suite.metrics.stats import Statistic, resampled
from suite.types import Measure

D_ECE_BINS, LAECE_BINS = 10, 25
"""Bins of confidence of the two errors, as their authors have them."""

TINY = 1e-6
"""Distance of a score from 0 and 1 at which its log odds are cut."""

FEWEST = 20
"""Validation detections that a correction of scores needs."""


def calibrated(predicted: Array, targets: Array, *, seed: int, params: Mapping[str, Any], bins: int) -> Calibrated:
    """Return the calibration of detections (n, 100, 6): D-ECE, LaECE_0, LaACE_0 and OCE, with how many there were.

    Without detections the first three are undefined: nothing was said, so that nothing is calibrated.
    """
    classes = int(max(predicted[..., 5].max(initial=0), targets[..., 4].max(initial=0))) + 1
    # Detections are chosen before their scores are corrected: what then falls under the lowest score stays in.
    least = 0.0 if str(params.get("uncertainty", "")).endswith("+temperature") else boxes.LEAST_SCORE
    hits, overlaps = (boxes.events(predicted, targets, classes, tau, least=least) for tau in (0.5, 0.0))
    seen, count = boxes.objects(predicted, targets, classes, least=least), len(hits.confidence)
    told = {**params, "detections": count, "rule": dict(RULE)}
    nothing = "no detection reaches the lowest score, so that there is nothing to be calibrated"

    def measure(name: str, statistic: Statistic, why: str = nothing, **more: Any) -> Measure:
        fields: dict[str, Any] = {"seed": seed, "higher_is_better": False, "why": why, "params": {**told, **more}}
        return resampled(name, statistic, len(predicted), recentred=name != "oce", **fields)

    def of(function: Callable[..., Array], *given: Any) -> Statistic:
        return lambda counts: function(given[0], counts, *given[1:])

    measures = [
        measure("d_ece", of(boxes.d_ece, hits, D_ECE_BINS), bins=D_ECE_BINS),
        measure("laece", of(boxes.laece, overlaps, LAECE_BINS), bins=LAECE_BINS),
        measure("laace", of(boxes.laace, overlaps)),
        measure("oce", of(boxes.oce, seen), "no image has an object"),
    ]
    diagram = Reliability.from_events(hits.confidence, hits.correct, D_ECE_BINS).diagram() if count else {}
    per_image = np.bincount(hits.image, minlength=hits.images)
    return Calibrated(measures, {"detections": per_image}, diagram)


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature of the log odds of scores that fits which validation detections are hits.

    Its interval is left out: detections of one image go together.

    Raises:
        NotApplicableError: there are too few detections, or no temperature is best.
    """
    classes = int(max(output[..., 5].max(initial=0), targets[..., 4].max(initial=0))) + 1
    seen = boxes.events(output, targets, classes)
    if len(seen.confidence) < FEWEST:
        raise NotApplicableError(f"{len(seen.confidence)} validation detections are too few to fit a temperature on")
    odds = log_odds(seen.confidence)
    fit = fit_temperature(np.stack([np.zeros_like(odds), odds], axis=1), seen.correct.astype(np.int64))
    if not fit.converged:
        raise NotApplicableError(f"no temperature is best on {len(odds)} validation detections: {fit.reason}")
    told = by_temperature(fit.value, None, None, len(output))

    def apply(tables: Array) -> Array:
        scaled = tables.astype(np.float64)
        real = tables[..., 5] >= 0
        scaled[..., 4][real] = 1 / (1 + np.exp(-log_odds(scaled[..., 4][real]) / fit.value))
        return scaled

    return Rescaling(apply, told.measure)


def log_odds(scores: Array) -> Array:
    """Return the log odds of scores in [0, 1], cut where they would be infinite."""
    cut = np.clip(np.asarray(scores, dtype=np.float64), TINY, 1 - TINY)
    return np.asarray(np.log(cut) - np.log1p(-cut))
