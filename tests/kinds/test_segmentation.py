"""The segmentation kind: validation of masks, and metrics against plain counts, netcal and simulation."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from suite.data import load
from suite.errors import DataError, ModelError, NotApplicableError
from suite.kinds.base import Outcomes, Prediction
from suite.kinds.segmentation.calibration import pixel_sums, segmentation_calibration
from suite.kinds.segmentation.kind import Segmentation
from suite.metrics.segmentation import MIOU, PixelEvents
from suite.metrics.table import Table, collected
from suite.models.base import TorchSegmenter
from suite.registry import Entry
from suite.spec import parse
from suite.types import Sample
from tests.kinds.planted import context_of

NAMES = ("ground", "tree", "sky")
SIZE = (6, 8)


def image(value=100, shape=(3, *SIZE)):
    return np.full(shape, value, np.uint8)


def mask(value=1, shape=SIZE, dtype=np.uint8):
    return np.full(shape, value, dtype)


def loaded(*samples, classes=NAMES):
    """Load a task with these test samples, given as (input, target)."""
    meta = {"kind": "segmentation", "classes": classes, "version": "1", "source": ""}
    given = [Sample(f"s{place}", *sample) for place, sample in enumerate(samples)]
    entry = Entry("task", "given", lambda split, seed: iter(given if split == "test" else []), "here", meta=meta)
    return load(entry, parse("given"), seed=0, kind=Segmentation().kind())


MASKS = {
    "class K": (mask(3), "a mask with the value 3; expected 0 to 2, and 255 where it is ignored"),
    "several": (np.arange(48).reshape(SIZE), "the values 3, 4, 5, 6, 7, 8, 9, 10; expected 0 to 2"),
    "just below ignored": (mask(254), "the value 254"),
    "negative": (mask(-1, dtype=np.int64), "the value -1"),
    "beyond a byte": (mask(256, dtype=np.int64), "the value 256"),
    "wraps to a class": (mask(257, dtype=np.int64), "the value 257"),
    "other size": (mask(shape=(6, 7)), r"a mask of size \(6, 7\) for an image of size \(6, 8\); they must be equal"),
    "turned": (mask(shape=(8, 6)), "they must be equal"),
    "with channels": (mask(shape=(*SIZE, 1)), r"a mask of shape \(6, 8, 1\)"),
    "colors": (mask(shape=(*SIZE, 3)), r"a mask of shape \(6, 8, 3\)"),
    "floats": (mask(1.0, dtype=np.float32), "type float32; expected whole numbers"),
    "booleans": (mask(True, dtype=bool), "type bool; expected whole numbers"),
    "one number": (1, r"a mask of shape \(\)"),
    "nothing": (None, "a mask of shape"),
}


@pytest.mark.parametrize("way", MASKS)
def test_invalid_mask_is_dropped_with_its_id_and_the_reason(way):
    truth, reason = MASKS[way]
    data = loaded((image(), truth), (image(7), mask()))
    assert data.test.ids == ("s1",) and data.report.kept["test"] == 1
    ((name, message),) = data.report.dropped["unusable"]
    assert name == "s0" and re.search(reason, message) and message in data.report.sentence()


def test_masks_of_all_integer_types_become_uint8():
    types = (np.uint8, np.int16, np.int64)
    data = loaded(*((image(place), mask(place, dtype=dtype)) for place, dtype in enumerate(types)))
    assert data.test.targets.dtype == np.uint8 and data.test.targets[:, 0, 0].tolist() == [0, 1, 2]
    assert data.test.targets.shape == (3, *SIZE)


def test_fully_ignored_image_is_kept_without_weight():
    data = loaded((image(), mask(255)), (image(1), mask(1)))
    assert data.report.kept["test"] == 2 and data.report.dropped == {}
    kind, logits = Segmentation(), np.zeros((2, 3, *SIZE), np.float32)
    logits[:, 1] = 1
    outcomes = Outcomes(data.test.ids, logits, data.test.targets, NAMES, 0, kind)
    columns = kind.measured(outcomes).columns
    assert columns["image_iou"].tolist() == [1, 1] and np.isnan(columns["image_accuracy"][0])
    tally = kind.tally(logits, data.test.targets)
    assert tally[0].sum() == 0 and kind.headline_measure(Table(()), MIOU, tally).value == 1
    nothing = kind.headline_measure(Table(()), MIOU, tally[:1])
    assert nothing.value is None and nothing.reason and nothing.status == "inconclusive"
    assert kind.damage(torch.from_numpy(logits), torch.from_numpy(data.test.targets)).tolist() == [0, 0]


def test_undeclared_classes_are_numbered():
    data = loaded((image(), mask(4)), (image(1), mask(255)), classes=None)
    assert data.info.classes == ("class 0", "class 1", "class 2", "class 3", "class 4")


def test_grayscale_images_may_have_masks():
    data = loaded((image(shape=SIZE), mask()))
    assert data.test.inputs.shape == (1, 1, *SIZE)


def test_images_of_different_sizes_raise():
    with pytest.raises(DataError, match="inputs of 2 shapes"):
        loaded((image(), mask()), (image(shape=(3, 5, 5)), mask(shape=(5, 5))))


@pytest.mark.parametrize(
    "side",
    [6, 64],
)
def test_equal_images_with_different_masks_are_reported(side):
    one, other = mask(shape=(side, side)), mask(shape=(side, side))
    other[side // 2, side // 2] = 2
    same = image(shape=(3, side, side))
    data = loaded((same, one), (same, other), (same, one))
    assert [text for _, text in data.report.dropped["duplicate"]] == [
        "test sample equal to s0 in test, which has other targets",
        "test sample equal to s0 in test",
    ]


def test_output_with_wrong_number_of_classes_raises():
    Segmentation().check_output(torch.zeros(2, 3, 4, 4), NAMES)
    with pytest.raises(ModelError, match=r"returns 4 logits per pixel, but the task has 3 classes .ground, tree, sky"):
        Segmentation().check_output(torch.zeros(2, 4, 4, 4), NAMES)


def test_logits_are_resized_to_the_image():
    model = TorchSegmenter(nn.Conv2d(3, 3, 2, stride=2))
    assert model(torch.rand(2, 3, 6, 8)).shape == (2, 3, 6, 8)
    with pytest.raises(ModelError, match=r"expected .images, classes, rows, columns"):
        TorchSegmenter(nn.Flatten())(torch.rand(2, 3, 6, 8))


def guesses(images=9, classes=4, size=(7, 5), seed=0, sharp=2.0):
    """Return logits (n, K, h, w) in float32 and masks; the last image is ignored, and a sixth of all others."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, (images, *size)).astype(np.uint8)
    logits = generator.normal(size=(images, classes, *size)).astype(np.float32)
    logits += sharp * (np.arange(classes)[None, :, None, None] == truth[:, None])
    truth[generator.random(truth.shape) < 1 / 6] = 255
    truth[-1] = 255
    return logits.astype(np.float32), truth


