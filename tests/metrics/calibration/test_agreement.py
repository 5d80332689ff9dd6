"""Agreement with human raters: small examples, scipy, and coverage of an interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from suite.errors import DataError
from suite.metrics.calibration.agreement import (
    AGREEMENT_METRICS,
    UNRATED,
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


def test_measures_of_a_small_example() -> None:
    predicted = np.array([[0.5, 0.5], [0.25, 0.75]])
    shares = np.array([[1.0, 0.0], [0.25, 0.75]])
    result = named(predicted, shares, np.array([0, 1]))
    own = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    middle = -0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)
    assert result["soft_cross_entropy"].value == pytest.approx((math.log(2) + own) / 2)
    assert result["rater_entropy"].value == pytest.approx(own / 2)
    assert result["soft_kl"].value == pytest.approx(math.log(2) / 2)
    assert result["js_distance"].value == pytest.approx(math.sqrt(middle - 0.5) / 2)
    assert result["total_variation"].value == pytest.approx(0.25)
    assert (result["accuracy_agreed"].value, result["accuracy_agreed"].n) == (1.0, 1)
    assert (result["accuracy_disputed"].value, result["accuracy_disputed"].n) == (1.0, 1)
    assert [measure.higher_is_better for measure in result.values()] == [False, None, False, False, False, True, True]


def test_distances_equal_scipys() -> None:
    predicted, shares, _ = draw(200)
    assert (shares == 0).any()
    np.testing.assert_allclose(
        jensen_shannon_distance(predicted, shares), jensenshannon(predicted, shares, base=2, axis=1), atol=1e-12
    )
    np.testing.assert_allclose(entropy(shares), scipy_entropy(shares, axis=1), atol=1e-12)
    kl = soft_cross_entropy(predicted, shares) - entropy(shares)
    np.testing.assert_allclose(kl, scipy_entropy(shares, predicted, axis=1), atol=1e-12)


def test_distances_of_equal_and_disjoint_distributions() -> None:
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    for distance in (jensen_shannon_distance, total_variation):
        assert distance(one, other) == 1.0
        assert distance(one, one) == 0.0
    assert soft_cross_entropy(one, one) == 0.0
    assert soft_cross_entropy(one, other) == math.inf


def test_divergence_is_zero_for_predictions_equal_to_the_ratings() -> None:
    _, shares, labels = draw(50)
    result = named(shares, shares, labels)
    assert result["soft_kl"].value == result["js_distance"].value == result["total_variation"].value == 0.0
    assert result["soft_cross_entropy"].value == result["rater_entropy"].value > 0


def test_samples_count_as_agreed_from_four_in_five_raters() -> None:
    shares = np.array([[0.8, 0.2], [1 - 0.8, 0.8], [0.79, 0.21], [0.5, 0.5]])
    result = named(np.array([[0.9, 0.1]] * 4), shares, np.array([0, 1, 0, 0]))
    assert (result["accuracy_agreed"].value, result["accuracy_agreed"].n) == (0.5, 2)
    assert (result["accuracy_disputed"].value, result["accuracy_disputed"].n) == (1.0, 2)


def test_unrated_samples_are_left_out_and_counted() -> None:
    predicted, shares, labels = draw(40)
    half = shares.copy()
    half[::2] = np.nan
    result, alone = named(predicted, half, labels), named(predicted[1::2], shares[1::2], labels[1::2])
    assert [(m.value, m.lo, m.hi, m.n) for m in result.values()] == [(m.value, m.lo, m.hi, m.n) for m in alone.values()]
    assert {measure.params["unrated"] for measure in result.values()} == {20}


def test_measures_are_undefined_without_ratings() -> None:
    predicted, shares, labels = draw(5)
    result = named(predicted, np.full_like(shares, np.nan), labels)
    assert len(result) == 7
    assert {(measure.value, measure.n, measure.status) for measure in result.values()} == {(None, 0, "inconclusive")}
    assert result["js_distance"].reason == UNRATED
    assert "no sample" in result["accuracy_agreed"].reason


def test_infinite_cross_entropy_is_undefined_and_the_rest_is_not() -> None:
    result = named(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0]))
    for name in ("soft_cross_entropy", "soft_kl"):
        assert result[name].value is None
        assert result[name].reason.startswith("in 1 of 2 samples")
    assert result["js_distance"].value is not None


@pytest.mark.parametrize(
    "shares",
    [np.array([[0.5, 0.5]]), np.array([[0.5, 0.5, 0.0]] * 2), np.array([[0.9, 0.9]] * 2), np.array([[-0.1, 1.1]] * 2)],
)
def test_shares_that_are_not_distributions_are_refused(shares: np.ndarray) -> None:
    with pytest.raises(DataError):
        named(np.full((2, 2), 0.5), shares, np.array([0, 1]))


def test_same_seed_gives_the_same_intervals() -> None:
    first, second = (agreement_measures(*draw(60), seed=3, params={"method": "softmax"}) for _ in range(2))
    assert first == second
    assert all(measure.lo < measure.value < measure.hi for measure in first)
    assert {measure.params["method"] for measure in first} == {"softmax"}


def test_rows_follow_the_declarations_and_widen_with_the_level() -> None:
    narrow, wide = (agreement_measures(*draw(60), seed=3, level=level) for level in (0.9, 0.99))
    for metric, near, far in zip(AGREEMENT_METRICS, narrow, wide, strict=True):
        assert (near.metric, near.unit, near.higher_is_better) == (metric.name, metric.unit, metric.higher_is_better)
        assert (near.level, far.level) == (0.9, 0.99)
        assert far.lo < near.lo <= near.value == far.value <= near.hi < far.hi


def test_the_interval_of_the_distance_covers_its_expectation() -> None:
    """95 % of 200 small sets must cover the mean of 200,000 samples, up to three standard errors of that share and the
    two points by which the percentile bootstrap undercovers at 60 samples."""
    predicted, shares, _ = draw(200_000, seed=1)
    expected = float(jensen_shannon_distance(predicted, shares).mean())
    covered = 0
    for place in range(200):
        part = slice(60 * place, 60 * place + 60)
        measure = named(predicted[part], shares[part], np.zeros(60, np.int64), seed=place)["js_distance"]
        covered += measure.lo <= expected <= measure.hi
    assert 0.93 - 3 * math.sqrt(0.95 * 0.05 / 200) <= covered / 200 <= 0.999
