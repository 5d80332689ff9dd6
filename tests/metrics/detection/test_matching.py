"""Greedy matching: small examples, a plain loop, and invalid input."""

from __future__ import annotations

import numpy as np
import pytest

from suite.errors import DataError, MeasureError, ModelError
from suite.metrics.detection import match, overlap
from suite.metrics.detection.arrays import flat
from suite.metrics.detection.matching import match_at
from tests.metrics.detection import naive
from tests.metrics.detection.scenes import detections, distinct, scene, truths

BOX = (0, 0, 10, 10)
HALF = (0, 0, 10, 5)


def partners(detected, true, threshold):
    """Return the index of the true box of each detection, or -1."""
    return match_at(*flat(detected, true), threshold)[0].tolist()


def test_box_is_matched_once_with_the_highest_score():
    detected = detections((0, *BOX, 0.5, 0), (0, *HALF, 0.9, 0))
    matches = match(detected, truths((0, *BOX, 0, 0)), 1, thresholds=(0.5, 0.75))
    assert matches.score.tolist() == [np.float32(0.9), 0.5]
    assert matches.state.tolist() == [[1, 0], [0, 1]]
    assert matches.iou.tolist() == [[0.5, 0.0], [0.0, 1.0]]
    assert [partners(detected, truths((0, *BOX, 0, 0)), iou) for iou in (0.5, 0.75)] == [[0, -1], [-1, 0]]


def test_boxes_of_other_classes_and_images_are_not_matched():
    detected = detections((0, *BOX, 0.5, 1), (1, *BOX, 0.9, 0))
    matches = match(detected, truths((0, *BOX, 0, 0), images=2), 2)
    assert not matches.state.any() and not matches.iou.any()
    assert partners(detected, truths((0, *BOX, 0, 0), images=2), 0.5) == [-1, -1]


def test_crowd_is_matched_repeatedly_by_intersection_over_detection_area():
    detected = detections((0, 0, 0, 2, 2, 0.9, 0), (0, 5, 5, 7, 7, 0.8, 0), (0, 9, 9, 13, 13, 0.7, 0))
    matches = match(detected, truths((0, *BOX, 0, 1)), 1)
    assert matches.state[:, 0].tolist() == [-1, -1, 0]
    assert matches.truth_label.size == 0 and not matches.iou.any()


def test_true_box_is_preferred_to_a_crowd_of_higher_overlap():
    detected = detections((0, *HALF, 0.9, 0))
    matches = match(detected, truths((0, *BOX, 0, 1), (0, *BOX, 0, 0)), 1, thresholds=(0.5, 0.6))
    assert matches.state.tolist() == [[1, -1]]


def test_later_box_wins_among_equal_overlaps():
    detected = detections((0, 2, 0, 12, 10, 0.9, 0), (0, 3, 0, 13, 10, 0.8, 0))
    true = truths((0, 4, 0, 14, 10, 0, 0), (0, *BOX, 0, 0))
    assert partners(detected, true, 0.6) == [1, 0]
    assert partners(detected, true[:, ::-1], 0.6) == [1, -1]


def test_boxes_and_false_detections_outside_the_area_range_are_ignored():
    detected = detections((0, *BOX, 0.9, 0), (0, 50, 50, 60, 60, 0.8, 0), (0, 50, 50, 90, 90, 0.7, 0))
    small = match(detected, truths((0, 0, 0, 10, 12, 0, 0)), 1, (0.5,), areas=(150.0, 2000.0))
    assert small.state[:, 0].tolist() == [-1, -1, 0] and small.truth_label.size == 0


def test_limit_holds_per_class_and_image():
    rows = [(image, *BOX, 0.1 * place, label) for image in (0, 1) for label in (0, 1) for place in range(1, 6)]
    matches = match(detections(*rows), truths((0, *BOX, 0, 0), images=2), 2, limit=2)
    assert matches.score.size == 8 and matches.score.min() > 0.35 and matches.rank.tolist() == [0, 1] * 4


def test_order_of_rows_does_not_matter():
    detected, true, classes = scene(7)
    detected = distinct(detected, 0)
    shuffled = detected[:, np.random.default_rng(0).permutation(detected.shape[1])]
    first, second = match(detected, true, classes), match(shuffled, true, classes)
    assert np.array_equal(first.state, second.state) and np.array_equal(first.iou, second.iou)


