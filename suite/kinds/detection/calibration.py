"""Calibration of detectors: whether scores are probabilities of a true positive.

All errors match detections with objects by one rule, `suite.metrics.detection.RULE`.
"""

from functools import partial
from typing import Any

import numpy as np

from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Prediction, Rescaling
from suite.kinds.classification.calibration import best_temperature
from suite.kinds.detection.targets import class_count
from suite.metrics import detection as boxes
from suite.metrics.calibration import Diagram, Reliability
from suite.metrics.catalogue import Metric
from suite.metrics.detection import DETECTION_CALIBRATION
from suite.metrics.detection.calibration import D_ECE, LAACE, LAECE, OCE, RULE
from suite.metrics.stats import Statistic
from suite.metrics.stats.imagined import Imagined
from suite.metrics.table import Measured, Table
from suite.types import Measure

D_ECE_BINS, LAECE_BINS = 10, 25
"""Confidence bins of the two errors, as in the papers that define them."""

OCE_RANGE = (0.0, 2.0)
"""Lowest and highest OCE of an object."""

TINY = 1e-6
"""Smallest distance from 0 and 1 to which scores are clipped before taking log odds."""

FEWEST = 20
"""Fewest validation detections that a temperature can be fitted on."""


def scored_detections(prediction: Prediction) -> Measured:
    """Return the detections with their scores, and a reliability diagram; an empty one without detections.

    Detections are selected before recalibration: those whose score then falls below the threshold are kept.
    """
    least = 0.0 if prediction.method.endswith("+temperature") else boxes.LEAST_SCORE
    detections, truth = prediction.predicted, prediction.targets
    hits = boxes.events(detections, truth, class_count(detections, truth), least=least)
    events = hits.confidence, hits.correct
    empty = Reliability(*np.zeros((3, D_ECE_BINS)))
    bins = Reliability.from_events(*events, D_ECE_BINS) if len(hits.confidence) else empty
    diagram = Diagram(bins, "detections")
    return Measured({"detections": detections}, {"least_score": least}, sums={"reliability": diagram})


@metric(
    kind="detection",
    axis="calibration",
    per_method=True,
    entries=DETECTION_CALIBRATION,
    measure=scored_detections,
)
def detection_calibration(table: Table) -> list[Measure]:
    """D-ECE, LaECE_0, LaACE_0 and OCE; without detections the first three are undefined."""
    given, least = (table["detections"], table["boxes"]), float(table.facts["least_score"])
    classes = class_count(*given)
    hits, overlaps = (boxes.events(*given, classes, tau, least=least) for tau in (0.5, 0.0))
    objects = boxes.objects(*given, classes, least=least)
    common = {"detections": len(hits.confidence), "rule": dict(RULE)}
    why = "no detection reaches the lowest score, so that there is nothing to be calibrated"
    by_class = Imagined(overlaps.per_image)
    d_ece = Imagined(hits.per_image.sum(axis=1, keepdims=True)).statistic(
        lambda weights: boxes.d_ece(hits, weights, bins=D_ECE_BINS)[:, None]
    )
    laece = by_class.statistic(partial(boxes.class_laece, overlaps, bins=LAECE_BINS), first_is_mean=True)
    laace = by_class.statistic(partial(boxes.class_laace, overlaps), first_is_mean=True)
    oce = Imagined(objects.per_image[:, None], OCE_RANGE).statistic(
        lambda weights: boxes.oce(objects, weights)[:, None]
    )

    def row(metric: Metric, statistic: Statistic, bins: dict[str, int], **fields: Any) -> Measure:
        return table.resampled(
            metric, lambda weights: statistic(weights)[:, 0], params={**common, **bins}, added=Imagined.added, **fields
        )

    return [
        row(D_ECE, d_ece, {"bins": D_ECE_BINS}, recentred=True, why=why),
        row(LAECE, laece, {"bins": LAECE_BINS}, recentred=True, why=why),
        row(LAACE, laace, {}, why=why),
        row(OCE, oce, {}, why="no image has an object"),
    ]


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

    return Rescaling(apply, temperature, len(output))


def log_odds(scores: Array) -> Array:
    """Return the log odds of scores in [0, 1], which are clipped so that the odds are finite."""
    clipped = np.clip(np.asarray(scores, dtype=np.float64), TINY, 1 - TINY)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
