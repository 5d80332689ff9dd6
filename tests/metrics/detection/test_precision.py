"""Average precision and recall against pycocotools, in edge cases, and under resampling."""

from __future__ import annotations

import numpy as np
import pytest

from suite.errors import MeasureError
from suite.metrics.detection import (
    average_precision,
    average_recall,
    imagined_lrp,
    imagined_precision,
    imagined_recall,
    match,
    mean_ap,
    optimal_lrp,
    precision,
)
from suite.metrics.detection.matching import AREAS
from suite.metrics.stats import resampled_together
from suite.metrics.stats.imagined import Imagined
from tests.metrics.detection.scenes import coco, detections, distinct, scene, truths

BOX = (0, 0, 10, 10)
AWAY = (50, 50, 60, 60)


def without_sentinel(values):
    return np.where(values == -1, np.nan, values)


def summary(ap, ar):
    """Return stats 0, 1, 2, 6, 7, 8 of pycocotools."""
    thirds = [mean_ap(ap[:, :, column])[0] for column in (slice(None), slice(0, 1), slice(5, 6))]
    return [*thirds, *mean_ap(ar)[:, 0]]


@pytest.mark.parametrize("start", range(0, 240, 24))
def test_precision_and_recall_equal_pycocotools(start):
    pytest.importorskip("pycocotools")
    for seed in range(start, start + 24):
        detected, true, classes = scene(seed)
        theirs = coco(detected, true, classes).eval
        for place in (0, 1 + seed % 3):
            matches = match(detected, true, classes, areas=list(AREAS.values())[place])
            ap, ar = average_precision(matches), average_recall(matches)
            expected = without_sentinel(theirs["precision"][:, :, :, place, -1]).mean(axis=1).T
            np.testing.assert_allclose(ap[0], expected, rtol=0, atol=1e-9)
            recall = without_sentinel(theirs["recall"][:, :, place]).transpose(2, 1, 0)
            np.testing.assert_allclose(ar[:, 0], recall, rtol=0, atol=1e-9)


def test_summary_equals_pycocotools(capsys):
    pytest.importorskip("pycocotools")
    for seed in range(300, 310):
        detected, true, classes = scene(seed, images=8)
        theirs = coco(detected, true, classes)
        theirs.summarize()
        matches = match(detected, true, classes)
        expected = without_sentinel(theirs.stats[[0, 1, 2, 6, 7, 8]])
        ours = summary(average_precision(matches), average_recall(matches))
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)


def test_scenes_contain_the_difficult_cases():
    scenes = [scene(seed) for seed in range(240)]
    assert any((true[image, :, 4] == -1).all() for _, true, _ in scenes for image in range(len(true)))
    assert any((detected[image, :, 5] == -1).all() for detected, _, _ in scenes for image in range(len(detected)))
    assert sum(detected.shape[1] > 150 for detected, _, _ in scenes) > 50
    assert sum((true[..., 5] == 1).any() for _, true, _ in scenes) > 50
    assert any(not (true[..., 4] == classes - 1).any() for _, true, classes in scenes)
    assert any(np.unique(detected[..., 4]).size < 0.5 * detected[..., 4].size for detected, _, _ in scenes)


def test_average_precision_of_a_small_example():
    detected = detections((0, *BOX, 0.9, 0), (0, *AWAY, 0.8, 0), (1, *BOX, 0.7, 0))
    matches = match(detected, truths((0, *BOX, 0, 0), (1, *BOX, 0, 0)), 1)
    # Precision 1 up to recall 0.5, 51 points, then 2/3 at 50 points.
    assert average_precision(matches)[0, 0] == pytest.approx(np.full(10, (51 + 50 * 2 / 3) / 101), abs=1e-15)
    assert average_recall(matches, (1,))[0, 0, 0, 0] == 1


def test_detections_on_images_without_truth_are_false():
    detected = detections((0, *BOX, 0.6, 0), (1, *BOX, 0.9, 0))
    matches = match(detected, truths((0, *BOX, 0, 0), images=2), 1)
    assert average_precision(matches)[0, 0, 0] == 0.5


def test_class_without_truth_is_undefined_and_not_in_the_mean():
    detected = detections((0, *BOX, 0.6, 0), (0, *BOX, 0.9, 1))
    ap = average_precision(match(detected, truths((0, *BOX, 0, 0)), 3))
    assert np.isnan(ap[0, 1:]).all() and mean_ap(ap).tolist() == [1.0]
    assert np.isnan(mean_ap(ap[:, 1:])).all()


def test_images_without_boxes_change_nothing():
    detected, true, classes = scene(5, images=6)
    expected = average_precision(match(detected, true, classes))
    blank = np.zeros((4, detected.shape[1], 6), np.float32)
    blank[:, :, 5] = -1
    bare = np.zeros((4, true.shape[1], 6), np.float32)
    bare[:, :, 4] = -1
    for order in (np.arange(10), np.roll(np.arange(10), 3), np.array([6, 0, 7, 1, 8, 2, 9, 3, 4, 5])):
        matches = match(np.concatenate([detected, blank])[order], np.concatenate([true, bare])[order], classes)
        assert np.array_equal(average_precision(matches), expected, equal_nan=True)


