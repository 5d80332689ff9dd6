"""Metrics of object detection: average precision, LRP, states of objects, calibration; numpy and scipy only."""

from suite.metrics.detection.arrays import LEAST_SCORE
from suite.metrics.detection.calibration import d_ece, events, laace, laece, objects, oce
from suite.metrics.detection.lrp import best_threshold, image_errors, optimal_lrp
from suite.metrics.detection.matching import Matches, match
from suite.metrics.detection.precision import average_precision, average_recall, mean_ap
from suite.metrics.detection.states import rates, states

__all__ = [
    "LEAST_SCORE",
    "Matches",
    "average_precision",
    "average_recall",
    "best_threshold",
    "d_ece",
    "events",
    "image_errors",
    "laace",
    "laece",
    "match",
    "mean_ap",
    "objects",
    "oce",
    "optimal_lrp",
    "rates",
    "states",
]
