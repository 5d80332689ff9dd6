"""Predictions against human raters: solved by hand, against scipy, and an interval that covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from suite.errors import DataError
from suite.metrics.calibration.agreement import (
    NOBODY,
    agreement_measures,
    entropy,
    jensen_shannon_distance,
    soft_cross_entropy,
    total_variation,
)
from suite.types import Measure


def draw(n: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predictions, shares of 20 raters and labels."""
    generator = np.random.default_rng(seed)
    predicted = generator.dirichlet(np.ones(classes), n)
    raters = generator.dirichlet(np.ones(classes), n)
    shares = np.array([generator.multinomial(20, row) for row in raters]) / 20
    return predicted, shares, shares.argmax(axis=1)


def named(*arguments: np.ndarray, **options: object) -> dict[str, Measure]:
    return {measure.metric: measure for measure in agreement_measures(*arguments, **{"seed": 0, **options})}


def test_two_samples_solved_by_hand() -> None:
    predicted = np.array([[0.5, 0.5], [0.25, 0.75]])
    shares = np.array([[1.0, 0.0], [0.25, 0.75]])
    found = named(predicted, shares, np.array([0, 1]))
    own = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    middle = -0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)
    assert found["soft_cross_entropy"].value == pytest.approx((math.log(2) + own) / 2)
    assert found["rater_entropy"].value == pytest.approx(own / 2)
    assert found["soft_kl"].value == pytest.approx(math.log(2) / 2)
    assert found["js_distance"].value == pytest.approx(math.sqrt(middle - 0.5) / 2)
    assert found["total_variation"].value == pytest.approx(0.25)
    assert (found["accuracy_agreed"].value, found["accuracy_agreed"].n) == (1.0, 1)
    assert (found["accuracy_disputed"].value, found["accuracy_disputed"].n) == (1.0, 1)
    assert [measure.higher_is_better for measure in found.values()] == [False, None, False, False, False, True, True]


def test_distances_equal_scipys() -> None:
    predicted, shares, _ = draw(200)
    assert (shares == 0).any()
    np.testing.assert_allclose(
        jensen_shannon_distance(predicted, shares), jensenshannon(predicted, shares, base=2, axis=1), atol=1e-12
    )
    np.testing.assert_allclose(entropy(shares), scipy_entropy(shares, axis=1), atol=1e-12)
    kl = soft_cross_entropy(predicted, shares) - entropy(shares)
    np.testing.assert_allclose(kl, scipy_entropy(shares, predicted, axis=1), atol=1e-12)


def test_ends_of_the_ranges() -> None:
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    for distance in (jensen_shannon_distance, total_variation):
        assert distance(one, other) == 1.0
        assert distance(one, one) == 0.0
    assert soft_cross_entropy(one, one) == 0.0
    assert soft_cross_entropy(one, other) == math.inf


def test_a_model_that_says_what_people_say_has_no_divergence() -> None:
    _, shares, labels = draw(50)
    found = named(shares, shares, labels)
    assert found["soft_kl"].value == found["js_distance"].value == found["total_variation"].value == 0.0
    assert found["soft_cross_entropy"].value == found["rater_entropy"].value > 0


def test_four_in_five_are_agreed() -> None:
    shares = np.array([[0.8, 0.2], [1 - 0.8, 0.8], [0.79, 0.21], [0.5, 0.5]])
    found = named(np.array([[0.9, 0.1]] * 4), shares, np.array([0, 1, 0, 0]))
    assert (found["accuracy_agreed"].value, found["accuracy_agreed"].n) == (0.5, 2)
    assert (found["accuracy_disputed"].value, found["accuracy_disputed"].n) == (1.0, 2)


def test_samples_that_nobody_rated_are_left_out_and_counted() -> None:
    predicted, shares, labels = draw(40)
    half = shares.copy()
    half[::2] = np.nan
    found, alone = named(predicted, half, labels), named(predicted[1::2], shares[1::2], labels[1::2])
    assert [(m.value, m.lo, m.hi, m.n) for m in found.values()] == [(m.value, m.lo, m.hi, m.n) for m in alone.values()]
    assert {measure.params["unrated"] for measure in found.values()} == {20}


def test_nothing_is_said_where_nobody_was_asked() -> None:
    predicted, shares, labels = draw(5)
    found = named(predicted, np.full_like(shares, np.nan), labels)
    assert len(found) == 7
    assert {(measure.value, measure.n, measure.status) for measure in found.values()} == {(None, 0, "inconclusive")}
    assert found["js_distance"].reason == NOBODY
    assert "no sample" in found["accuracy_agreed"].reason


def test_what_is_infinite_is_undefined_and_the_rest_is_not() -> None:
    found = named(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0]))
    for name in ("soft_cross_entropy", "soft_kl"):
        assert found[name].value is None
        assert found[name].reason.startswith("1 of 2 samples")
    assert found["js_distance"].value is not None


@pytest.mark.parametrize(
    "shares",
    [np.array([[0.5, 0.5]]), np.array([[0.5, 0.5, 0.0]] * 2), np.array([[0.9, 0.9]] * 2), np.array([[-0.1, 1.1]] * 2)],
)
def test_shares_that_are_no_distribution_are_an_error(shares: np.ndarray) -> None:
    with pytest.raises(DataError):
        named(np.full((2, 2), 0.5), shares, np.array([0, 1]))


def test_a_second_run_gives_the_same_intervals() -> None:
    first, second = (agreement_measures(*draw(60), seed=3, params={"method": "softmax"}) for _ in range(2))
    assert first == second
    assert all(measure.lo < measure.value < measure.hi for measure in first)
    assert {measure.params["method"] for measure in first} == {"softmax"}


def test_the_interval_of_the_distance_covers_its_expectation() -> None:
    """The expectation is that of 200,000 samples; a nominal 95 % of 200 small sets must find it, give or take three
    standard errors of that share, and two points that the percentile bootstrap is short at 60 samples."""
    predicted, shares, _ = draw(200_000, seed=1)
    expected = float(jensen_shannon_distance(predicted, shares).mean())
    covered = 0
    for place in range(200):
        part = slice(60 * place, 60 * place + 60)
        measure = named(predicted[part], shares[part], np.zeros(60, np.int64), seed=place)["js_distance"]
        covered += measure.lo <= expected <= measure.hi
    assert 0.93 - 3 * math.sqrt(0.95 * 0.05 / 200) <= covered / 200 <= 0.999
