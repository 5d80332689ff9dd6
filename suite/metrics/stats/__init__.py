"""Intervals, resampling, paired tests and tie groups; numpy and scipy only."""

from suite.metrics.stats.bootstrap import bootstrap, percentile_interval
from suite.metrics.stats.clusters import Groups
from suite.metrics.stats.groups import rank_ranges, tie_groups
from suite.metrics.stats.interval import FEW_SAMPLES, Interval, too_few, without_interval
from suite.metrics.stats.intervals import clopper_pearson, rate
from suite.metrics.stats.means import mean_measure, paired_difference
from suite.metrics.stats.paired import holm, holm_matrix, minimum_detectable_effect, paired_p_values
from suite.metrics.stats.resampled import (
    WORST_AND_BEST,
    Added,
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
    "FEW_SAMPLES",
    "WORST_AND_BEST",
    "Added",
    "Groups",
    "Interval",
    "Statistic",
    "auroc",
    "average",
    "bootstrap",
    "clopper_pearson",
    "drawn",
    "holm",
    "holm_matrix",
    "mean_defined",
    "mean_measure",
    "mean_of",
    "minimum_detectable_effect",
    "paired_difference",
    "paired_p_values",
    "percentile_interval",
    "rank_ranges",
    "rate",
    "ratio",
    "resampled",
    "resampled_together",
    "sums_ratio",
    "tie_groups",
    "too_few",
    "without_interval",
]
