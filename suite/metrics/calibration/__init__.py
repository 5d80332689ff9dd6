"""Calibration, proper scores, selective prediction and temperature scaling; numpy and scipy only."""

from suite.metrics.calibration.bins import BINNING, Diagram, Reliability
from suite.metrics.calibration.events import ece_of_calibrated, event_measures
from suite.metrics.calibration.predictions import Predictions
from suite.metrics.calibration.scaling import fit_temperature, inverse_temperature_error, temperature_interval
from suite.metrics.calibration.summary import CALIBRATION_METRICS, calibration_measures

__all__ = [
    "BINNING",
    "CALIBRATION_METRICS",
    "Diagram",
    "Predictions",
    "Reliability",
    "calibration_measures",
    "ece_of_calibrated",
    "event_measures",
    "fit_temperature",
    "inverse_temperature_error",
    "temperature_interval",
]
