"""Localization recall precision: small examples, a plain loop, exhaustive search of thresholds, and resampling."""

from __future__ import annotations

import numpy as np
import pytest

from suite.errors import DataError, MeasureError, ModelError
from suite.metrics.detection import best_threshold, image_errors, match, optimal_lrp
from suite.metrics.stats import mean_defined
from tests.metrics.detection import naive
from tests.metrics.detection.scenes import detections, distinct, scene, truths

BOX = (0, 0, 10, 10)
AWAY = (50, 50, 60, 60)


def test_lrp_of_a_small_example():
    detected = detections((0, 0, 0, 10, 8, 0.9, 0), (0, *AWAY, 0.6, 0), (0, *AWAY, 0.2, 0))
    true = truths((0, *BOX, 0, 0), (0, 20, 20, 30, 30, 1, 0))
    # One hit at IoU 0.8 costs 0.4; one false detection; one box missed.
    assert image_errors(detected, true, 0.5) == pytest.approx([(0.4 + 1 + 1) / 3])
    assert image_errors(detected, true, 0.1) == pytest.approx([(0.4 + 2 + 1) / 4])
    assert image_errors(detected, true, 0.95).tolist() == [1.0]


def test_images_without_boxes():
    detected = detections((1, *BOX, 0.9, 0), (2, *BOX, 0.9, 0), images=4)
    true = truths((2, *BOX, 0, 0), (3, *BOX, 0, 0))
    assert image_errors(detected, true, 0.5).tolist() == [0.0, 1.0, 0.0, 1.0]
    assert image_errors(np.zeros((2, 0, 6)), np.zeros((2, 0, 6)), 0.5).tolist() == [0.0, 0.0]


def test_crowds_cost_nothing():
    true = truths((0, *BOX, 0, 1), images=2)
    assert image_errors(detections((0, 0, 0, 3, 3, 0.9, 0), images=2), true, 0.5).tolist() == [0.0, 0.0]


def test_hit_at_the_iou_threshold_costs_as_much_as_a_miss():
    assert image_errors(detections((0, 0, 0, 10, 5, 0.9, 0)), truths((0, *BOX, 0, 0)), 0.5).tolist() == [1.0]


@pytest.mark.parametrize("seed", range(40))
def test_errors_equal_a_plain_loop(seed):
    detected, true, _ = scene(seed)
    for threshold in (0.05, 0.4, 0.8):
        errors = image_errors(detected, true, threshold)
        np.testing.assert_allclose(errors, naive.lrp(detected, true, threshold), rtol=0, atol=1e-12)
        assert ((errors >= 0) & (errors <= 1)).all()


@pytest.mark.parametrize("seed", range(100, 112))
def test_best_threshold_is_optimal(seed):
    detected, true, _ = scene(seed, images=4)
    detected = detected[:, :20]
    best = best_threshold(detected, true)
    reached = naive.lrp(detected, true, best, pooled=True)
    scores = np.unique(np.float64(detected[..., 4]))
    tried = [naive.lrp(detected, true, score, pooled=True) for score in scores if score >= 0.05]
    assert reached == pytest.approx(min(tried, default=reached), abs=1e-12)
    assert 0.05 <= best <= 1


def test_threshold_is_midway_to_the_next_score():
    true = truths((0, *BOX, 0, 0), (1, *BOX, 0, 0))
    pair = ((0, *BOX, 0.75, 0), (1, *BOX, 0.5, 0))
    assert best_threshold(detections(*pair, (1, *AWAY, 0.25, 0)), true) == 0.375
    assert best_threshold(detections(*pair), true) == pytest.approx((0.5 + 0.05) / 2)
    # Tied detections share a threshold: at 0.5 the two false positives are kept with the hit.
    assert best_threshold(detections(*pair, (0, *AWAY, 0.5, 0), (1, *AWAY, 0.5, 0)), true) == 0.625


@pytest.mark.parametrize(
    ("detected", "true"),
    [
        (detections((0, *AWAY, 0.9, 0)), truths((0, *BOX, 0, 0))),
        (detections((0, *BOX, 0.9, 0)), truths((0, *BOX, 0, 1))),
        (detections((0, *BOX, 0.04, 0)), truths((0, *BOX, 0, 0))),
        (np.zeros((1, 0, 6)), truths((0, *BOX, 0, 0))),
        (np.zeros((1, 0, 6)), np.zeros((1, 0, 6))),
    ],
)
def test_detector_without_hits_has_the_default_threshold(detected, true):
    assert best_threshold(detected, true) == 0.5


@pytest.mark.parametrize("seed", range(8))
def test_optimal_lrp_is_the_minimum_over_thresholds(seed):
    detected, true, classes = scene(seed + 200, images=5)
    detected = detected[:, :30]
    optimum = optimal_lrp(match(detected, true, classes), tau=0.5)[0]
    for label in range(classes):
        ours, theirs = detected.copy(), true.copy()
        ours[..., 5][ours[..., 5] != label] = -1
        theirs[..., 4][theirs[..., 4] != label] = -1
        if not (theirs[..., 4][theirs[..., 5] == 0] == label).any():
            assert np.isnan(optimum[label])
            continue
        scores = [*np.unique(np.float64(ours[..., 4])), 2.0]
        tried = min(naive.lrp(ours, theirs, score, pooled=True) for score in scores)
        assert optimum[label] == pytest.approx(tried, abs=1e-12)


def test_optimal_lrp_of_counts_equals_that_of_repeated_images():
    detected, true, classes = scene(220, images=6, classes=3)
    detected = distinct(detected, 0)
    counts = np.random.default_rng(0).multinomial(6, np.full(6, 1 / 6), size=8)
    values = optimal_lrp(match(detected, true, classes), counts)
    for row, times in enumerate(counts):
        again = match(np.repeat(detected, times, axis=0), np.repeat(true, times, axis=0), classes)
        np.testing.assert_allclose(values[row], optimal_lrp(again)[0], rtol=0, atol=1e-12)
    assert mean_defined(values).shape == (8,)


def test_invalid_input_is_refused():
    detected, true = detections((0, *BOX, 0.9, 0)), truths((0, *BOX, 0, 0))
    for threshold in (-0.1, 1.1, np.nan):
        with pytest.raises(MeasureError, match="score threshold"):
            image_errors(detected, true, threshold)
    with pytest.raises(ModelError, match="not finite"):
        image_errors(np.where(detected == 10, np.nan, detected), true, 0.5)
    with pytest.raises(DataError, match="not finite"):
        best_threshold(detected, np.where(true == 10, np.nan, true))
    with pytest.raises(MeasureError, match=r"no matches at IoU 0\.5"):
        optimal_lrp(match(detected, true, 1, (0.75,)))