@pytest.mark.parametrize("seed", range(30))
def test_matching_equals_a_plain_loop(seed):
    detected, true, classes = scene(seed)
    for iou in (0.3, 0.5, 0.75):
        matches = match(detected, true, classes, (iou,), limit=10**6)
        for image, rows in enumerate(naive.above(detected, 0)):
            boxes = naive.real(true[image], 4)
            for label in range(classes):
                here = (matches.image == image) & (matches.label == label)
                expected = [
                    (row[4], 0 if partner is None else -1 if boxes[partner][5] else 1)
                    for row, partner, _ in naive.greedy(rows[rows[:, 5] == label], boxes, iou)
                ]
                assert list(zip(matches.score[here], matches.state[here, 0], strict=True)) == expected


def test_detections_are_matched_with_boxes_of_their_class_and_image():
    detected, true = flat(*scene(3, images=8)[:2])
    partner, state, iou = match_at(detected, true, 0.5)
    hit = state == 1
    box = partner[hit]
    assert box.size > 20 and np.unique(box).size == box.size and (iou[hit] >= 0.5).all()
    assert np.array_equal(detected.label[hit], true.label[box])
    assert np.array_equal(detected.image[hit], true.image[box])


def test_pairs_do_not_depend_on_the_blocks(monkeypatch):
    detected, true = flat(*scene(11, images=6)[:2])
    whole = overlap.overlapping(detected, true, 0.1, same_class=False)
    monkeypatch.setattr(overlap, "_BLOCK", 3)
    parts = overlap.overlapping(detected, true, 0.1, same_class=False)
    assert whole.overlap.size > 20 and np.array_equal(whole.overlap, parts.overlap)
    assert np.array_equal(whole.detection, parts.detection) and np.array_equal(whole.truth, parts.truth)


def test_missing_threshold_is_refused():
    matches = match(detections((0, *BOX, 0.5, 0)), truths((0, *BOX, 0, 0)), 1, (0.5,))
    assert matches.at(0.5) == 0
    with pytest.raises(MeasureError, match=r"no matches at IoU 0\.75"):
        matches.at(0.75)


GOOD = detections((0, *BOX, 0.5, 0))
TRUE = truths((0, *BOX, 0, 0))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.nan, "not finite"),
        (4, np.nan, "not finite"),
        (2, np.inf, "not finite"),
        (2, -1, "x2 < x1"),
        (4, 1.5, "score outside"),
        (4, -0.1, "score outside"),
        (5, 1, "an unknown class"),
        (5, 0.5, "an unknown class"),
        (5, -2, "an unknown class"),
    ],
)
def test_invalid_detection_is_refused(place, value, message):
    wrong = GOOD.copy()
    wrong[0, 0, place] = value
    with pytest.raises(ModelError, match=message):
        match(wrong, TRUE, 1)


def test_detection_without_area_is_a_false_positive():
    matches = match(detections((0, 5, 5, 5, 5, 0.5, 0)), truths((0, *BOX, 0, 1), (0, *BOX, 0, 0)), 1)
    assert not matches.state.any()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [(0, np.nan, "not finite"), (2, 0, "without area"), (4, 1, "an unknown class"), (5, 2, "neither 0 nor 1")],
)
def test_invalid_true_box_is_refused(place, value, message):
    wrong = TRUE.copy()
    wrong[0, 0, place] = value
    with pytest.raises(DataError, match=message):
        match(GOOD, wrong, 1)


def test_invalid_shapes_and_settings_are_refused():
    with pytest.raises(ModelError, match="expected numbers"):
        match(np.zeros((1, 6)), TRUE, 1)
    with pytest.raises(DataError, match="expected numbers"):
        match(GOOD, np.zeros((1, 1, 5)), 1)
    with pytest.raises(MeasureError, match="of 1 images and truth of 2"):
        match(GOOD, np.concatenate([TRUE, TRUE]), 1)
    with pytest.raises(MeasureError, match="0 classes"):
        match(GOOD, TRUE, 0)
    for thresholds, limit in (((), 100), ((0.0,), 100), ((1.1,), 100), ((np.nan,), 100), ((0.5,), 0)):
        with pytest.raises(MeasureError, match="limit >= 1"):
            match(GOOD, TRUE, 1, thresholds, limit)
