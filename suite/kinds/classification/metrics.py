"""Clean metrics of classification."""

from collections.abc import Callable

import numpy as np

from suite.decorators import metric
from suite.kinds.base import Array
from suite.kinds.classification.kind import ACCURACY, TOP5_CLASSES
from suite.metrics.catalogue import Metric
from suite.metrics.stats import bootstrap, percentile_interval
from suite.metrics.table import Table
from suite.types import Measure, not_applicable

TOP5 = Metric("top5_accuracy", "top-5 accuracy", "share of samples whose true class is among the five largest logits")
RECALL = Metric("recall", "recall of a class", "share of the samples of a class that are predicted as this class")
BALANCED = Metric(
    "balanced_accuracy", "balanced accuracy", "accuracy with every class weighted equally, however rare"
)  # fmt: skip
MACRO_F1 = Metric("macro_f1", "macro F1", "F1 score (harmonic mean of precision and recall), averaged over classes")


@metric(kind="classification", entries=[ACCURACY])
def accuracy(table: Table) -> list[Measure]:
    """Fraction of samples whose largest logit is that of the true class."""
    return [table.rate(ACCURACY, table["correct"])]


@metric(kind="classification", entries=[TOP5])
def top5_accuracy(table: Table) -> list[Measure]:
    """Fraction of samples whose true class is among the five largest logits."""
    count = len(table.facts["classes"])
    if count < TOP5_CLASSES:
        return [not_applicable(TOP5.name, f"{count} classes are too few for a top five")]
    return [table.rate(TOP5, table["top5"])]


@metric(kind="classification", entries=[RECALL])
def recall(table: Table) -> list[Measure]:
    """Fraction of each class's samples that are predicted as this class."""
    labels, correct, measures = table["label"], table["correct"], []
    for index, name in enumerate(table.facts["classes"]):
        members = labels == index
        params = {"class": name}
        if members.any():
            measures.append(table.rate(RECALL, correct[members], params=params))
        else:
            measures.append(table.undefined(RECALL, f"no test sample of class {name}", params=params))
    return measures


@metric(kind="classification", entries=[BALANCED])
def balanced_accuracy(table: Table) -> list[Measure]:
    """Mean recall over the classes present: the accuracy if all classes were equally frequent."""
    return [_of_confusions(table, BALANCED, _balanced)]


@metric(kind="classification", entries=[MACRO_F1])
def macro_f1(table: Table) -> list[Measure]:
    """Mean over the classes of the harmonic mean of precision and recall."""
    return [_of_confusions(table, MACRO_F1, _macro_f1)]


def _of_confusions(table: Table, metric: Metric, statistic: Callable[[Array], Array]) -> Measure:
    """Return a statistic of confusion matrices (r, classes, classes) with its bootstrap interval."""
    count, n = len(table.facts["classes"]), len(table)
    pairs = table["label"] * count + table["prediction"]

    def of_resamples(indices: Array) -> Array:
        offsets = np.arange(len(indices))[:, None] * count * count
        counts = np.bincount((pairs[indices] + offsets).ravel(), minlength=len(indices) * count * count)
        return statistic(counts.reshape(len(indices), count, count))

    value = float(of_resamples(np.arange(n)[None])[0])
    draws = bootstrap(of_resamples, n, seed=table.seed)
    interval = percentile_interval(value, draws, n=n, level=table.level)
    return interval.measure(metric.name, value, n, level=table.level, **table.fields(metric))


def _macro_f1(confusions: Array) -> Array:
    """Return the macro F1 of confusion matrices (r, classes, classes), over classes that occur or are predicted."""
    correct = np.diagonal(confusions, axis1=1, axis2=2)
    return _mean_present(2 * correct, confusions.sum(axis=1) + confusions.sum(axis=2))


def _balanced(confusions: Array) -> Array:
    """Return the mean recall of confusion matrices (r, classes, classes), over classes that occur."""
    return _mean_present(np.diagonal(confusions, axis1=1, axis2=2), confusions.sum(axis=2))


def _mean_present(numerator: Array, denominator: Array) -> Array:
    present = denominator > 0
    ratios = np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=present)
    return np.asarray(ratios.sum(axis=1) / present.sum(axis=1))