def test_empty_arrays_are_accepted():
    boxes = truths((0, *BOX, 0, 0), images=2)
    matches = match(np.zeros((2, 0, 6)), boxes, 2)
    assert average_precision(matches)[0, 0].tolist() == [0.0] * 10 and np.isnan(average_precision(matches)[0, 1]).all()
    assert average_recall(matches)[:, 0, 0, 0].tolist() == [0, 0, 0]
    for images in (0, 2):
        nothing = match(np.zeros((images, 0, 6)), np.zeros((images, 0, 6)), 2)
        assert np.isnan(average_precision(nothing)).all() and np.isnan(average_recall(nothing)).all()


def test_true_boxes_of_images_without_detections_are_missed():
    matches = match(detections((0, *BOX, 0.6, 0), images=2), truths((0, *BOX, 0, 0), (1, *BOX, 0, 0)), 1)
    assert average_precision(matches)[0, 0, 0] == pytest.approx(51 / 101, abs=1e-15)
    assert average_recall(matches)[:, 0, 0, 0].tolist() == [0.5] * 3


@pytest.mark.parametrize("seed", range(8))
def test_counts_equal_repeated_images(seed):
    detected, true, classes = scene(seed + 50, images=7)
    detected = distinct(detected, seed)
    counts = np.random.default_rng(seed).multinomial(7, np.full(7, 1 / 7), size=6)
    matches = match(detected, true, classes)
    ap, ar = average_precision(matches, counts), average_recall(matches, (1, 10, 100), counts)
    for row, times in enumerate(counts):
        again = match(np.repeat(detected, times, axis=0), np.repeat(true, times, axis=0), classes)
        np.testing.assert_allclose(ap[row], average_precision(again)[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(ar[:, row], average_recall(again)[:, 0], rtol=0, atol=1e-12)


def test_resamples_do_not_depend_on_the_chunks(monkeypatch):
    detected, true, classes = scene(60, images=7)
    counts = np.random.default_rng(0).multinomial(7, np.full(7, 1 / 7), size=9)
    matches = match(detected, true, classes)
    whole = average_precision(matches, counts)
    monkeypatch.setattr(precision, "_CHUNK", 1)
    np.testing.assert_allclose(average_precision(matches, counts), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("counts", [np.ones((2, 3)), np.ones(2), [[1, -1]], [[np.nan, 1]]])
def test_invalid_weights_are_refused(counts):
    matches = match(detections((0, *BOX, 0.5, 0), images=2), truths((0, *BOX, 0, 0), images=2), 1)
    with pytest.raises(MeasureError, match="weights"):
        average_precision(matches, counts)


def test_recall_limit_above_that_of_the_matching_is_refused():
    matches = match(detections((0, *BOX, 0.5, 0)), truths((0, *BOX, 0, 0)), 1, limit=10)
    with pytest.raises(MeasureError, match="Match with a higher limit"):
        average_recall(matches)


def test_only_the_proportions_of_weights_matter():
    detected, true, classes = scene(3, images=8, classes=3)
    matches = match(detected, true, classes)
    weights = np.random.default_rng(0).standard_exponential((20, 8))
    for statistic in (average_precision, lambda *args: average_recall(args[0], (10,), args[1]), optimal_lrp):
        np.testing.assert_allclose(statistic(matches, weights), statistic(matches, 0.01 * weights), atol=1e-12)


def test_all_objects_found_under_real_weights_have_average_precision_one():
    boxes = [(image, 0, 0, 10 + image, 10, 0) for image in range(30)]
    found = detections(*((*row[:5], 0.9, 0) for row in boxes))
    matches = match(found, truths(*((*row, 0) for row in boxes)), 1)
    weights = np.random.default_rng(0).standard_exponential((50, 30))
    assert average_precision(matches, weights) == pytest.approx(1, abs=1e-12)


def test_perfect_detections_have_an_interval_and_a_rare_class_a_wide_one():
    rows = [(image, 0, 0, 10, 10, int(image < 3)) for image in range(40)]
    found = detections(*((*row[:5], 0.9, row[5]) for row in rows))
    matches = match(found, truths(*((*row, 0) for row in rows)), 2)
    statistic = imagined_precision(matches, [[0]])
    measures = [{"metric": name} for name in ("mean", "common", "rare")]
    mean, common, rare = resampled_together(
        measures, lambda w: statistic(w)[:, 0], 40, seed=0, level=0.95, recentred=True, added=Imagined.added
    )
    assert {one.value for one in (mean, common, rare)} == {1.0}
    assert 0.85 < common.lo < 0.95 and rare.lo < 0.5 and 0.6 < mean.lo < 0.8


def test_imagined_images_change_recall_and_lrp_by_hand_computed_amounts():
    true = truths((0, *BOX, 0, 0), (1, *BOX, 0, 0), (1, 100, 0, 110, 10, 0, 0))
    matches = match(detections((0, *BOX, 0.5, 0), images=2), true, 1)
    size = (1 + 4) / 3
    weights = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]])
    recall = [1 / 3, 1 / (3 + size), (1 + size) / (3 + size)]
    np.testing.assert_allclose(imagined_recall(matches, (100,))(weights)[:, 0], recall)
    error = [2 / 3, 2 / (3 + size), (2 + size) / (3 + size)]
    np.testing.assert_allclose(
        imagined_lrp(match(detections((0, *BOX, 0.5, 0), images=2), true, 1, (0.5,)))(weights), error
    )
