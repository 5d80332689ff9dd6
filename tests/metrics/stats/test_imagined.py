"""Imagined samples at the bounds of ratios: hand-solved values, and Clopper-Pearson intervals as the special case."""

import numpy as np
import pytest

from suite.metrics.stats import clopper_pearson, resampled, resampled_together
from suite.metrics.stats.imagined import Imagined, imagined_ratios, remembered, too_rare
from suite.types import Measure

PART = np.array([[1.0, 0.0], [3.0, 5.0]])
WHOLE = np.array([[2.0, 0.0], [4.0, 10.0]])


def test_imagined_sample_has_the_size_of_the_sample_that_an_average_unit_lies_in():
    assert Imagined(WHOLE).sizes == pytest.approx([(4 + 16) / 6, 10])
    assert Imagined(WHOLE).samples == pytest.approx([6 / (20 / 6), 1])
    assert Imagined(np.zeros((2, 1))).sizes.tolist() == [0] and np.isinf(Imagined(np.zeros((2, 1))).samples[0])


def test_worst_and_best_sample_have_hand_computed_effects():
    statistic = imagined_ratios(PART, WHOLE)
    weights = np.array([[1, 1, 0, 0], [1, 1, 0.5, 0], [1, 1, 0, 0.5], [0, 1, 2, 0]])
    size = 20 / 6
    expected = [
        [4 / 6, 5 / 10],
        [4 / (6 + size / 2), 5 / 15],
        [(4 + size / 2) / (6 + size / 2), 10 / 15],
        [3 / (4 + 2 * size), 5 / 30],
    ]
    np.testing.assert_allclose(statistic(weights), expected)
    np.testing.assert_array_equal(statistic(None), [[4 / 6, 5 / 10]])


def test_bounds_are_the_values_of_the_imagined_samples():
    statistic = Imagined(WHOLE[:, :1], (0.25, 2.0)).statistic(lambda weights: np.full((len(weights), 1), 1.0))
    size = 20 / 6
    expected = [[(6 + 0.25 * size) / (6 + size)], [(6 + 2 * size) / (6 + size)]]
    np.testing.assert_allclose(statistic(np.array([[1, 1, 1, 0], [1, 1, 0, 1]])), expected)


def test_in_the_mean_only_the_ratio_of_the_fewest_samples_changes():
    statistic = imagined_ratios(PART, WHOLE, first_is_mean=True)
    mean, first, second = statistic(np.array([[1, 1, 1, 0]]))[0]
    assert (first, second) == (pytest.approx(4 / (6 + 20 / 6)), 5 / 20)
    assert mean == pytest.approx((4 / 6 + 5 / 20) / 2)


def test_ratio_without_units_is_undefined_and_left_out_of_the_mean():
    statistic = imagined_ratios(np.c_[PART, [0, 0]], np.c_[WHOLE, [0, 0]], first_is_mean=True)
    values = statistic(np.array([[1, 1, 1, 0]]))[0]
    assert np.isnan(values[3]) and values[0] == pytest.approx((4 / 6 + 5 / 20) / 2)


def test_unknown_ratio_takes_any_value():
    statistic = imagined_ratios(PART, WHOLE, unknown=np.array([False, True]))
    low, high = statistic(np.array([[1, 1, 1, 0], [1, 1, 0, 1]]))[:, 1]
    assert low == pytest.approx(0, abs=1e-6) and high == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("right", [0, 1, 47, 50])
def test_intervals_of_rates_are_those_of_clopper_and_pearson(right):
    part = (np.arange(50) < right).astype(float)[:, None]
    statistic = imagined_ratios(part, np.ones((50, 1)))
    measure = resampled("rate", lambda w: statistic(w)[:, 0], 50, seed=0, added=Imagined.added)
    lo, hi = clopper_pearson(right, 50, 0.95)
    assert measure.value == right / 50
    assert measure.lo == pytest.approx(lo, abs=0.02) and measure.hi == pytest.approx(hi, abs=0.02)
    assert measure.hi - measure.lo <= 1.25 * (hi - lo)


def test_rare_class_has_a_wide_interval_although_all_its_samples_are_right():
    whole = np.zeros((100, 2))
    whole[:, 0], whole[:3, 1] = 10, 10
    measures = [{"metric": name} for name in ("mean", "common", "rare")]
    statistic = imagined_ratios(whole, whole, first_is_mean=True)
    mean, common, rare = resampled_together(measures, statistic, 100, seed=0, level=0.95, added=Imagined.added)
    assert common.lo > 0.93 and rare.lo < 0.4 and mean.lo == pytest.approx((1 + rare.lo) / 2, abs=0.02)
    assert {one.hi for one in (mean, common, rare)} == {1.0}


def test_slow_statistic_is_computed_once_for_both_ends():
    calls = []

    def slow(weights):
        calls.append(len(weights))
        return weights @ np.ones((30, 1)) / weights.sum(axis=1, keepdims=True)

    statistic = Imagined(np.ones((30, 1))).statistic(remembered(slow))
    resampled("slow", lambda w: statistic(w)[:, 0], 30, seed=0, recentred=True, added=Imagined.added)
    assert sum(calls) == 1 + 600


def test_class_in_too_few_samples_has_no_interval():
    measure = Measure("class_iou", 0.8, 0.1, 0.9, 50, "bootstrap-percentile(600)")
    rare = too_rare(measure, 1, "ships")
    assert (rare.value, rare.lo, rare.hi, rare.status) == (0.8, None, None, "inconclusive")
    assert rare.reason == "too few images with ships (n = 1; about 2 are needed)"
    assert too_rare(measure, 2, "ships") == measure