def plain_miou(logits, truth):
    """Return the mean over classes of intersection over union, pixel by pixel."""
    pairs = [(int(t), int(p)) for t, p in zip(truth.ravel(), logits.argmax(1).ravel(), strict=True) if t != 255]
    ratios = []
    for index in range(logits.shape[1]):
        union = sum(index in pair for pair in pairs)
        if union:
            ratios.append(sum(pair == (index, index) for pair in pairs) / union)
    return sum(ratios) / len(ratios) if ratios else np.nan


@pytest.mark.parametrize("seed", range(5))
def test_headline_pools_pixels_and_damage_is_per_image(seed):
    logits, truth = guesses(seed=seed)
    kind = Segmentation()
    measure = kind.headline_measure(Table(()), MIOU, kind.tally(logits, truth))
    assert measure.value == pytest.approx(plain_miou(logits, truth))
    damage = kind.damage(torch.from_numpy(logits), torch.from_numpy(truth)).tolist()
    expected = [1 - plain_miou(logits[i : i + 1], truth[i : i + 1]) for i in range(len(truth) - 1)]
    assert damage == pytest.approx([*expected, 0])
    columns = kind.measured(Outcomes(tuple("abcdefghi"), logits, truth, tuple("wxyz"), 0, kind)).columns
    assert (1 - columns["image_iou"]).tolist() == pytest.approx(damage)


