"""Metrics of object detection: average precision, LRP, states of objects, calibration; numpy and scipy only."""

from suite.metrics.detection.arrays import LEAST_SCORE
from suite.metrics.detection.calibration import (
    DETECTION_CALIBRATION,
    class_laace,
    class_laece,
    d_ece,
    events,
    laace,
    laece,
    objects,
    oce,
)
from suite.metrics.detection.lrp import OLRP, best_threshold, image_errors, imagined_lrp, optimal_lrp
from suite.metrics.detection.matching import Matches, match
from suite.metrics.detection.precision import (
    AVERAGE_RECALLS,
    CLASS_MAP,
    MAP,
    MAP50,
    MAP75,
    average_precision,
    average_recall,
    boxes_of,
    imagined_precision,
    imagined_recall,
    mean_ap,
)
from suite.metrics.detection.states import RATES, rates, states

__all__ = [
    "AVERAGE_RECALLS",
    "CLASS_MAP",
    "DETECTION_CALIBRATION",
    "LEAST_SCORE",
    "MAP",
    "MAP50",
    "MAP75",
    "OLRP",
    "RATES",
    "Matches",
    "average_precision",
    "average_recall",
    "best_threshold",
    "boxes_of",
    "class_laace",
    "class_laece",
    "d_ece",
    "events",
    "image_errors",
    "imagined_lrp",
    "imagined_precision",
    "imagined_recall",
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
