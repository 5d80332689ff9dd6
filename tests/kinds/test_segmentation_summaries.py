"""Measures of segmentation follow from stored columns: of any rows, at any level, without the model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from suite.kinds.base import Outcomes, Prediction
from suite.kinds.segmentation.calibration import pixel_sums, segmentation_calibration
from suite.kinds.segmentation.kind import Segmentation
from suite.kinds.segmentation.metrics import mean_iou, pixel_accuracy
from suite.metrics.calibration import Predictions, Reliability
from suite.metrics.calibration.summary import brier_scores, classwise_ece
from suite.metrics.segmentation.calibration import PIXEL_ECE
from suite.metrics.segmentation.regions import boundary
from suite.metrics.table import Column, Table, collected

KIND, NAMES = Segmentation(), ("ground", "tree", "sky")
ROWS = np.array([0, 2, 3, 6, 8])


def logits_and_masks(images=9, size=(8, 6), seed=0):
    """Return logits (n, 3, h, w) and masks (n, h, w) with ignored pixels; the last image is ignored."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 3, (images, *size)).astype(np.uint8)
    logits = generator.normal(size=(images, 3, *size)) + 2 * (np.arange(3)[None, :, None, None] == truth[:, None])
    truth[generator.random(truth.shape) < 1 / 6] = 255
    truth[-1] = 255
    return logits.astype(np.float32), truth


def clean_table(logits, truth, rows=slice(None)):
    ids = tuple(map(str, np.arange(len(truth))[rows]))
    whole = collected([KIND.measured(Outcomes(ids, logits[rows], truth[rows], NAMES, 0, KIND))])
    return Table((Column("id", np.array(ids)), *whole.columns), whole.all_facts)


def method_table(logits, truth, rows=slice(None)):
    """Return the table of the softmax for some images, as the axis calibration narrows it."""
    prediction = Prediction("softmax", KIND.probabilities(logits[rows]), logits[rows], truth[rows], bins=10)
    whole = collected([pixel_sums(prediction)], uncertainty="softmax")
    return Table(tuple(whole.columns), {**whole.all_facts, "bins": 10}).at(uncertainty="softmax")


def clean(stored):
    return [*mean_iou(stored), *pixel_accuracy(stored)]


def ece(probabilities, labels):
    return Reliability.from_events(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, 10).ece()


def test_clean_measures_of_some_rows_equal_those_of_their_outputs():
    logits, truth = logits_and_masks()
    few = clean(clean_table(logits, truth).take(ROWS))
    assert few == clean(clean_table(logits, truth, ROWS))

    valid = truth[ROWS] != 255
    labels, predicted = truth[ROWS][valid], logits[ROWS].argmax(axis=1)[valid]
    either = [(labels == index) | (predicted == index) for index in range(3)]
    shares = [(labels[part] == predicted[part]).mean() for part in either]
    recalls = [(predicted[labels == index] == index).mean() for index in range(3)]
    expected = [np.mean(shares), *shares, (labels == predicted).mean(), np.mean(recalls)]
    assert [measure.value for measure in few] == pytest.approx(expected, abs=1e-12)
    names = ["miou", "class_iou", "class_iou", "class_iou", "pixel_accuracy", "mean_accuracy"]
    assert [measure.metric for measure in few] == names and few[2].params == {"class": "tree"}


