"""The area under the risk-coverage curve against random tie-breaking, loops and small examples."""

from __future__ import annotations

import numpy as np
import pytest

from suite.errors import DataError
from suite.metrics.calibration.selective import aurc, aurc_of_counts, risk_coverage


def _tied(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    confidence = np.where(generator.random(n) < 0.4, 1.0, np.round(generator.random(n), 1))
    return confidence, generator.random(n) < 0.7


def _broken_ties(confidence: np.ndarray, correct: np.ndarray, draws: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    areas = []
    for _ in range(draws):
        order = np.lexsort((generator.random(confidence.size), -confidence))
        areas.append((np.cumsum(~correct[order]) / np.arange(1, confidence.size + 1)).mean())
    return np.array(areas)


def test_risk_coverage_of_a_small_example() -> None:
    # In order of confidence: correct, wrong, correct -> risks 0, 1/2, 1/3.
    assert aurc([0.9, 0.8, 0.7], [1, 0, 1]) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    # All tied: the expected risk is 1/3 at every coverage.
    assert risk_coverage([0.5] * 3, [1, 0, 1]).tolist() == pytest.approx([1 / 3] * 3)


def test_aurc_is_the_mean_over_random_tie_breaks() -> None:
    confidence, correct = _tied()
    areas = _broken_ties(confidence, correct, 10_000)
    assert areas.std() > 0.01
    assert abs(aurc(confidence, correct) - areas.mean()) <= 3 * areas.std() / 100


def test_aurc_without_ties_equals_the_sorted_mean() -> None:
    generator = np.random.default_rng(2)
    confidence, correct = generator.random(500), generator.random(500) < 0.6
    assert aurc(confidence, correct) == pytest.approx(_broken_ties(confidence, correct, 1)[0], abs=1e-14)


def test_aurc_is_bit_for_bit_invariant_to_permutation() -> None:
    confidence, correct = _tied(500)
    generator = np.random.default_rng(3)
    values = set()
    for _ in range(20):
        order = generator.permutation(500)
        values.add(aurc(confidence[order], correct[order]))
    assert len(values) == 1


def test_aurc_of_whole_weights_equals_aurc_of_the_resample() -> None:
    confidence, correct = _tied(80)
    indices = np.random.default_rng(4).integers(0, 80, size=(25, 80))
    counts = np.stack([np.bincount(row, minlength=80) for row in indices], axis=1).astype(float)
    result = aurc_of_counts(confidence, 1.0 - correct)(np.concatenate([counts, np.zeros((1, 25))]))
    expected = [aurc(confidence[row], correct[row]) for row in indices]
    np.testing.assert_allclose(result, np.stack([expected, expected], axis=1), atol=1e-12)


def test_imagined_sample_is_a_further_one_of_its_rank() -> None:
    confidence, correct = np.linspace(0.9, 0.1, 10), np.arange(10) % 3 > 0
    (result,) = aurc_of_counts(confidence, 1.0 - correct)(np.ones((11, 1)))
    expected = [aurc(np.r_[confidence, 0.58], np.r_[correct, own]) for own in (True, False)]
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_aurc_takes_real_weights() -> None:
    """Weights of k / 100 are the limit of 100 k copies of the samples of a large set, whose unit no longer counts."""
    generator = np.random.default_rng(5)
    confidence, wrong = generator.random(2000), (generator.random(2000) < 0.3).astype(float)
    weights = generator.exponential(size=(2001, 1))
    weights[-1] = 0
    (one,) = aurc_of_counts(confidence, wrong)(weights)[:, 0]
    copies = np.rint(weights[:-1, 0] * 100).astype(int)
    many = aurc(np.repeat(confidence, copies), np.repeat(1 - wrong, copies))
    assert one == pytest.approx(many, rel=0.01)


def test_invalid_events_are_refused() -> None:
    for confidence, correct in (([], []), ([0.5, np.nan], [1, 0]), ([0.5], [1, 0]), ([3.0], [1])):
        with pytest.raises(DataError):
            aurc(confidence, correct)
