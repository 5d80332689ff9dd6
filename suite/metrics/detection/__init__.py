"""Everything that is counted about boxes: precision, localisation, states and calibration; numpy and scipy only."""

from suite.metrics.detection.arrays import LEAST_SCORE
from suite.metrics.detection.calibration import Events, Objects, d_ece, events, laace, laece, objects, oce
from suite.metrics.detection.lrp import best_threshold, image_errors, optimal_lrp
from suite.metrics.detection.matching import Matches, match
from suite.metrics.detection.precision import average_precision, average_recall, mean_ap
from suite.metrics.detection.resamples import mean_defined
from suite.metrics.detection.states import rates, states

__all__ = [
    "LEAST_SCORE",
    "Events",
    "Matches",
    "Objects",
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
    "mean_defined",
    "objects",
    "oce",
    "optimal_lrp",
    "rates",
    "states",
]
