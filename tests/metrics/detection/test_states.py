"""States of true boxes: exclusive, complete, and equal to a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from suite.errors import MeasureError, ModelError
from suite.metrics.detection import rates, states
from tests.metrics.detection import naive
from tests.metrics.detection.scenes import detections, scene, truths

BOX = (0, 0, 10, 10)
NEAR = (0, 0, 10, 9)
SIDE = (20, 20, 30, 30)
AWAY = (50, 50, 60, 60)


def test_states_of_a_small_example():
    detected = detections((0, *BOX, 0.9, 0), (0, *SIDE, 0.8, 0), (0, *AWAY, 0.7, 0), (0, *AWAY, 0.3, 0))
    true = truths((0, *BOX, 0, 0), (0, *SIDE, 1, 0), (0, 70, 70, 80, 80, 1, 0))
    assert states(detected, true, 0.5).tolist() == [[1, 1, 1, 1]]
    assert states(detected, true, 0.75).tolist() == [[1, 1, 1, 0]]
    assert states(detected, true, 0.95).tolist() == [[0, 0, 3, 0]]


def test_found_box_is_not_mislabeled():
    detected = detections((0, *BOX, 0.9, 1), (0, *NEAR, 0.8, 0))
    assert states(detected, truths((0, *BOX, 0, 0)), 0.5).tolist() == [[1, 0, 0, 0]]


def test_matched_detection_does_not_mislabel_another_box():
    detected = detections((0, *BOX, 0.9, 1))
    assert states(detected, truths((0, *BOX, 0, 0), (0, *NEAR, 1, 0)), 0.5).tolist() == [[1, 0, 1, 0]]


def test_duplicate_detection_is_not_a_background_false_positive():
    assert states(detections((0, *BOX, 0.9, 0), (0, *NEAR, 0.8, 0)), truths((0, *BOX, 0, 0)), 0.5)[0, 3] == 0


def test_detections_on_crowds_are_not_false_positives_and_crowds_are_not_missed():
    detected = detections((0, 1, 1, 3, 3, 0.9, 0), (0, 4, 4, 6, 6, 0.9, 1), (0, 9, 9, 13, 13, 0.9, 0))
    assert states(detected, truths((0, *BOX, 0, 1)), 0.5).tolist() == [[0, 0, 0, 1]]


def test_images_without_true_boxes_are_accepted():
    assert states(detections((0, *BOX, 0.9, 0), images=2), truths(images=2), 0.5).tolist() == [[0, 0, 0, 1], [0] * 4]


@pytest.mark.parametrize("seed", range(40))
def test_states_equal_a_plain_loop(seed):
    detected, true, _ = scene(seed)
    boxes = ((true[..., 4] != -1) & (true[..., 5] == 0)).sum(axis=1)
    for threshold in (0.05, 0.5, 0.8):
        counts = states(detected, true, threshold)
        assert np.array_equal(counts, naive.states(detected, true, threshold))
        assert (counts >= 0).all() and np.array_equal(counts[:, :3].sum(axis=1), boxes)


def test_rates_are_pooled_over_boxes():
    counts = np.array([[2, 1, 0, 3], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert rates(counts).tolist() == [[0.5, 0.25, 0.25, 4 / 3]]
    drawn = rates(counts, [[0, 3, 0], [1, 0, 2], [0, 0, 3]])
    assert drawn[0].tolist() == [0, 0, 1, 0] and drawn[1].tolist() == [2 / 3, 1 / 3, 0, 5 / 3]
    assert np.isnan(drawn[2, :3]).all() and drawn[2, 3] == 1


def test_invalid_input_is_refused():
    detected, true = detections((0, *BOX, 0.9, 0)), truths((0, *BOX, 0, 0))
    with pytest.raises(MeasureError, match="score threshold"):
        states(detected, true, 2.0)
    with pytest.raises(ModelError, match="not finite"):
        states(np.where(detected == 10, np.nan, detected), true, 0.5)
    with pytest.raises(MeasureError, match="got states of shape"):
        rates(np.zeros((0, 4)))
