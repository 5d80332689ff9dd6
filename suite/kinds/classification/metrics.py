"""Clean metrics of classification."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from suite.decorators import metric
from suite.kinds.base import Array
from suite.kinds.class_order import Pairs, suspect_order
from suite.kinds.classification.kind import ACCURACY, TOP5_CLASSES
from suite.kinds.logits import NOT_LOGITS
from suite.metrics.catalogue import Metric
from suite.metrics.stats import FEW_SAMPLES, Interval, drawn, mean_defined, ratio, too_few
from suite.metrics.stats.by_class import imagined_by_class, widened
from suite.metrics.table import Table
from suite.types import Measure, not_applicable

TOP5 = Metric("top5_accuracy", "top-5 accuracy", "share of samples whose true class is among the five largest logits")
RECALL = Metric("recall", "recall of a class", "share of the samples of a class that are predicted as this class")
MOST_SINGLE = 0.25
"""Largest share of classes with a single sample for an interval of a mean over classes; above it, none covers."""

BALANCED = Metric(
    "balanced_accuracy", "balanced accuracy", "accuracy with every class weighted equally, however rare"
)  # fmt: skip
MACRO_F1 = Metric("macro_f1", "macro F1", "F1 score (harmonic mean of precision and recall), averaged over classes")


@metric(kind="classification", entries=[ACCURACY])
def accuracy(table: Table) -> list[Measure]:
    """Fraction of samples whose largest logit is that of the true class, and whether another order would lift it."""
    outputs_vary_little = NOT_LOGITS in table.facts  # then the confidence says nothing
    confidence = None if outputs_vary_little else float(table["confidence"].mean())
    ones, classes = np.ones(len(table)), table.facts["classes"]
    pairs = Pairs(np.arange(len(table)), table["label"], table["prediction"], ones, classes, confidence)
    return [suspect_order(table.rate(ACCURACY, table["correct"]), pairs, table["id"].tolist())]


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
    by_class = np.split(order, np.searchsorted(labels[order], np.arange(1, len(names))))
    measures = []
    for name, rows in zip(names, by_class, strict=True):
        params = {"class": name}
        if rows.size:
            measures.append(table.rate(RECALL, table["correct"][rows], rows=rows, params=params))
        else:
            measures.append(table.undefined(RECALL, f"no test sample of class {name}", params=params))
    return measures


@metric(kind="classification", entries=[BALANCED])
def balanced_accuracy(table: Table) -> list[Measure]:
    """Mean recall over the classes present: the accuracy if all classes were equally frequent."""
    return [_of_class_counts(table, BALANCED, recalls)]


@metric(kind="classification", entries=[MACRO_F1])
def macro_f1(table: Table) -> list[Measure]:
    """Mean over the classes of the harmonic mean of precision and recall."""
    # Few samples of a class lower its F1 score on average, and resamples do so once more.
    return [_of_class_counts(table, MACRO_F1, f1_scores, recentred=True)]


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Weights in r resamples of the samples of each class, predicted as each class, and both, (r, classes) each."""

    true: Array
    predicted: Array
    correct: Array


def _of_class_counts(
    table: Table, metric: Metric, ratios: Callable[[ClassCounts], Array], *, recentred: bool = False
) -> Measure:
    """Return the mean over the classes of ratios of class counts, which are NaN for classes that do not occur.

    Its interval has an imagined wrong sample of each class, and an imagined right one.
    """
    count, n = len(table.facts["classes"]), len(table)
    every, sizes = np.arange(count), np.bincount(table["label"], minlength=count)
    labels = np.concatenate([table["label"], every, every])
    predictions = np.concatenate([table["prediction"], (every + 1) % max(count, 2), every])
    each = by_class(ratios, labels, predictions, count)
    own = each(np.repeat([1.0, 0.0], [n, 2 * count])[None])
    if (sizes == 1).sum() > MOST_SINGLE * (sizes > 0).sum():
        fields = {"reason": too_few(n, 2 * n), "level": table.level, **table.fields(metric)}
        return Interval(None, None, FEW_SAMPLES).measure(metric.name, float(mean_defined(own)[0]), n, **fields)

    def mean(weights: Array | None) -> Array:
        return mean_defined(widened(each(drawn(weights, len(labels))), own, sizes))

    return table.resampled(metric, mean, added=imagined_by_class(sizes), recentred=recentred)


def by_class(
    ratios: Callable[[ClassCounts], Array], labels: Array, predictions: Array, count: int
) -> Callable[[Array], Array]:
    """Return ratios of class counts as a function of the weights of samples, (r, n) to (r, classes).

    Whole confusion matrices of 1,000 classes would take 8 MB a resample.
    """
    correct = np.where(labels == predictions, labels, count)
    sums = [_sums(keys, count) for keys in (labels, predictions, correct)]
    return lambda weights: ratios(ClassCounts(*(add(weights) for add in sums)))


def _sums(keys: Array, count: int) -> Callable[[Array], Array]:
    """Return a function from weights (r, n) to their sums by keys 0..count-1, (r, count); other keys do not count."""
    from scipy.sparse import csr_array

    kept = np.flatnonzero(keys < count)
    matrix = csr_array((np.ones(len(kept)), (keys[kept], kept)), shape=(count, len(keys)))
    return lambda weights: np.asarray((matrix @ weights.T).T)


def f1_scores(counts: ClassCounts) -> Array:
    """Return the F1 score of each class, NaN for classes that neither occur nor are predicted."""
    return ratio(2 * counts.correct, counts.predicted + counts.true)


def recalls(counts: ClassCounts) -> Array:
    """Return the recall of each class, NaN for classes that do not occur."""
    return ratio(counts.correct, counts.true)
