"""Clean metrics of classification."""

from collections.abc import Callable

import numpy as np

from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.kinds.classification.kind import TOP5_CLASSES, in_top
from suite.metrics import stats
from suite.types import Measure, not_applicable


@metric(kind="classification")
def accuracy(outcomes: Outcomes) -> list[Measure]:
    """Fraction of samples whose largest logit is that of the true class."""
    return [stats.rate("accuracy", outcomes.output.argmax(axis=1) == outcomes.targets)]


@metric(kind="classification")
def top5_accuracy(outcomes: Outcomes) -> list[Measure]:
    """Fraction of samples whose true class is among the five largest logits."""
    if len(outcomes.classes) < TOP5_CLASSES:
        return [not_applicable("top5_accuracy", f"{len(outcomes.classes)} classes are too few for a top five")]
    return [stats.rate("top5_accuracy", in_top(outcomes.output, outcomes.targets, 5))]


@metric(kind="classification")
def recall(outcomes: Outcomes) -> list[Measure]:
    """Fraction of each class's samples that are predicted as this class."""
    correct = outcomes.output.argmax(axis=1) == outcomes.targets
    measures = []
    for index, name in enumerate(outcomes.classes):
        members = outcomes.targets == index
        if members.any():
            measures.append(stats.rate("recall", correct[members], params={"class": name}))
        else:
            reason = f"no test sample of class {name}"
            measures.append(Measure("recall", None, None, None, 0, "none", params={"class": name}, reason=reason))
    return measures


@metric(kind="classification")
def balanced_accuracy(outcomes: Outcomes) -> list[Measure]:
    """Mean recall over the classes present: the accuracy if all classes were equally frequent."""
    return [_resampled("balanced_accuracy", outcomes, _balanced)]


@metric(kind="classification")
def macro_f1(outcomes: Outcomes) -> list[Measure]:
    """Mean over the classes of the harmonic mean of precision and recall."""
    return [_resampled("macro_f1", outcomes, _macro_f1)]


def _resampled(name: str, outcomes: Outcomes, statistic: Callable[[Array], Array]) -> Measure:
    """Return a statistic of confusion matrices (r, classes, classes) with its bootstrap interval."""
    count, n = len(outcomes.classes), len(outcomes.targets)
    pairs = outcomes.targets * count + outcomes.output.argmax(axis=1)

    def of_resamples(indices: Array) -> Array:
        offsets = np.arange(len(indices))[:, None] * count * count
        counts = np.bincount((pairs[indices] + offsets).ravel(), minlength=len(indices) * count * count)
        return statistic(counts.reshape(len(indices), count, count))

    value = float(of_resamples(np.arange(n)[None])[0])
    interval = stats.percentile_interval(value, stats.bootstrap(of_resamples, n, seed=outcomes.seed), n=n)
    return Measure(name, value, interval.lo, interval.hi, n, interval.method)


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
