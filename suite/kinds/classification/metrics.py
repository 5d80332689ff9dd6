"""Clean metrics of classification."""

from collections.abc import Callable
from dataclasses import dataclass

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
    labels, names = table["label"], table.facts["classes"]
    order = np.argsort(labels, kind="stable")
    by_class = np.split(table["correct"][order], np.searchsorted(labels[order], np.arange(1, len(names))))
    measures = []
    for name, outcomes in zip(names, by_class, strict=True):
        params = {"class": name}
        if outcomes.size:
            measures.append(table.rate(RECALL, outcomes, params=params))
        else:
            measures.append(table.undefined(RECALL, f"no test sample of class {name}", params=params))
    return measures


@metric(kind="classification", entries=[BALANCED])
def balanced_accuracy(table: Table) -> list[Measure]:
    """Mean recall over the classes present: the accuracy if all classes were equally frequent."""
    return [_of_class_counts(table, BALANCED, _balanced)]


@metric(kind="classification", entries=[MACRO_F1])
def macro_f1(table: Table) -> list[Measure]:
    """Mean over the classes of the harmonic mean of precision and recall."""
    return [_of_class_counts(table, MACRO_F1, _macro_f1)]


@dataclass(frozen=True, eq=False)
class _ClassCounts:
    """Samples of each class in r resamples, (r, classes) each: those of the class, predicted as it, and both."""

    true: Array
    predicted: Array
    correct: Array


def _of_class_counts(table: Table, metric: Metric, statistic: Callable[[_ClassCounts], Array]) -> Measure:
    """Return a statistic of class counts with its bootstrap interval.

    Whole confusion matrices of 1,000 classes would take 8 MB a resample.
    """
    count, n, labels = len(table.facts["classes"]), len(table), table["label"]
    hits = np.where(labels == table["prediction"], labels, count)  # one more key collects the wrong predictions

    def of_resamples(indices: Array) -> Array:
        keys = labels, table["prediction"], hits
        return statistic(_ClassCounts(*(_counted(key[indices], count + 1)[:, :count] for key in keys)))

    value = float(of_resamples(np.arange(n)[None])[0])
    draws = bootstrap(of_resamples, n, seed=table.seed)
    interval = percentile_interval(value, draws, n=n, level=table.level)
    return interval.measure(metric.name, value, n, level=table.level, **table.fields(metric))


def _counted(keys: Array, count: int) -> Array:
    """Return how often each of 0..count-1 occurs in each row of keys (r, n), (r, count)."""
    rows = len(keys)
    offsets = np.arange(rows)[:, None] * count
    return np.bincount((keys + offsets).ravel(), minlength=rows * count).reshape(rows, count)


def _macro_f1(counts: _ClassCounts) -> Array:
    """Return the macro F1 (r,), over classes that occur or are predicted."""
    return _mean_present(2 * counts.correct, counts.predicted + counts.true)


def _balanced(counts: _ClassCounts) -> Array:
    """Return the mean recall (r,), over classes that occur."""
    return _mean_present(counts.correct, counts.true)


def _mean_present(numerator: Array, denominator: Array) -> Array:
    present = denominator > 0
    ratios = np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=present)
    return np.asarray(ratios.sum(axis=1) / present.sum(axis=1))
