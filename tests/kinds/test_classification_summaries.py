"""Summaries of classification: class metrics against scikit-learn, their intervals, and memory with 1,000 classes."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from suite.kinds.classification.kind import Classification, in_top
from suite.kinds.classification.metrics import (
    balanced_accuracy,
    by_class,
    f1_scores,
    macro_f1,
    recall,
    recalls,
    top5_accuracy,
)
from suite.metrics.stats import clopper_pearson
from suite.metrics.table import Column, Table


def table_of(labels: np.ndarray, prediction: np.ndarray, classes: int) -> Table:
    columns = {"label": labels, "prediction": prediction, "correct": labels == prediction}
    names = [f"c{index}" for index in range(classes)]
    return Table(tuple(Column(name, values) for name, values in columns.items()), {"classes": names})


def guesses(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, n)
    return labels, np.where(generator.random(n) < 0.6, labels, generator.integers(0, classes, n))


def macro(labels: np.ndarray, prediction: np.ndarray) -> float:
    return f1_score(labels, prediction, average="macro")


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize(("metric", "oracle"), [(balanced_accuracy, balanced_accuracy_score), (macro_f1, macro)])
def test_class_metrics_equal_scikit_learn(metric: Any, oracle: Any) -> None:
    labels, prediction = guesses(60, 4)
    labels[labels == 3] = 2  # the last class is predicted, but never true
    (measure,) = metric(table_of(labels, prediction, 5))  # the fifth neither
    assert measure.value == pytest.approx(oracle(labels, prediction), abs=1e-12)
    assert measure.lo < measure.value < measure.hi


@pytest.mark.parametrize(("ratios", "oracle"), [(recalls, recall_score), (f1_scores, f1_score)])
def test_class_metrics_equal_scikit_learn_on_weighted_samples(ratios: Any, oracle: Any) -> None:
    labels, prediction = guesses(60, 4)
    weights = np.random.default_rng(1).standard_exponential((20, 60))
    expected = [oracle(labels, prediction, average=None, sample_weight=row) for row in weights]
    np.testing.assert_allclose(by_class(ratios, labels, prediction, 4)(weights), expected, atol=1e-12)


def test_classes_that_do_not_occur_have_no_ratio() -> None:
    labels, prediction, weights = np.array([0, 0]), np.array([0, 1]), np.ones((1, 2))
    np.testing.assert_allclose(by_class(recalls, labels, prediction, 3)(weights), [[0.5, np.nan, np.nan]])
    np.testing.assert_allclose(by_class(f1_scores, labels, prediction, 3)(weights), [[2 / 3, 0.0, np.nan]])


@pytest.mark.parametrize("metric", [balanced_accuracy, macro_f1])
def test_zero_errors_leave_room_for_errors(metric: Any) -> None:
    labels = np.repeat([0, 1], 25)
    (measure,) = metric(table_of(labels, labels, 2))
    exact = clopper_pearson(50, 50, 0.95)[0]
    assert (measure.value, measure.hi) == (1.0, 1.0)
    assert measure.lo == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("right", [True, False])
def test_balanced_accuracy_of_one_class_has_the_exact_interval_of_a_rate(right: bool) -> None:
    labels = np.zeros(50, int)
    (measure,) = balanced_accuracy(table_of(labels, labels if right else labels + 1, 2))
    assert (measure.lo, measure.hi) == pytest.approx(clopper_pearson(50 * right, 50, 0.95), abs=0.015)


def test_a_rare_class_widens_the_interval() -> None:
    def width(rare: int) -> float:
        labels = np.repeat([0, 1], [100 - rare, rare])
        (measure,) = balanced_accuracy(table_of(labels, labels, 2))
        return measure.hi - measure.lo

    assert width(50) < 0.1 < 0.2 < width(5) < 0.5


@pytest.mark.parametrize("metric", [balanced_accuracy, macro_f1])
def test_many_classes_of_one_sample_are_too_few(metric: Any) -> None:
    labels = np.array([0, 0, 1, 1, 2, 2, 3])
    assert metric(table_of(labels, labels, 5))[0].status == "ok"  # a quarter of the classes present
    labels = np.array([0, 0, 1, 1, 2, 3])
    (measure,) = metric(table_of(labels, labels, 5))
    assert (measure.value, measure.lo, measure.hi, measure.status) == (1.0, None, None, "inconclusive")
    assert measure.reason == "too few samples (n = 6; about 12 are needed)"


def test_intervals_of_classes_follow_the_groups() -> None:
    labels = np.tile(np.repeat([0, 1], 5), 20)
    prediction = np.where(np.repeat(np.random.default_rng(0).random(40) < 0.7, 5), labels, 1 - labels)
    alone = table_of(labels, prediction, 2)
    grouped = replace(alone, columns=(*alone.columns, Column("group", np.repeat(np.arange(40), 5).astype(str))))
    for metric in (recall, balanced_accuracy, macro_f1):
        for one, other in zip(metric(alone), metric(grouped), strict=True):
            assert one.value == other.value
            assert other.hi - other.lo > 1.5 * (one.hi - one.lo)
            assert other.groups == (20 if metric is recall else 40)


def test_recall_of_each_class_equals_scikit_learn() -> None:
    labels, prediction = guesses(200, 6)
    labels[labels == 2] = 1
    measures = recall(table_of(labels, prediction, 7))
    expected = recall_score(labels, prediction, average=None, labels=range(7), zero_division=np.nan)
    assert [measure.value for measure in measures] == [None if np.isnan(value) else value for value in expected]
    assert [measure.n for measure in measures] == np.bincount(labels, minlength=7).tolist()
    assert measures[2].reason == "no test sample of class c2"


def test_ties_with_earlier_classes_push_a_label_out_of_the_top() -> None:
    logits = np.array([[3.0, 2.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    assert in_top(logits, np.array([1, 0]), 2).tolist() == [True, True]
    assert in_top(logits, np.array([2, 2]), 2).tolist() == [False, False]


class Outcomes:
    """The logits of a few samples over 1,000 classes."""

    def __init__(self, samples: int) -> None:
        generator = np.random.default_rng(0)
        self.output = generator.standard_normal((samples, 1000), np.float32)
        self.targets = generator.integers(0, 1000, samples)
        self.classes = [f"c{index}" for index in range(1000)]


def test_memory_with_a_thousand_classes() -> None:
    """A confusion matrix takes 8 MB, and 1,000 resamples of 400 samples are one chunk; logits take 32 MB in float64."""
    for samples in (400, 4000):
        outcomes: Any = Outcomes(samples)
        tracemalloc.start()
        measured = Classification().measured(outcomes)
        columns = tuple(Column(name, np.asarray(values)) for name, values in measured.columns.items())
        table = Table(columns, measured.facts)
        values = [measure.value for metric in (top5_accuracy, balanced_accuracy, macro_f1) for measure in metric(table)]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert None not in values
        assert peak < 64 * 2**20


def test_blocks_do_not_change_probabilities() -> None:
    outcomes: Any = Outcomes(1500)  # more than one block
    probabilities = Classification().probabilities(outcomes.output)
    wide = np.exp(outcomes.output.astype(np.float64))
    np.testing.assert_allclose(probabilities, wide / wide.sum(axis=1, keepdims=True), rtol=1e-12)
    columns = Classification().measured(outcomes).columns
    np.testing.assert_array_equal(columns["confidence"], probabilities.max(axis=1))
    np.testing.assert_array_equal(columns["top5"], in_top(probabilities, outcomes.targets, 5))
