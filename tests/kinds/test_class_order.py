"""Outputs in another order than the classes are said, and honest bad models are not suspected."""

import numpy as np
import pytest

from suite.kinds.class_order import CHECK, Pairs, other_order
from suite.kinds.classification.metrics import accuracy
from suite.kinds.logits import NOT_LOGITS
from suite.kinds.segmentation.metrics import mean_iou
from suite.metrics.table import Column, Table


def table_of(labels, predictions, classes, confidence=0.9, **facts):
    """Return the table of a clean axis with these labels and predictions."""
    columns = {
        "id": np.array([f"sample {index}" for index in range(len(labels))], object),
        "label": labels,
        "prediction": predictions,
        "correct": labels == predictions,
        "confidence": np.full(len(labels), confidence),
    }
    return Table(tuple(Column(name, values) for name, values in columns.items()), {"classes": list(classes), **facts})


def row_of(*arguments, **fields):
    """Return the accuracy of some labels and predictions."""
    (row,) = accuracy(table_of(*arguments, **fields))
    return row


def suspected(labels, predictions, classes, confidence=0.9):
    """Return whether another order of the classes is suspected."""
    ids = [f"{labels.sum()} {index}" for index in range(len(labels))]
    ones = np.ones(len(labels))
    pairs = Pairs(
        np.arange(len(labels)), labels, predictions, ones, [str(index) for index in range(classes)], confidence
    )
    return other_order(pairs, ids) is not None


def test_a_permutation_is_said_in_words_and_never_applied():
    labels = np.arange(60) % 3
    predictions = (labels + 2) % 3  # output 0 looks like b, 1 like c, 2 like a
    predictions[:3] = labels[:3]
    row = row_of(labels, predictions, "abc")
    assert (row.value, row.status, row.checks) == (0.05, "suspect", {CHECK: "fail"})
    assert row.reason == (
        "another order of the classes would give 95 % instead of 5 %: outputs 0, 1, 2 look like b, c, a; check that "
        "the model was trained with the classes in the order of the task"
    )


def test_swapped_classes_of_two_are_said():
    labels = np.arange(50) % 2
    row = row_of(labels, 1 - labels, ("cat", "dog"))
    assert (row.value, row.status) == (0.0, "suspect")
    assert "give 100 % instead of 0 %: outputs 0, 1 look like dog, cat;" in row.reason


def test_names_sorted_as_text_are_said():
    numeric = [str(number) for number in range(1, 13)]
    as_text = sorted(numeric)  # 1, 10, 11, 12, 2, ...
    labels = np.arange(120) % 12
    predictions = np.array([as_text.index(numeric[label]) for label in labels])
    row = row_of(labels, predictions, numeric)
    assert row.value == pytest.approx(1 / 12)
    assert "outputs 1, 2, 3, 4, 5, 6 look like 10, 11, 12, 2, 3, 4 (and 5 more)" in row.reason


def test_only_a_part_of_the_classes_may_be_permuted():
    labels = np.arange(200) % 10
    predictions = labels.copy()
    for one, other in ((0, 3), (3, 5), (5, 0), (7, 8), (8, 7)):
        predictions[labels == one] = other
    reason = row_of(labels, predictions, "abcdefghij").reason
    assert "would give 100 % instead of 50 %: outputs 0, 3, 5, 7, 8 look like f, a, d, i, h;" in reason


def test_a_good_model_has_no_check():
    labels = np.arange(60) % 3
    row = row_of(labels, labels, "abc")
    assert (row.status, row.checks, row.reason) == ("ok", {}, None)


@pytest.mark.parametrize("classes", [2, 3, 10, 50])
@pytest.mark.parametrize("n", [20, 60, 200])
def test_models_that_guess_are_suspected_in_less_than_one_of_a_hundred(classes, n):
    rng, alarms, runs = np.random.default_rng(classes * n), 0, 200
    for _ in range(runs):
        rare = np.where(rng.random(n) < 0.9, 0, rng.integers(0, classes, n))
        even = rng.integers(0, classes, n)
        for labels in (rare, even):
            alarms += suspected(labels, rng.integers(0, classes, n), classes)
            alarms += suspected(labels, np.full(n, rng.integers(classes)), classes)
    assert alarms < 0.01 * 4 * runs


def test_a_rare_class_that_is_always_predicted_is_no_permutation():
    labels = (np.arange(100) % 10 == 0).astype(int)
    assert not suspected(labels, np.ones(100, int), 2)


def test_unsure_predictions_of_few_classes_are_those_of_random_weights():
    labels = np.arange(60) % 2
    assert suspected(labels, 1 - labels, 2, confidence=0.9)
    assert not suspected(labels, 1 - labels, 2, confidence=0.55)


def test_the_confidence_of_probabilities_says_nothing():
    labels = np.arange(60) % 2
    assert row_of(labels, 1 - labels, "ab", confidence=0.7).status == "ok"
    assert row_of(labels, 1 - labels, "ab", confidence=0.7, **{NOT_LOGITS: "a softmax"}).status == "suspect"


def test_few_samples_prove_no_order():
    assert not suspected(np.array([0, 1, 0, 1]), np.array([1, 0, 1, 0]), 2)


def test_a_permutation_of_pixel_classes_is_said():
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (12, 8, 8))
    confusions = np.stack(
        [np.bincount((3 * mask + (mask + 1) % 3).ravel(), minlength=9).reshape(3, 3) for mask in masks]
    )
    ids = np.array([f"image {index}" for index in range(12)], object)
    table = Table((Column("id", ids), Column("confusion", confusions)), {"classes": ["sky", "road", "car"]})
    mean, *each = mean_iou(table)
    assert (mean.value, mean.status) == (0.0, "suspect")
    assert "would give 100 % instead of 0 %: outputs 0, 1, 2 look like car, sky, road" in mean.reason
    assert all(CHECK not in one.checks for one in each)
