"""Intervals, resampling, paired tests and tie groups; numpy and scipy only."""

from suite.metrics.stats.bootstrap import bootstrap, mean_measure, paired_bootstrap_difference, percentile_interval
from suite.metrics.stats.groups import rank_ranges, tie_groups
from suite.metrics.stats.intervals import rate, wilson
from suite.metrics.stats.paired import holm, holm_matrix, minimum_detectable_effect, paired_p_values
from suite.metrics.stats.resampled import (
    Statistic,
    auroc,
    average,
    drawn,
    mean_defined,
    mean_of,
    ratio,
    resampled,
    resampled_together,
    sums_ratio,
)

__all__ = [
    "Statistic",
    "auroc",
    "average",
    "bootstrap",
    "drawn",
    "holm",
    "holm_matrix",
    "mean_defined",
    "mean_measure",
    "mean_of",
    "minimum_detectable_effect",
    "paired_bootstrap_difference",
    "paired_p_values",
    "percentile_interval",
    "rank_ranges",
    "rate",
    "ratio",
    "resampled",
    "resampled_together",
    "sums_ratio",
    "tie_groups",
    "wilson",
]
