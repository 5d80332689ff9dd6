"""Proper scores and the class-wise error against scikit-learn, loops and small examples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from suite.errors import DataError
from suite.metrics.calibration import Predictions, Reliability
from suite.metrics.calibration.inputs import log_softmax
from suite.metrics.calibration.summary import brier_scores, classwise_ece


def _nll(predictions: Predictions) -> np.ndarray:
    return -predictions.log_likelihood


def _draw(n: int = 300, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)) * 3
    exponentials = np.exp(logits)
    return logits, exponentials / exponentials.sum(axis=1, keepdims=True), generator.integers(0, classes, n)


def test_nll_equals_sklearn() -> None:
    logits, probabilities, labels = _draw()
    expected = log_loss(labels, probabilities, labels=range(5))
    assert _nll(Predictions.from_logits(logits, labels)).mean() == pytest.approx(expected, abs=1e-12)
    assert _nll(Predictions.from_probabilities(probabilities, labels)).mean() == pytest.approx(expected, abs=1e-12)


def test_nll_of_huge_logits_is_finite() -> None:
    assert _nll(Predictions.from_logits([[1e4, 0.0], [0.0, 1e4]], [1, 1])).tolist() == [1e4, 0.0]
    assert log_softmax(np.array([[1e308, -1e308 / 10]])).max() == 0.0


def test_nll_of_probability_zero_is_infinite() -> None:
    assert _nll(Predictions.from_probabilities([[1.0, 0.0], [0.5, 0.5]], [1, 0]))[0] == np.inf


def test_brier_equals_sklearn_and_its_range() -> None:
    _, probabilities, labels = _draw()
    expected = brier_score_loss(labels, probabilities, scale_by_half=False, labels=range(5))
    assert brier_scores(Predictions.from_probabilities(probabilities, labels)).mean() == pytest.approx(
        expected, abs=1e-12
    )
    assert brier_scores(Predictions.from_probabilities([[1.0, 0.0], [1.0, 0.0]], [0, 1])).tolist() == [0.0, 2.0]


def test_classwise_equals_a_loop_over_classes() -> None:
    _, probabilities, labels = _draw()
    loop = [Reliability.from_events(probabilities[:, k], labels == k).ece() for k in range(5)]
    assert classwise_ece(Predictions.from_probabilities(probabilities, labels)) == pytest.approx(
        np.mean(loop), abs=1e-12
    )


def test_classwise_accepts_saturated_and_tied_probabilities() -> None:
    # Quantile bins would have repeated edges here; equal-width bins do not.
    probabilities = np.eye(3)[np.arange(300) % 3]
    assert classwise_ece(Predictions.from_probabilities(probabilities, np.arange(300) % 3)) == 0.0
    assert classwise_ece(Predictions.from_probabilities(probabilities, (np.arange(300) + 1) % 3)) == pytest.approx(
        2 / 3
    )


def test_one_distinct_label_is_enough() -> None:
    _, probabilities, _ = _draw()
    assert 0 < classwise_ece(Predictions.from_probabilities(probabilities, np.zeros(300, dtype=np.int64))) < 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_inputs_are_widened_before_arithmetic(dtype: type) -> None:
    logits, _, labels = _draw()
    narrow = logits.astype(dtype)
    own, wide = (Predictions.from_logits(values, labels) for values in (narrow, narrow.astype(np.float64)))
    assert np.array_equal(_nll(own), _nll(wide))


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
def test_invalid_probabilities_are_refused(probabilities: object, labels: object) -> None:
    with pytest.raises(DataError):
        Predictions.from_probabilities(probabilities, labels)  # type: ignore[arg-type]


def test_invalid_logits_are_refused() -> None:
    for logits in ([[np.inf, 0.0]], [[np.nan, 0.0]], [[1.0]], [1.0, 2.0]):
        with pytest.raises(DataError):
            Predictions.from_logits(logits, [0])


@pytest.mark.parametrize("build", [Predictions.from_logits, Predictions.from_probabilities])
def test_one_class_is_refused_with_advice(build) -> None:
    with pytest.raises(DataError, match=r"got 1 class; .* a task needs at least two classes\. Declare both"):
        build([[1.0], [1.0]], [0, 0])
