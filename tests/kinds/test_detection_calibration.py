"""Calibration of detectors: against netcal, on simulated detections, and in undefined cases."""

import warnings

import numpy as np
import pytest

from suite.errors import NotApplicableError
from suite.kinds.base import Prediction
from suite.kinds.detection.calibration import detection_calibration, scored_detections
from suite.kinds.detection.kind import Detection
from suite.metrics.detection import MAP
from suite.metrics.table import Table, collected
from tests.kinds.planted import NOTHING, table
from tests.metrics.detection import naive
from tests.metrics.detection.scenes import scene


def measured(output, truth):
    """Return the measures by name, and the reliability diagram."""
    prediction = Prediction("score", Detection().probabilities(output), output, truth)
    part = collected([{"boxes": truth}, scored_detections(prediction)])
    facts = part.all_facts
    measures = detection_calibration(Table(tuple(part.columns), facts, params={"uncertainty": "score"}))
    return {measure.metric: measure for measure in measures}, facts["reliability"]


def simulated(images, seed, sharpened=1.0, each=12):
    """Return detections on a grid that are true positives with a given probability, and the truth.

    The score of a detection is that probability with its log odds multiplied by `sharpened`.
    """
    generator = np.random.default_rng(seed)
    chance = generator.uniform(0.15, 0.85, (images, each))
    odds = sharpened * np.log(chance / (1 - chance))
    output, truth = np.tile(NOTHING, (images, 100, 1)), np.zeros((images, each, 6), np.float32)
    truth[..., 4] = -1
    hit = generator.random((images, each)) < chance
    for place in range(each):
        box = np.array([20 * (place % 4), 20 * (place // 4), 20 * (place % 4) + 16, 20 * (place // 4) + 16], np.float32)
        output[:, place, :4], output[:, place, 5] = box, place % 2
        output[:, place, 4] = 1 / (1 + np.exp(-odds[:, place]))
        truth[hit[:, place], place] = [*box, place % 2, 0]
    return table(output), truth


def by_hand(output, truth):
    """Return confidence, hit and overlap of every valid detection, by plain loops."""
    parts = []
    for detected, rows in zip(naive.above(output, 0.05), truth, strict=True):
        true = naive.real(rows, 4)
        for row, partner, overlap in naive.greedy(detected, true, 0.5):
            if partner is None or not true[partner][5]:
                parts.append((row[4], partner is not None, overlap))
    return np.array(parts).reshape(-1, 3).T


@pytest.mark.parametrize("seed", [*range(8), "simulated"])
def test_d_ece_matches_netcal_on_boxes_matched_by_hand(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = pytest.importorskip("netcal.metrics")
        if seed == "simulated":
            output, truth = simulated(30, 0, 2.0)
        else:
            detections, truth, _ = scene(seed, images=8)
            detections = detections.copy()
            jitter = 0.06 + 0.93 * np.random.default_rng(seed).random(
                detections.shape[:2]
            )  # netcal assigns bin edges differently
            detections[..., 4] = np.where(detections[..., 5] == -1, 0, jitter)
            output = table(detections)
        confidence, hit, _ = by_hand(output, truth)
        theirs = float(metrics.ECE(bins=10, detection=True).measure(confidence[:, None], hit.astype(int)))
    values, diagram = measured(output, truth)
    assert values["d_ece"].value == pytest.approx(theirs, abs=1e-6)
    assert values["d_ece"].params["detections"] == len(confidence) == sum(diagram["count"])


def test_rows_state_matching_rule_and_bins():
    values, _ = measured(*simulated(20, 0))
    assert list(values) == ["d_ece", "laece", "laace", "oce"]
    assert {name: m.params.get("bins") for name, m in values.items()} == {
        "d_ece": 10,
        "laece": 25,
        "laace": None,
        "oce": None,
    }
    for measure in values.values():
        assert measure.params["uncertainty"] == "score" and measure.params["rule"]["least_score"] == 0.05
        assert measure.higher_is_better is False and measure.n == 20 and measure.lo <= measure.value <= measure.hi


def test_planted_temperature_is_recovered_and_calibrates_scores():
    sharpened = 2.5
    rescaling = Detection().rescaling(*simulated(150, 1, sharpened))
    assert rescaling.value == pytest.approx(sharpened, rel=0.12)
    assert rescaling.n == 150 and rescaling.ends is None
    output, truth = simulated(150, 2, sharpened)
    before, after = (measured(tables, truth)[0]["d_ece"].value for tables in (output, rescaling.apply(output)))
    calibrated_error = measured(*simulated(150, 2))[0]["d_ece"].value
    assert before > 0.12 and after < before / 3 and after == pytest.approx(calibrated_error, abs=0.015)


def test_calibrated_scores_have_temperature_one():
    assert Detection().rescaling(*simulated(150, 3)).value == pytest.approx(1, rel=0.12)


def test_rescaling_changes_only_scores_and_keeps_their_order():
    output, truth = simulated(150, 1, 2.5)
    given = output.copy()
    scaled = Detection().rescaling(output, truth).apply(output)
    assert np.array_equal(output, given) and scaled.dtype == np.float64
    assert np.array_equal(np.delete(scaled, 4, axis=2), np.delete(output, 4, axis=2).astype(np.float64))
    assert np.array_equal(
        scaled[:, :, 4].argsort(axis=1, kind="stable"), output[:, :, 4].argsort(axis=1, kind="stable")
    )
    assert (scaled[output[..., 5] < 0] == NOTHING).all()
    certain = output[:1].copy()
    certain[0, :2, 4] = 1.0, 1e-9
    assert np.isfinite(Detection().rescaling(output, truth).apply(certain)).all()


def test_too_few_validation_detections_raise():
    output, truth = simulated(1, 0)
    with pytest.raises(NotApplicableError, match="12 validation detections are too few"):
        Detection().rescaling(output, truth)
    with pytest.raises(NotApplicableError, match="0 validation detections are too few"):
        Detection().rescaling(np.tile(NOTHING, (9, 100, 1)), np.zeros((9, 1, 6)) + np.array([0, 0, 0, 0, -1, 0]))


def test_no_temperature_is_best_if_every_detection_is_a_hit():
    output, _ = simulated(40, 0)
    every = output[:, :12, [0, 1, 2, 3, 5, 4]].copy()
    every[..., 5] = 0
    output[:, :12, 4] = output[:, :12, 4] / 2 + 0.5
    with pytest.raises(NotApplicableError, match="no temperature is best on 480 validation detections"):
        Detection().rescaling(output, every)


def test_without_detections_only_oce_is_defined():
    _, truth = simulated(20, 0)
    values, diagram = measured(np.tile(NOTHING, (20, 100, 1)), truth)
    for name in ("d_ece", "laece", "laace"):
        assert values[name].value is None and values[name].status == "inconclusive"
        assert "no detection reaches the lowest score" in values[name].reason
    assert values["oce"].value == 1 and values["oce"].params["detections"] == 0
    assert diagram == {}


def test_without_objects_every_detection_is_wrong():
    output, truth = simulated(20, 0)
    values, _ = measured(output, np.zeros_like(truth) + np.array([0, 0, 0, 0, -1, 0], np.float32))
    assert values["d_ece"].value == pytest.approx(output[:, :12, 4].mean(), abs=1e-6)
    assert values["oce"].value is None and values["oce"].reason == "no image has an object"


def test_detections_below_the_lowest_score_are_ignored():
    output, truth = simulated(20, 0)
    weak = output.copy()
    weak[..., 4] = np.where(weak[..., 5] >= 0, 0.04, 0)
    assert measured(weak, truth)[0]["d_ece"].value is None


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.slow
def test_average_precision_intervals_cover_the_expected_value(share):
    """Draw sets of 40 images from one population, in which a fraction of objects is missed.

    Average precision of so few images is biased upwards, so the interval must cover the mean over such sets.
    """
    output, truth = simulated(4000, 7)
    missed = np.random.default_rng(1).random((4000, 12)) < share
    others = np.where(missed[..., None], np.array([100, 0, 116, 16, 0, 0]), np.array([0, 0, 0, 0, -1, 0]))
    others[..., [0, 2]] += 20 * np.arange(12)[None, :, None] * missed[..., None]
    kind, generator = Detection(), np.random.default_rng(0)
    tally = kind.tally(output, np.concatenate([truth, others.astype(np.float32)], axis=1))
    sets = [tally[generator.integers(0, 4000, 40)] for _ in range(80)]
    measures = [kind.headline_measure(Table((), seed=seed), MAP, few) for seed, few in enumerate(sets)]
    expected = np.mean([measure.value for measure in measures])
    assert expected > kind.statistic(tally)(None)[0]
    assert 0.85 <= np.mean([measure.lo <= expected <= measure.hi for measure in measures]) <= 1
