"""Calibration, proper scores, selective prediction and temperature scaling; numpy and scipy only."""

from suite.metrics.calibration.bins import BINNING, Reliability
from suite.metrics.calibration.events import ece_of_calibrated, event_measures
from suite.metrics.calibration.inputs import Predictions
from suite.metrics.calibration.scaling import fit_temperature, temperature_interval
from suite.metrics.calibration.summary import calibration_measures

__all__ = [
    "BINNING",
    "Predictions",
    "Reliability",
    "calibration_measures",
    "ece_of_calibrated",
    "event_measures",
    "fit_temperature",
    "temperature_interval",
]
