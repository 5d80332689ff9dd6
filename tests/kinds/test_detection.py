"""The detection kind: its threshold, its metrics under resampling, and outputs without detections."""

import numpy as np
import pytest
import torch

from suite.errors import ModelError
from suite.kinds.base import Outcomes
from suite.kinds.detection.kind import Detection
from suite.kinds.detection.metrics import detection_under_attack
from suite.metrics.detection import MAP, average_precision, match, mean_ap
from suite.metrics.table import Column, Table
from suite.models.base import TorchClassifier
from tests.kinds.planted import NOTHING, THINGS, context_of, model_of, table
from tests.metrics.detection import naive
from tests.metrics.detection.scenes import scene


def spread(seed, images=12, classes=None):
    """Return a scene's output and truth, with scores that are all different."""
    detections, truth, classes = scene(seed, images=images, classes=classes)
    detections = detections.copy()
    generator = np.random.default_rng(seed)
    scores = generator.permutation(np.linspace(0.06, 0.99, detections.shape[0] * detections.shape[1]))
    detections[..., 4] = np.where(detections[..., 5] == -1, 0, scores.reshape(detections.shape[:2]))
    return table(detections), truth.copy(), classes


def under_attack(kind, output, truth, **params):
    """Return the measures of a kind under attack."""
    tally = Column("tally", kind.tally(output, truth))
    return detection_under_attack(Table((tally,), {"threshold": kind.threshold}, params=params))


def thresholds(output):
    scores = np.unique(output[..., 4][output[..., 5] != -1])
    return [*(scores - 1e-5), 1.0]


@pytest.mark.parametrize("seed", range(12))
def test_threshold_minimizes_the_lrp_error(seed):
    output, truth, _ = spread(seed, images=6)
    kind = Detection().fit_to_model(lambda: (output, truth))
    errors = [naive.lrp(output, truth, threshold, pooled=True) for threshold in thresholds(output)]
    assert naive.lrp(output, truth, kind.threshold, pooled=True) == pytest.approx(min(errors), abs=1e-6)
    assert 0.05 <= kind.threshold <= 1


def test_threshold_is_one_half_without_validation_samples_or_hits():
    assert Detection().fit_to_model(lambda: (np.zeros((0, 100, 6)), np.zeros((0, 1, 6)))).threshold == 0.5
    output, truth, _ = spread(1)
    assert Detection().fit_to_model(lambda: (np.tile(NOTHING, (12, 100, 1)), truth)).threshold == 0.5
    nothing = np.zeros_like(truth) + np.array([0, 0, 0, 0, -1, 0], np.float32)
    assert Detection().fit_to_model(lambda: (output, nothing)).threshold == 0.5


def test_rates_under_attack_and_displayed_boxes_use_and_report_the_threshold():
    output, truth, _ = spread(5)
    kinds = [Detection(threshold) for threshold in (0.2, 0.8)]
    results = [under_attack(kind, output, truth, attack="x") for kind in kinds]
    for kind, measures in zip(kinds, results, strict=True):
        by_name = {measure.metric: measure for measure in measures}
        assert list(by_name) == ["map50", "mislabel_rate", "disappearance_rate", "false_positives_per_image"]
        assert by_name["map50"].params == {"attack": "x"} and by_name["map50"].higher_is_better
        for name in ("mislabel_rate", "disappearance_rate", "false_positives_per_image"):
            assert by_name[name].params == {"attack": "x", "threshold": kind.threshold}
            assert by_name[name].higher_is_better is False
        displayed = kind.output_arrays(output)["boxes"].values
        assert displayed.shape == (12, 30, 6)
        assert (displayed[..., 4][displayed[..., 5] >= 0] >= kind.threshold).all()
        assert (displayed[displayed[..., 5] < 0] == NOTHING).all()
        assert kind.explainable(output).tolist() == [bool(rows[0, 4] >= kind.threshold) for rows in output]
    assert results[0][0].value == results[1][0].value
    assert results[0][2].value < results[1][2].value and results[0][3].value > results[1][3].value


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_each_object_has_exactly_one_state(seed, threshold):
    output, truth, classes = spread(seed)
    kind = Detection(threshold)
    outcomes = Outcomes(tuple(map(str, range(12))), output, truth, tuple("abcd"[:classes]), 0, kind)
    columns = kind.measured(outcomes).columns
    objects = ((truth[..., 4] >= 0) & (truth[..., 5] == 0)).sum(axis=1)
    assert (columns["found"] + columns["mislabelled"] + columns["missed"]).tolist() == objects.tolist()
    rates = {m.metric: m.value for m in under_attack(kind, output, truth)}
    if objects.sum():
        assert rates["disappearance_rate"] == columns["missed"].sum() / objects.sum()
        assert rates["mislabel_rate"] == columns["mislabelled"].sum() / objects.sum()
    assert rates["false_positives_per_image"] == pytest.approx(columns["false_positives"].mean())


