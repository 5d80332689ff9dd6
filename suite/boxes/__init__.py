"""Everything that is counted about boxes: precision, localisation, states and calibration; numpy and scipy only."""

from suite.boxes.arrays import LEAST_SCORE
from suite.boxes.calibration import Events, Objects, d_ece, events, laace, laece, objects, oce
from suite.boxes.lrp import best_threshold, image_errors, optimal_lrp
from suite.boxes.matching import Matches, match
from suite.boxes.precision import average_precision, average_recall, mean_ap
from suite.boxes.resamples import mean_defined
from suite.boxes.states import rates, states

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
