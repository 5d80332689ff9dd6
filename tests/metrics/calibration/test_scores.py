"""Proper scores and class-wise error against scikit-learn, netcal-free loops and hand cases."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from suite.errors import DataError
from suite.metrics.calibration import (
    Reliability,
    brier_per_sample,
    classwise_ece,
    nll_per_sample,
    nll_per_sample_from_probabilities,
)
from suite.metrics.calibration.inputs import log_softmax


def _draw(n: int = 300, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)) * 3
    exponentials = np.exp(logits)
    return logits, exponentials / exponentials.sum(axis=1, keepdims=True), generator.integers(0, classes, n)


def test_nll_equals_sklearn() -> None:
    logits, probabilities, labels = _draw()
    expected = log_loss(labels, probabilities, labels=range(5))
    assert nll_per_sample(logits, labels).mean() == pytest.approx(expected, abs=1e-12)
    assert nll_per_sample_from_probabilities(probabilities, labels).mean() == pytest.approx(expected, abs=1e-12)


def test_nll_of_huge_logits_is_finite_and_right() -> None:
    assert nll_per_sample([[1e4, 0.0], [0.0, 1e4]], [1, 1]).tolist() == [1e4, 0.0]
    assert log_softmax(np.array([[1e308, -1e308 / 10]])).max() == 0.0


def test_zero_probability_is_infinite_not_clipped() -> None:
    assert nll_per_sample_from_probabilities([[1.0, 0.0], [0.5, 0.5]], [1, 0])[0] == np.inf


def test_brier_equals_sklearn_and_its_range() -> None:
    _, probabilities, labels = _draw()
    expected = brier_score_loss(labels, probabilities, scale_by_half=False, labels=range(5))
    assert brier_per_sample(probabilities, labels).mean() == pytest.approx(expected, abs=1e-12)
    assert brier_per_sample([[1.0, 0.0], [1.0, 0.0]], [0, 1]).tolist() == [0.0, 2.0]


def test_classwise_equals_a_loop_over_classes() -> None:
    _, probabilities, labels = _draw()
    loop = [Reliability.from_events(probabilities[:, k], labels == k).ece() for k in range(5)]
    assert classwise_ece(probabilities, labels) == pytest.approx(np.mean(loop), abs=1e-12)


def test_classwise_accepts_saturated_and_tied_probabilities() -> None:
    # D2: repeated quantile edges raise elsewhere; equal-width bins have none.
    probabilities = np.eye(3)[np.arange(300) % 3]
    assert classwise_ece(probabilities, np.arange(300) % 3) == 0.0
    assert classwise_ece(probabilities, (np.arange(300) + 1) % 3) == pytest.approx(2 / 3)


def test_one_distinct_label_is_enough() -> None:
    # D3: two or fewer labels present raise elsewhere.
    _, probabilities, _ = _draw()
    assert 0 < classwise_ece(probabilities, np.zeros(300, dtype=np.int64)) < 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_inputs_are_widened_before_arithmetic(dtype: type) -> None:
    logits, _, labels = _draw()
    narrow = logits.astype(dtype)
    assert np.array_equal(nll_per_sample(narrow, labels), nll_per_sample(narrow.astype(np.float64), labels))


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        ([[0.5, 0.6]], [0]),
        ([[1.2, -0.2]], [0]),
        ([[np.nan, 1.0]], [0]),
        ([[0.5, 0.5]], [2]),
        ([[0.5, 0.5]], [-1]),
        ([[0.5, 0.5]], [0.0]),
        ([[0.5, 0.5]], [0, 1]),
        ([[1.0]], [0]),
        (np.zeros((0, 3)), np.zeros(0, dtype=int)),
    ],
)
def test_bad_input_gives_no_number(probabilities: object, labels: object) -> None:
    for measure in (brier_per_sample, classwise_ece, nll_per_sample_from_probabilities):
        with pytest.raises(DataError):
            measure(probabilities, labels)  # type: ignore[operator]


def test_bad_logits_give_no_number() -> None:
    for logits in ([[np.inf, 0.0]], [[np.nan, 0.0]], [[1.0]], [1.0, 2.0]):
        with pytest.raises(DataError):
            nll_per_sample(logits, [0])


@pytest.mark.parametrize("score", [nll_per_sample, nll_per_sample_from_probabilities])
def test_one_class_is_refused_with_what_to_do(score) -> None:
    with pytest.raises(DataError, match=r"got 1 class; .* a task needs at least two classes\. Declare both"):
        score([[1.0], [1.0]], [0, 0])