@pytest.mark.parametrize("seed", range(6))
def test_damage_is_the_lrp_error_of_each_image(seed):
    output, truth, _ = spread(seed)
    damage = Detection(0.4).damage(torch.from_numpy(output), torch.from_numpy(truth))
    expected = [naive.lrp(output[i : i + 1], truth[i : i + 1], 0.4, pooled=True) for i in range(12)]
    assert damage.tolist() == pytest.approx(expected, abs=1e-6)


def test_non_finite_image_has_damage_one_and_does_not_affect_others():
    output, truth, _ = spread(5)
    broken = output.copy()
    broken[3, 17, 2] = np.nan
    before, after = (Detection().damage(torch.from_numpy(o), torch.from_numpy(truth)) for o in (output, broken))
    assert after[3] == 1 and torch.equal(after[torch.arange(12) != 3], before[torch.arange(12) != 3])


@pytest.mark.parametrize("seed", range(8))
def test_statistic_of_counts_equals_that_of_repeated_images(seed):
    output, truth, _ = spread(seed)
    kind = Detection()
    tally = kind.tally(output, truth)
    indices = np.random.default_rng(seed).integers(0, len(tally), (25, len(tally)))
    counts = np.stack([np.bincount(row, minlength=len(tally)) for row in indices])
    drawn = kind.statistic(tally)(counts)
    anew = np.array([kind.statistic(tally[row])(None)[0] for row in indices])
    assert np.array_equal(np.isnan(drawn), np.isnan(anew))
    assert drawn == pytest.approx(anew, abs=1e-12, nan_ok=True)


def test_tally_splits_into_detections_and_truth():
    output, truth, classes = spread(3)
    tally = Detection().tally(output, truth)
    assert tally.shape == (12, 100 + truth.shape[1], 6)
    plain = mean_ap(average_precision(match(output, truth, classes)))[0]
    assert Detection().headline_measure(Table(()), MAP, tally).value == pytest.approx(plain, abs=1e-12)


def test_undefined_map_has_a_reason():
    output, truth, _ = spread(5)
    nothing = np.zeros_like(truth) + np.array([0, 0, 0, 0, -1, 0], np.float32)
    measure = Detection().headline_measure(Table(()), MAP, Detection().tally(output, nothing))
    assert measure.value is None and measure.reason == "no sample has anything to detect"
    names = {m.metric: m for m in under_attack(Detection(0.1), output, nothing)}
    assert names["disappearance_rate"].value is None and names["disappearance_rate"].reason
    assert names["false_positives_per_image"].value > 0  # detections on the background count


def test_output_of_wrong_shape_raises():
    kind = Detection()
    kind.check_output(torch.from_numpy(np.tile(NOTHING, (2, 100, 1))), THINGS)
    with pytest.raises(ModelError, match=r"shape \(2, 3\).*Wrap it in TorchDetector"):
        kind.check_output(torch.zeros(2, 3), THINGS)
    wrong = torch.from_numpy(np.tile(NOTHING, (2, 100, 1)))
    wrong[0, 0, 5] = 2
    with pytest.raises(ModelError, match="detects the class 2, but the task has 2 classes"):
        kind.check_output(wrong, THINGS)
    with pytest.raises(ModelError, match="is a TorchClassifier; a detection task needs a TorchDetector"):
        kind.objective(TorchClassifier(torch.nn.Identity()))


def test_best_detection_is_explained():
    context = context_of("detection")
    kind, model = context.kind.maps, context.model
    rows = np.flatnonzero(kind.explainable(context.outcomes.output))
    pixels, outputs = context.pixels[rows], torch.from_numpy(context.outcomes.output[rows])
    scalars = kind.explained(model, pixels, outputs)
    with torch.no_grad():
        everyone = torch.arange(len(rows))
        assert scalars.score(pixels, everyone).tolist() == pytest.approx(outputs[:, 0, 4].tolist(), abs=1e-6)
        odds = scalars.target(pixels, everyone)
        assert odds.tolist() == pytest.approx(torch.logit(outputs[:, 0, 4], 1e-6).tolist(), abs=1e-2)
        gray = torch.full_like(pixels, 0.4)
        assert scalars.score(gray, everyone).tolist() == [0] * len(rows)
        assert (scalars.target(gray, everyone) < 0).all()
        # Rows select the explained detection, which may not exist in another image.
        others = torch.arange(len(rows)).roll(1)
        different = (outputs[:, 0, :4] != outputs[others, 0, :4]).any(dim=1)
        swapped = scalars.score(pixels[different], others[different])
        assert (swapped < scalars.score(pixels[different], everyone[different])).any()
    x1, y1, x2, y2 = outputs[0, 0, :4].int().tolist()
    assert scalars.region[0].sum() == (x2 - x1) * (y2 - y1) and scalars.region[0, y1:y2, x1:x2].all()


def test_training_lowers_the_detector_loss():
    context = context_of("detection")
    model = model_of("detection")
    model.module.eval()
    losses, output = context.kind.training.training_loss(model, context.pixels, context.targets)
    assert losses.shape == (20,) and output.shape == (20, 100, 6)
    model.module.train()
    assert context.kind.training.training_loss(model, context.pixels, context.targets)[1] is None
