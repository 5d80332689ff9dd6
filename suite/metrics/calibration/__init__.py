"""Calibration, proper scores, selective prediction and temperature scaling; numpy and scipy only."""

from suite.metrics.calibration.bins import BINNING, DebiasedSquare, Reliability
from suite.metrics.calibration.events import ece_of_calibrated, event_measures
from suite.metrics.calibration.scaling import Temperature, fit_temperature, temperature_interval
from suite.metrics.calibration.scores import (
    brier_per_sample,
    classwise_ece,
    nll_per_sample,
    nll_per_sample_from_probabilities,
)
from suite.metrics.calibration.selective import aurc, risk_coverage
from suite.metrics.calibration.summary import calibration_measures, calibration_measures_from_probabilities

__all__ = [
    "BINNING",
    "DebiasedSquare",
    "Reliability",
    "Temperature",
    "aurc",
    "brier_per_sample",
    "calibration_measures",
    "calibration_measures_from_probabilities",
    "classwise_ece",
    "ece_of_calibrated",
    "event_measures",
    "fit_temperature",
    "nll_per_sample",
    "nll_per_sample_from_probabilities",
    "risk_coverage",
    "temperature_interval",
]