@pytest.mark.parametrize("seed", range(5))
def test_statistic_of_counts_equals_that_of_repeated_images(seed):
    logits, truth = guesses(images=6, classes=3, size=(2, 2), seed=seed)
    kind = Segmentation()
    tally = kind.tally(logits, truth)
    indices = np.random.default_rng(seed).integers(0, 6, (200, 6))
    indices[0] = 5  # a resample of nothing but ignored pixels
    counts = np.stack([np.bincount(row, minlength=6) for row in indices])
    anew = np.array([kind.statistic(tally[row])(None)[0] for row in indices])
    drawn = kind.statistic(tally)(counts)
    assert np.isnan(anew[0]) and np.array_equal(np.isnan(anew), np.isnan(drawn))
    assert np.array_equal(drawn[1:][~np.isnan(anew[1:])], anew[1:][~np.isnan(anew[1:])])


def population(count=4000, classes=3, seed=0):
    """Return confusion matrices of images with different classes and difficulty."""
    generator = np.random.default_rng(seed)
    shows = generator.dirichlet(np.full(classes, 0.6), count)
    correct = generator.beta(6, 3, (count, classes))
    tally = np.zeros((count, classes, classes), np.int64)
    for place in range(count):
        for index, pixels in enumerate(generator.multinomial(200, shows[place])):
            wrong = np.full(classes, (1 - correct[place, index]) / (classes - 1))
            wrong[index] = correct[place, index]
            tally[place, index] = generator.multinomial(pixels, wrong)
    return tally


def test_miou_intervals_cover_the_true_value():
    tally, kind, generator = population(), Segmentation(), np.random.default_rng(1)
    expected = float(kind.statistic(tally)(None)[0])
    covered = []
    for seed in range(200):
        few = tally[generator.integers(0, len(tally), 40)]
        measure = kind.headline_measure(Table((), seed=seed), MIOU, few)
        covered.append(measure.lo <= expected <= measure.hi)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_only_covered_pixels_are_ignored():
    _, truth = guesses()
    given, covered = torch.from_numpy(truth), torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    changed = Segmentation().mask_covered_targets(given, covered)
    assert (changed[covered] == 255).all() and torch.equal(changed[~covered], given[~covered])
    assert not torch.equal(given, changed) and changed.dtype == torch.uint8


def measured(logits, truth):
    """Return the calibration measures by name and region, and the table that they follow from."""
    prediction = Prediction("softmax", Segmentation().probabilities(logits), logits, truth)
    whole = collected([pixel_sums(prediction)])
    columns, facts = whole.columns, whole.all_facts
    table = Table(tuple(columns), {**facts, "bins": 15}, params={"uncertainty": "softmax"})
    return {(m.metric, m.params.get("region", "all")): m for m in segmentation_calibration(table)}, table


