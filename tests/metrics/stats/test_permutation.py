"""The permutation test that swaps two models' samples: exact values, scipy, McNemar's test, groups, and its level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test

from suite.errors import MeasureError
from suite.metrics.stats import average, paired_p_values, sums_ratio
from suite.metrics.stats.permutation import ENOUGH, SWAPS, swap_test, swaps_needed


def test_all_swaps_of_few_samples_by_hand() -> None:
    gains = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    test = swap_test(average(np.concatenate([gains, 0 * gains])), 6)
    assert test.p == 2 / 64, "of 64 patterns of signs only all + and all - reach the sum"
    assert test.error == pytest.approx(np.sqrt((gains**2).sum()) / 6)


def test_equal_models_have_p_one() -> None:
    values = np.arange(30.0)
    assert swap_test(average(np.concatenate([values, values])), 30).p == 1


def test_the_exact_test_of_a_mean_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 10), rng.normal(0, 1, 10)
    oracle = permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert swap_test(average(np.concatenate([a, b])), 10).p == pytest.approx(oracle.pvalue)


def test_for_right_and_wrong_it_is_the_exact_test_of_mcnemar() -> None:
    right = np.random.default_rng(1).uniform(size=(2, 12)) < [[0.9], [0.4]]
    p = swap_test(average(right.astype(float).ravel()), 12).p
    assert p == pytest.approx(paired_p_values(right)[0, 1])


def test_groups_are_swapped_as_a_whole() -> None:
    rng, groups = np.random.default_rng(2), np.repeat(np.arange(8), 5)
    a, b = rng.normal(0.4, 1, 40), rng.normal(0, 1, 40)
    totals = [np.bincount(groups, one) for one in (a, b)]
    one = swap_test(average(np.concatenate([a, b])), 40, groups=groups)
    assert one.p == swap_test(average(np.concatenate(totals)), 8).p


def test_random_swaps_agree_with_all_swaps_of_a_ratio() -> None:
    rng = np.random.default_rng(3)
    part, whole = rng.gamma(2, 1, 40), rng.gamma(4, 1, 40)
    part[:20] *= 1.4
    exact = permutation_test(
        (np.arange(20), np.arange(20, 40)),
        lambda x, y: part[x].sum() / whole[x].sum() - part[y].sum() / whole[y].sum(),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=False,
        rng=0,
    )
    assert swap_test(sums_ratio(part, whole), 20, swaps=20_000).p == pytest.approx(exact.pvalue, rel=0.25)


def test_a_clear_difference_has_the_lowest_p_value_and_a_tie_stops_early() -> None:
    gains = np.concatenate([np.ones(50), np.zeros(50)])
    assert swap_test(average(gains), 50).p == 1 / (SWAPS + 1)
    calls: list[int] = []

    def counted(counts: np.ndarray | None) -> np.ndarray:
        calls.append(len(counts))
        return average(np.concatenate([np.arange(50.0), np.arange(50.0)[::-1] + 0.5]))(counts)

    assert swap_test(counted, 50, swaps=10_000).p > ENOUGH / 10_000
    assert sum(calls) < 1000


def test_p_values_of_equal_models_are_not_too_small() -> None:
    rng = np.random.default_rng(4)
    p = np.array([swap_test(average(rng.lognormal(size=40)), 20, seed=k).p for k in range(400)])
    for size in (0.05, 0.2, 0.5):
        assert (p <= size).mean() <= size + 2.6 * np.sqrt(size * (1 - size) / len(p))


def test_an_undefined_metric_is_not_compared() -> None:
    with pytest.raises(MeasureError, match="undefined for one of two models"):
        swap_test(sums_ratio(np.ones(20), np.repeat([1.0, 0.0], 10)), 10)


def test_enough_swaps_for_the_adjustment_over_all_pairs() -> None:
    assert swaps_needed(1, 0.05) == SWAPS
    assert 190 / (swaps_needed(190, 0.05) + 1) <= 0.025
