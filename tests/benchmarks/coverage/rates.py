"""Cells of the rates, of the class metrics, and of AUROC and Matthews correlation of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from suite.kinds.classification import metrics as classes
from suite.kinds.classification.kind import ACCURACY
from suite.kinds.sentiment import metrics as sentiment
from suite.metrics.table import Column, Table
from suite.types import Measure
from tests.benchmarks.coverage.cells import Cell

Array = npt.NDArray[np.float64]
Summary = Callable[[Table], Sequence[Measure]]

SIZES = (50, 100, 200, 1000, 5000)
IN_GROUP = 10

ACCURACIES = (0.98, 0.9, 0.5)
BALANCES: dict[str, tuple[float, ...]] = {
    "balanced": (1.0,) * 10,
    "long tail": tuple(100 ** (-k / 9) for k in range(10)),  # the most frequent class 100 times the rarest
    "95:5": (95.0, 5.0),
}


@dataclass(frozen=True)
class Classifier:
    """A classifier with known rates: wrong predictions are spread evenly over the other classes.

    Attributes:
        recalls: of each class, (classes,).
        shares: of each class among the samples, (classes,); they sum to 1.
    """

    recalls: Array
    shares: Array

    @classmethod
    def of(cls, accuracy: float, frequencies: Sequence[float], spread: bool) -> Classifier:
        """Return the classifier of equal recalls, or of recalls that fall with the frequency, and this accuracy."""
        shares = np.array(frequencies) / sum(frequencies)
        errors = shares ** (-0.5 if spread else 0.0)
        return cls(1 - (1 - accuracy) * np.minimum(errors / (errors @ shares), 1 / (1 - accuracy)), shares)

    def table(self, n: int, rng: np.random.Generator, level: float) -> Table:
        """Return what the suite stores of n samples, at least one of each class."""
        count = len(self.shares)
        labels = np.concatenate([np.arange(count), rng.choice(count, n - count, p=self.shares)])
        correct = rng.random(n) < self.recalls[labels]
        others = (labels + rng.integers(1, count, n)) % count
        columns = {"label": labels, "prediction": np.where(correct, labels, others), "correct": correct}
        return _table(columns, count, rng, level)

    def balanced_accuracy(self, n: int) -> float:
        """Return the mean recall."""
        return float(self.recalls.mean())

    def macro_f1(self, n: int) -> float:
        """Return the mean F1 score at the expected class sizes of n samples."""
        sizes = 1 + (n - len(self.shares)) * self.shares
        wrong, hits = sizes * (1 - self.recalls) / (len(sizes) - 1), sizes * self.recalls
        return float((2 * hits / (sizes + hits + wrong.sum() - wrong)).mean())


def _table(columns: dict[str, npt.NDArray[np.generic]], classes: int, rng: np.random.Generator, level: float) -> Table:
    names = [f"c{index}" for index in range(classes)]
    seed = int(rng.integers(2**31))
    return Table(tuple(Column(name, values) for name, values in columns.items()), {"classes": names}, seed, level)


def _accuracy(n: int, truth: float, rng: np.random.Generator, level: float) -> Measure:
    correct = rng.random(n) < truth
    return _table({"correct": correct}, 10, rng, level).rate(ACCURACY, correct)


def _top5(n: int, truth: float, rng: np.random.Generator, level: float) -> Measure:
    return classes.top5_accuracy(_table({"top5": rng.random(n) < truth}, 10, rng, level))[0]


def _recall(n: int, truth: float, rng: np.random.Generator, level: float) -> Measure:
    """Measure the recall of a class of n among 3n samples."""
    columns = {"label": np.repeat([0, 1], [n, 2 * n]), "correct": rng.random(3 * n) < truth}
    return classes.recall(_table(columns, 2, rng, level))[0]


def _grouped(n: int, truth: float, rng: np.random.Generator, level: float) -> Measure:
    """Measure the accuracy of samples in groups whose own accuracies have a beta distribution: correlation 1/5."""
    groups = np.arange(n) // IN_GROUP
    own = rng.beta(4 * truth, 4 * (1 - truth), groups[-1] + 1)
    correct = rng.random(n) < own[groups]
    return _table({"correct": correct, "group": groups.astype(str)}, 10, rng, level).rate(ACCURACY, correct)


def _classes(summary: Summary, model: Classifier, n: int, rng: np.random.Generator, level: float) -> Measure:
    return summary(model.table(n, rng, level))[0]


def _scores(summary: Summary, d: float, share: float, n: int, rng: np.random.Generator, level: float) -> Measure:
    """Measure scores of two normal classes with distance d, the second with this share; the threshold is midway."""
    labels = (rng.random(n) < share).astype(np.int64)
    scores = rng.standard_normal(n) + d * (labels - 0.5)
    columns = {"label": labels, "score": scores, "prediction": (scores > 0).astype(np.int64)}
    return summary(_table(columns, 2, rng, level))[0]


def _matthews(accuracy: float, share: float) -> float:
    """Return the Matthews correlation of a classifier with both recalls equal to the accuracy."""
    positive = share * accuracy + (1 - share) * (1 - accuracy)
    covariance = share * (1 - share) * (2 * accuracy - 1)
    return float(covariance / np.sqrt(share * (1 - share) * positive * (1 - positive)))


def _rates() -> Iterator[Cell]:
    for truth in (0.998, 0.99, 0.98, 0.9, 0.5):
        for n in SIZES:
            for name, draw in (("accuracy", _accuracy), ("top5_accuracy", _top5), ("recall", _recall)):
                yield Cell(name, f"truth {truth}", n, truth, partial(draw, n, truth))
            if n > 50:
                yield Cell("accuracy", f"truth {truth}, groups of {IN_GROUP}", n, truth, partial(_grouped, n, truth))


def _class_metrics() -> Iterator[Cell]:
    for accuracy in ACCURACIES:
        for balance, frequencies in BALANCES.items():
            for spread in (False, True) if balance != "balanced" else (False,):
                model = Classifier.of(accuracy, frequencies, spread)
                setting = f"accuracy {accuracy}, {balance}" + ", rare classes harder" * spread
                for n in SIZES:
                    for summary in (classes.balanced_accuracy, classes.macro_f1):
                        truth = getattr(model, summary.__name__)(n)
                        quick = (summary.__name__, setting, n) == ("balanced_accuracy", "accuracy 0.98, balanced", 50)
                        yield Cell(summary.__name__, setting, n, truth, partial(_classes, summary, model, n), quick)


def _score_metrics() -> Iterator[Cell]:
    for accuracy in ACCURACIES:
        d = 2 * float(ndtri(accuracy))
        for balance, share in (("balanced", 0.5), ("95:5", 0.05)):
            setting = f"accuracy {accuracy}, {balance}"
            for n in SIZES:
                truth = float(ndtr(d / np.sqrt(2)))
                yield Cell("auroc", setting, n, truth, partial(_scores, sentiment.auroc, d, share, n))
                truth = _matthews(accuracy, share)
                yield Cell("mcc", setting, n, truth, partial(_scores, sentiment.mcc, d, share, n))


CELLS: list[Cell] = [*_rates(), *_class_metrics(), *_score_metrics()]
