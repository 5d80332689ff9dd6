"""Calibration of detections: small examples, netcal, a plain loop, and resampling."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

from suite.errors import MeasureError, ModelError
from suite.metrics.detection import d_ece, events, laace, laece, objects, oce
from suite.metrics.detection.calibration import RULE
from tests.metrics.detection import naive
from tests.metrics.detection.scenes import detections, scene, truths

BOX = (0, 0, 10, 10)
HALF = (0, 0, 10, 5)
AWAY = (50, 50, 60, 60)


def test_rule_selects_detections():
    rows = [(0, *AWAY, 0.5 + 0.001 * place, place % 2) for place in range(140)]
    happened = events(detections(*rows, (1, *BOX, 0.049, 0), (1, *BOX, 0.051, 0)), truths((1, *BOX, 0, 0)), 2)
    assert happened.confidence.size == RULE["per_image"] + 1 and happened.confidence[:-1].min() > 0.539
    assert happened.correct.tolist() == [False] * 100 + [True]


def test_ignored_detections_are_not_events():
    detected = detections((0, 1, 1, 3, 3, 0.9, 0), (0, *AWAY, 0.8, 0))
    assert events(detected, truths((0, *BOX, 0, 1)), 1).confidence.tolist() == [np.float32(0.8)]


def test_d_ece_of_a_small_example():
    detected = detections((0, *BOX, 0.75, 0), (0, *AWAY, 0.75, 1), (1, *BOX, 0.25, 0))
    happened = events(detected, truths((0, *BOX, 0, 0), images=2), 2)
    # Bin of 0.75: 1 of 2 correct, gap 0.25, weight 2/3; bin of 0.25, on the image without truth: gap 0.25.
    assert d_ece(happened) == pytest.approx([0.25], abs=1e-15)
    assert d_ece(happened, [[1, 0], [0, 2], [1, 2]]) == pytest.approx([0.25, 0.25, 0.25], abs=1e-15)


def test_d_ece_equals_netcal():
    pytest.importorskip("netcal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from netcal.metrics import ECE

        for seed in range(20):
            detected, true, classes = scene(seed, images=8)
            detected = detected.copy()
            detected[..., 4] = 0.06 + 0.93 * np.random.default_rng(seed).random(detected.shape[:2])
            happened = events(detected, true, classes)
            theirs = ECE(bins=10, detection=True).measure(happened.confidence[:, None], happened.correct)
            assert d_ece(happened)[0] == pytest.approx(float(theirs), abs=1e-12)


def test_laece_and_laace_of_a_small_example():
    detected = detections((0, *HALF, 0.75, 0), (0, *AWAY, 0.25, 0), (0, 20, 20, 30, 28, 0.5, 1), (1, *AWAY, 0.5, 1))
    true = truths((0, *BOX, 0, 0), (0, 20, 20, 30, 30, 1, 0), images=2)
    happened = events(detected, true, 3, tau=0)
    # Class 0: gaps 0.75 - 0.5 and 0.25 - 0. Class 1: 0.5 - 0.8 and 0.5 - 0 share a bin. Class 2 has no detections.
    assert laece(happened) == pytest.approx([(0.25 + 0.1) / 2], abs=1e-7)
    assert laace(happened) == pytest.approx([(0.25 + 0.4) / 2], abs=1e-7)
    assert laece(happened, [[0, 1], [1, 0]]) == pytest.approx([0.5, (0.25 + 0.3) / 2], abs=1e-7)


def test_tau_zero_matches_any_overlap_but_not_touching_boxes():
    detected = detections((0, 9, 9, 19, 19, 0.75, 0), (1, 10, 0, 20, 10, 0.75, 0))
    true = truths((0, *BOX, 0, 0), (1, *BOX, 0, 0))
    assert events(detected, true, 1, tau=0).iou == pytest.approx([1 / 199, 0])
    assert not events(detected, true, 1).correct.any()


def test_oce_of_a_small_example():
    true = truths((0, *BOX, 0, 0))

    def cost(*rows):
        return oce(objects(detections(*rows, images=1), true, 3))[0]

    assert cost() == 1.0
    assert cost((0, *AWAY, 0.9, 0)) == 1.0
    assert cost((0, *BOX, 0.75, 0)) == pytest.approx(0.0625)
    assert cost((0, *BOX, 0.5, 1)) == pytest.approx(1.25)
    # Two detections predict 0.75 and 0.5 for two classes: p = (0.375, 0.25, 0).
    assert cost((0, *BOX, 0.75, 0), (0, *BOX, 0.5, 1)) == pytest.approx(0.625**2 + 0.25**2)
    # Close enough only for IoU 0.5: at 0.75 the box is missed.
    assert cost((0, *HALF, 0.75, 0)) == pytest.approx((0.0625 + 1) / 2)


@pytest.mark.parametrize("seed", range(25))
def test_all_metrics_equal_a_plain_loop(seed):
    detected, true, classes = scene(seed)
    pairs = [(score, float(hit)) for score, _, hit, _ in naive.events(detected, true, 0.5)]
    if pairs:
        assert d_ece(events(detected, true, classes))[0] == pytest.approx(naive.binned(pairs, 10), abs=1e-12)
    loose = naive.events(detected, true, 0)
    groups = [[event[:2] for event in loose if event[3] == label] for label in range(classes)]
    happened = events(detected, true, classes, tau=0)
    if loose:
        expected = np.mean([naive.binned(group, 25) for group in groups if group])
        assert laece(happened)[0] == pytest.approx(expected, abs=1e-12)
        expected = np.mean([np.mean([abs(score - iou) for score, iou in group]) for group in groups if group])
        assert laace(happened)[0] == pytest.approx(expected, abs=1e-12)
    costs = np.mean([naive.object_costs(detected, true, classes, iou) for iou in (0.5, 0.75)], axis=0)
    np.testing.assert_allclose(objects(detected, true, classes).brier, costs, rtol=0, atol=1e-12)


def test_counts_equal_repeated_images():
    detected, true, classes = scene(16, images=7, classes=3)
    counts = np.random.default_rng(1).multinomial(7, np.full(7, 1 / 7), size=10)
    for measure, given in (
        (d_ece, lambda *arrays: events(*arrays, classes)),
        (laece, lambda *arrays: events(*arrays, classes, 0.0)),
        (laace, lambda *arrays: events(*arrays, classes, 0.0)),
        (oce, lambda *arrays: objects(*arrays, classes)),
    ):
        values = measure(given(detected, true), counts)
        again = [measure(given(np.repeat(detected, times, 0), np.repeat(true, times, 0)))[0] for times in counts]
        np.testing.assert_allclose(values, again, rtol=0, atol=1e-12)
        assert np.ptp(values) > 0


def test_errors_are_undefined_without_detections():
    true = truths((0, *BOX, 0, 0))
    for empty in (np.zeros((1, 0, 6)), detections((0, *BOX, 0.01, 0))):
        assert np.isnan(d_ece(events(empty, true, 2))).all()
        assert np.isnan(laece(events(empty, true, 2, 0))).all() and np.isnan(laace(events(empty, true, 2, 0))).all()
        assert oce(objects(empty, true, 2)).tolist() == [1.0]
    assert np.isnan(oce(objects(detections((0, *BOX, 0.9, 0)), truths(images=1), 2))).all()


def test_invalid_input_is_refused():
    detected, true = detections((0, *BOX, 0.9, 0)), truths((0, *BOX, 0, 0))
    with pytest.raises(MeasureError, match=r"tau=0\.5"):
        d_ece(events(detected, true, 1, 0))
    for measure in (laece, laace):
        with pytest.raises(MeasureError, match="tau=0"):
            measure(events(detected, true, 1))
    with pytest.raises(MeasureError, match="tau=2"):
        events(detected, true, 1, 2)
    with pytest.raises(MeasureError, match="0 bins"):
        d_ece(events(detected, true, 1), bins=0)
    many = detections(*[(0, *BOX, 0.9, 0)] * 150)
    many[0, 120, 4] = np.nan
    for given in (events, objects):
        with pytest.raises(ModelError, match="not finite"):
            given(many, true, 1)


def test_importing_boxes_imports_no_torch():
    code = "import sys, suite.metrics.detection; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
