"""Calibration of normal predictive distributions."""

import numpy as np
from scipy.stats import norm

from suite import BoardColumn, Measured, Metric, metric
from suite.metrics.stats import drawn

LEVELS = np.linspace(0.05, 0.95, 19)
"""Levels at which predicted quantiles are compared with the targets."""

COVERAGE = 0.9
"""Level of the central prediction interval."""


def columns(title):
    """Return a board column for the model's own distributions and one for the rescaled ones."""
    return (
        BoardColumn(title, {"uncertainty": "normal"}),
        BoardColumn(f"{title} scaled", {"uncertainty": "normal+temperature"}),
    )


CRPS = Metric(
    "crps", "CRPS", "continuous ranked probability score, a proper score in the unit of the target",
    unit="target units", higher_is_better=False, columns=columns("CRPS"),
)  # fmt: skip
INTERVAL_COVERAGE = Metric(
    "interval_coverage", "coverage of 90 % intervals", "share of targets inside the central 90 % prediction interval",
    higher_is_better=None, columns=columns("90 % coverage"),
)  # fmt: skip
QUANTILE_ERROR = Metric(
    "quantile_calibration_error",
    "quantile calibration error",
    "mean gap between the level of a predicted quantile and the share of targets below it",
    higher_is_better=False,
    columns=columns("quantile error"),
)
ENTRIES = [CRPS, INTERVAL_COVERAGE, QUANTILE_ERROR]


def ranks(prediction):
    """Return the CRPS of each sample, and the level of the predictive distribution at which its target lies."""
    mean, deviation = prediction.predicted.T
    standardized = (prediction.targets - mean) / deviation
    # Gneiting and Raftery (2007), equation 5
    density, level = norm.pdf(standardized), norm.cdf(standardized)
    crps = deviation * (standardized * (2 * level - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return Measured({"crps": crps, "level": level})


@metric(kind="regression", axis="calibration", per_method=True, entries=ENTRIES, measure=ranks)
def regression_calibration(table):
    """CRPS, coverage of the central interval, and the calibration error of quantiles."""
    level = table["level"]
    below = (level[:, None] <= LEVELS).astype(float)

    def gap(counts):
        weights = drawn(counts, len(below))
        return np.abs(weights @ below / weights.sum(axis=1, keepdims=True) - LEVELS).mean(axis=1)

    tail = (1 - COVERAGE) / 2
    return [
        table.mean(CRPS, table["crps"]),
        table.rate(INTERVAL_COVERAGE, (level >= tail) & (level <= 1 - tail), params={"level": COVERAGE}),
        table.resampled(QUANTILE_ERROR, gap, recentred=True, params={"levels": len(LEVELS)}),
    ]
