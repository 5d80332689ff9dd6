"""Clean metrics of regression."""

import numpy as np

from suite import BoardColumn, Metric, metric
from suite.metrics.stats import Statistic, drawn, ratio

RMSE = Metric(
    "rmse",
    "RMSE",
    "root mean squared error of the predicted means",
    unit="target units",
    higher_is_better=False,
    columns=(BoardColumn("RMSE"),),
    is_headline=True,
)
R2 = Metric(
    "r2", "R²", "share of the variance of the targets that the means explain; 0 is the best constant",
    unit="share", columns=(BoardColumn("R²"),),
)  # fmt: skip


def root_mean(squares: np.ndarray) -> Statistic:
    """Return the root of the mean of squared errors (n,) as a function of resampling counts."""

    def value(counts):
        weights = drawn(counts, len(squares))
        return np.sqrt(weights @ squares / weights.sum(axis=1))

    return value


def explained(squares: np.ndarray, targets: np.ndarray) -> Statistic:
    """Return 1 - sum of squared errors / sum of squares of the targets around their mean."""

    def value(counts):
        weights = drawn(counts, len(targets))
        mean = weights @ targets / weights.sum(axis=1)
        total = weights @ targets**2 - weights.sum(axis=1) * mean**2
        return 1 - ratio(weights @ squares, total)

    return value


@metric(kind="regression", entries=[RMSE])
def rmse(table):
    """Root mean squared error."""
    return [table.resampled(RMSE, root_mean(table["squared_error"]))]


@metric(kind="regression", entries=[R2])
def r2(table):
    """Coefficient of determination."""
    statistic = explained(table["squared_error"], table["target"])
    return [table.resampled(R2, statistic, why="all targets are equal")]