@pytest.mark.parametrize("seed", range(4))
def test_calibration_matches_netcal_and_means_over_valid_pixels(seed):
    logits, truth = guesses(seed=seed, images=12)
    chances = np.moveaxis(Segmentation().probabilities(logits), 1, -1)[truth != 255]
    labels = truth[truth != 255].astype(int)
    values, table = measured(logits, truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = pytest.importorskip("netcal.metrics")
        assert values["ece", "all"].value == pytest.approx(float(metrics.ECE(15).measure(chances, labels)), abs=1e-9)
        front = (labels != 0) | (chances.argmax(1) != 0)
        theirs = float(metrics.ECE(15).measure(chances[front], labels[front]))
        assert values["ece", "foreground"].value == pytest.approx(theirs, abs=1e-9)
    own = chances[np.arange(len(labels)), labels]
    assert values["nll", "all"].value == pytest.approx(-np.log(own).mean())
    assert values["brier", "all"].value == pytest.approx(((chances - np.eye(4)[labels]) ** 2).sum(1).mean())
    assert values["ece", "all"].params["pixels"] == len(labels) == sum(table.facts["reliability"]["count"])
    per_image = PixelEvents.of(Segmentation().probabilities(logits), truth).per_image_ece()
    assert np.isnan(per_image[-1]) and values["image_ece", "all"].value == pytest.approx(per_image[:-1].mean())


def test_calibration_is_undefined_without_valid_pixels():
    logits, truth = guesses()
    values, _ = measured(logits, np.full_like(truth, 255))
    for measure in values.values():
        assert measure.value is None and measure.status == "inconclusive" and measure.reason
    flat = np.zeros_like(logits)
    flat[:, 0] = 9
    values, _ = measured(flat, np.zeros_like(truth))
    assert values["ece", "foreground"].value is None and values["ece", "all"].value is not None


def drawn_by_softmax(count, seed, sharpened):
    """Return logits and masks whose classes are drawn from the softmax of logits / sharpened."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=1.5, size=(count, 3, 10, 10))
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (generator.random((count, 1, 10, 10)) > chances.cumsum(1)).sum(1).clip(0, 2).astype(np.uint8)
    truth[generator.random(truth.shape) < 0.1] = 255
    return (sharpened * logits).astype(np.float32), truth


def test_planted_temperature_is_recovered_and_calibrates_the_softmax():
    rescaling = Segmentation().rescaling(*drawn_by_softmax(60, 0, 3.0))
    assert rescaling.value == pytest.approx(3, rel=0.05) and rescaling.ends is None
    logits, truth = drawn_by_softmax(60, 1, 3.0)
    before, after = (measured(each, truth)[0]["ece", "all"].value for each in (logits, rescaling.apply(logits)))
    assert before > 0.1 and after < 0.02


def test_no_temperature_is_best_for_a_perfect_model():
    logits, truth = guesses(sharp=50)
    with pytest.raises(NotApplicableError, match=r"no temperature is best on .* validation pixels"):
        Segmentation().rescaling(logits, truth)


def test_no_temperature_for_fully_ignored_validation_masks():
    logits, truth = guesses()
    with pytest.raises(NotApplicableError, match="all validation pixels are ignored"):
        Segmentation().rescaling(logits, np.full_like(truth, 255))


def test_largest_foreground_class_is_explained_on_its_region():
    context = context_of("segmentation")
    kind, logits = context.kind.maps, context.outcomes.output
    rows = np.flatnonzero(kind.explainable(logits))
    assert rows.tolist() == [place for place in range(20) if place % 5 != 4]  # every fifth scene is empty
    outputs = torch.from_numpy(logits[rows])
    scalars = kind.explained(context.model, context.pixels[rows], outputs)
    predicted = logits[rows].argmax(axis=1)
    areas = np.stack([(predicted == index).sum(axis=(1, 2)) for index in (1, 2)], axis=1)
    chosen = 1 + areas.argmax(axis=1)
    assert np.array_equal(scalars.region.numpy(), predicted == chosen[:, None, None])
    everyone = torch.arange(len(rows))
    with torch.no_grad():
        score, target = scalars.score(context.pixels[rows], everyone), scalars.target(context.pixels[rows], everyone)
        gone = scalars.score(torch.full_like(context.pixels[rows], 0.4), everyone)
    chances = kind.probabilities(logits[rows])
    for place, index in enumerate(chosen):
        inside = scalars.region[place].numpy()
        assert score[place] == pytest.approx(chances[place, index][inside].mean(), abs=1e-6)
        assert target[place] == pytest.approx(logits[rows[place], index][inside].mean(), rel=1e-5)
    assert (gone < 0.05).all() and torch.isfinite(gone).all()
