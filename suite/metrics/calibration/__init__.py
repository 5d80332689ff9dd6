"""Calibration, proper scores, selective prediction and temperature scaling; numpy and scipy only."""

from suite.metrics.calibration.bins import BINNING, Diagram, Reliability
from suite.metrics.calibration.events import ece_of_calibrated, event_measures
from suite.metrics.calibration.predictions import Predictions
from suite.metrics.calibration.scaling import fit_temperature
from suite.metrics.calibration.summary import CALIBRATION_METRICS, calibration_measures
from suite.metrics.calibration.temperature_ends import temperature_ends, temperature_interval

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
    "temperature_ends",
    "temperature_interval",
]