def test_calibration_of_some_rows_equals_that_of_their_outputs():
    logits, truth = logits_and_masks()
    few = segmentation_calibration(method_table(logits, truth).take(ROWS))
    assert few == segmentation_calibration(method_table(logits, truth, ROWS))

    masks = truth[ROWS]
    probabilities = np.moveaxis(KIND.probabilities(logits[ROWS]), 1, -1)
    valid, predicted = masks != 255, probabilities.argmax(axis=-1)
    regions = (valid, valid & ((masks != 0) | (predicted != 0)), valid & boundary(masks, 2))
    labels = masks[valid].astype(np.int64)
    pixels = Predictions.from_probabilities(probabilities[valid], labels)
    alone = [ece(probabilities[row][valid[row]], masks[row][valid[row]]) for row in range(len(ROWS) - 1)]
    expected = [
        *(ece(probabilities[inside], masks[inside]) for inside in regions),
        classwise_ece(pixels, 10),
        -pixels.log_likelihood.mean(),
        brier_scores(pixels).mean(),
        np.mean(alone),
    ]
    assert [measure.value for measure in few] == pytest.approx(expected, abs=1e-12)
    assert [measure.params.get("pixels") for measure in few[:3]] == [int(inside.sum()) for inside in regions]


def test_nll_is_undefined_only_for_rows_with_impossible_pixels():
    logits, truth = logits_and_masks()
    truth[4, 0, 0], logits[4, :, 0, 0] = 1, (4000, 0, 0)
    stored = method_table(logits, truth)
    (whole,) = (one for one in segmentation_calibration(stored) if one.metric == "nll")
    (few,) = (one for one in segmentation_calibration(stored.take(ROWS)) if one.metric == "nll")
    assert whole.value is None and whole.reason.startswith("1 pixels have a true class of probability 0")
    assert few.value > 0


@pytest.mark.parametrize(("summary", "table"), [(clean, clean_table), (segmentation_calibration, method_table)])
def test_the_level_widens_the_interval_and_keeps_the_value(summary, table):
    stored = table(*logits_and_masks())
    for narrow, wide in zip(summary(replace(stored, level=0.5)), summary(replace(stored, level=0.99)), strict=True):
        assert (narrow.level, wide.level) == (0.5, 0.99) and narrow.value == wide.value
        assert wide.lo < narrow.lo and narrow.hi < wide.hi


def test_columns_are_small_and_facts_are_json():
    for table in (clean_table, method_table):
        stored = table(*logits_and_masks())
        assert sum(column.values[:1].nbytes for column in stored.columns) < 16_000
        assert json.loads(json.dumps(stored.facts)) == stored.facts


def test_the_board_shows_the_error_of_all_pixels_only():
    assert [column.title for column in PIXEL_ECE.columns] == ["ECE", "ECE scaled"]
    assert all(column.where["region"] is None for column in PIXEL_ECE.columns)


def table_of(confusions, *columns):
    names = [f"c{index}" for index in range(confusions.shape[1])]
    ids = Column("id", np.array([str(number) for number in range(len(confusions))]))
    return Table((ids, Column("confusion", confusions), *columns), {"classes": names})


def test_perfect_masks_have_an_interval_and_a_rare_class_a_wide_one():
    confusions = np.zeros((50, 3, 3), np.int64)
    confusions[:, 0, 0], confusions[:3, 1, 1], confusions[0, 2, 2] = 80, 20, 20
    mean, common, rare, once = mean_iou(table_of(confusions))
    assert {one.value for one in (mean, common, rare, once)} == {1.0}
    assert 0.9 < common.lo < 0.96 and rare.lo < 0.5 and common.status == rare.status == "ok"
    assert once.status == "inconclusive" and "images with c2 (n = 1" in once.reason and once.lo is None
    assert all(0 < one.lo < one.hi == 1 for one in pixel_accuracy(table_of(confusions)))


def test_images_of_one_group_are_drawn_together():
    pair = np.array([[[90, 10], [0, 0]], [[50, 50], [0, 0]]])
    confusions = pair.repeat(30, axis=0)
    groups = Column("group", np.repeat(np.arange(12), 5).astype(str).astype(object))
    alone, grouped = (pixel_accuracy(table_of(confusions, *extra))[0] for extra in ((), (groups,)))
    assert alone.value == grouped.value == 0.7 and (alone.groups, grouped.groups) == (None, 12)
    assert grouped.hi - grouped.lo > 1.5 * (alone.hi - alone.lo)
