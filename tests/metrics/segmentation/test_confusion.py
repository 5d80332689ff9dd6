"""Confusion matrices and their metrics against scikit-learn and small examples."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score

from suite.errors import DataError, MeasureError
from suite.metrics.segmentation import class_iou, confusions, empty, image_iou, mean_accuracy, mean_iou, pixel_accuracy


def maps(seed=0, images=12, classes=5, ignored=0.2, side=9):
    """Return predictions and truths, correct in about half of the pixels; the last class is absent from many images."""
    source = np.random.default_rng(seed)
    shares = np.array([*np.ones(classes - 1), 0.02])
    truth = source.choice(classes, size=(images, side, side + 2), p=shares / shares.sum()).astype(np.uint8)
    prediction = np.where(source.random(truth.shape) < 0.5, truth, source.integers(0, classes, truth.shape))
    truth[source.random(truth.shape) < ignored] = 255
    return prediction, truth


SMALL_TRUTH = np.array([[[0, 0, 1], [1, 255, 255]]], np.uint8)
SMALL_PREDICTION = np.array([[[0, 1, 1], [0, 2, 1]]])


def test_ignored_pixels_are_neither_truth_nor_prediction():
    matrices = confusions(SMALL_PREDICTION, SMALL_TRUTH, 3)
    assert matrices.dtype == np.int64
    assert matrices.tolist() == [[[1, 1, 0], [1, 1, 0], [0, 0, 0]]]
    assert class_iou(matrices)[0, :2].tolist() == [1 / 3, 1 / 3] and np.isnan(class_iou(matrices)[0, 2])
    assert mean_iou(matrices).tolist() == [1 / 3]
    assert image_iou(matrices).tolist() == [1 / 3]
    assert pixel_accuracy(matrices).tolist() == [0.5]
    assert mean_accuracy(matrices).tolist() == [0.5]


@pytest.mark.parametrize("seed", range(20))
def test_every_metric_equals_scikit_learn_on_valid_pixels(seed):
    prediction, truth = maps(seed)
    matrices = confusions(prediction, truth, 5)
    for image, matrix in enumerate(matrices):
        valid = truth[image] != 255
        assert np.array_equal(matrix, confusion_matrix(truth[image][valid], prediction[image][valid], labels=range(5)))
        own = jaccard_score(truth[image][valid], prediction[image][valid], average="macro")
        assert image_iou(matrices)[image] == pytest.approx(own, abs=1e-15)
    valid = truth != 255
    pair = truth[valid], prediction[valid]
    assert class_iou(matrices)[0] == pytest.approx(jaccard_score(*pair, average=None, labels=range(5)), abs=1e-15)
    assert mean_iou(matrices)[0] == pytest.approx(jaccard_score(*pair, average="macro"), abs=1e-15)
    assert pixel_accuracy(matrices)[0] == pytest.approx((pair[0] == pair[1]).mean(), abs=1e-15)
    present = np.unique(pair[0])
    recall = recall_score(*pair, average="macro", labels=present)
    assert mean_accuracy(matrices)[0] == pytest.approx(recall, abs=1e-15)


def test_mean_iou_is_pooled_over_images():
    truth = np.zeros((2, 1, 4), np.uint8)
    truth[1, 0, 3] = 1
    prediction = np.zeros((2, 1, 4), int)  # the second image misses its one pixel of class 1
    matrices = confusions(prediction, truth, 2)
    assert image_iou(matrices).tolist() == [1.0, 3 / 8]
    assert mean_iou(matrices).tolist() == [7 / 16]


def test_counts_equal_repeated_images():
    prediction, truth = maps(images=8)
    matrices = confusions(prediction, truth, 5)
    drawn = np.random.default_rng(1).integers(0, 8, (30, 8))
    counts = np.stack([np.bincount(row, minlength=8) for row in drawn])
    for measure in (class_iou, mean_iou, pixel_accuracy, mean_accuracy):
        again = np.concatenate([measure(matrices[row]) for row in drawn])
        np.testing.assert_array_equal(measure(matrices, counts), again)
    assert mean_iou(matrices, counts).shape == (30,) and class_iou(matrices, counts).shape == (30, 5)


def test_predicted_only_class_counts_in_mean_iou_but_not_in_mean_accuracy():
    matrices = confusions(np.array([[[0, 0, 2, 2]]]), np.zeros((1, 1, 4), np.uint8), 3)
    assert class_iou(matrices)[0].tolist()[::2] == [0.5, 0.0]
    assert mean_iou(matrices).tolist() == [0.25]
    assert mean_accuracy(matrices).tolist() == [0.5]


def test_image_of_ignored_pixels_has_iou_one():
    prediction, truth = maps(images=3)
    truth[1] = 255
    matrices = confusions(prediction, truth, 5)
    assert empty(matrices).tolist() == [False, True, False]
    assert image_iou(matrices)[1] == 1 and (image_iou(matrices)[[0, 2]] < 1).all()
    np.testing.assert_array_equal(mean_iou(matrices), mean_iou(matrices[[0, 2]]))


def test_metrics_are_undefined_without_valid_pixels():
    matrices = confusions(np.zeros((2, 3, 3), int), np.full((2, 3, 3), 255, np.uint8), 4)
    for measure in (mean_iou, pixel_accuracy, mean_accuracy, class_iou):
        assert np.isnan(measure(matrices)).all()
    matrices = np.concatenate([matrices, confusions(np.ones((1, 3, 3), int), np.ones((1, 3, 3), np.uint8), 4)])
    only_empty = mean_iou(matrices, [[2, 1, 0], [0, 0, 3]])
    assert np.isnan(only_empty[0]) and only_empty[1] == 1
    none = confusions(np.zeros((0, 3, 3), int), np.zeros((0, 3, 3), np.uint8), 4)
    assert none.shape == (0, 4, 4) and image_iou(none).shape == (0,) and np.isnan(mean_iou(none)).all()


def test_many_large_images_do_not_overflow():
    matrix = np.full((1000, 2, 2), 10**9, np.int64)
    assert mean_iou(matrix).tolist() == [1 / 3]


def test_unknown_class_in_the_truth_is_refused():
    truth = np.array([[[0, 4, 7, 255]]], np.uint8)
    with pytest.raises(DataError, match=r"\[4, 7\]; expected 0\.\.3, or 255"):
        confusions(np.zeros((1, 1, 4), int), truth, 4)
    with pytest.raises(DataError, match=r"\[-1\]"):
        confusions(np.zeros((1, 1, 1), int), np.array([[[-1]]]), 4)


def test_unknown_class_in_the_prediction_is_refused_on_valid_pixels():
    truth = np.array([[[0, 255]]], np.uint8)
    assert confusions(np.array([[[1, 255]]]), truth, 2).sum() == 1
    with pytest.raises(DataError, match=r"prediction: got indices in 2\.\.2; expected 0\.\.1"):
        confusions(np.array([[[2, 0]]]), truth, 2)


@pytest.mark.parametrize(
    ("prediction", "truth", "classes", "message"),
    [
        (np.zeros((1, 2, 2), int), np.zeros((1, 2, 3), np.uint8), 2, "expected that of the truth"),
        (np.zeros((1, 2, 2)), np.zeros((1, 2, 2), np.uint8), 2, "prediction: got float64"),
        (np.zeros((1, 2, 2), int), np.zeros((1, 2, 2)), 2, "truth: got float64"),
        (np.zeros((2, 2), int), np.zeros((2, 2), np.uint8), 2, r"expected \(n, h, w\)"),
        (np.zeros((1, 2, 2), int), np.zeros((1, 2, 2), np.uint8), 256, "1 to 255"),
    ],
)
def test_invalid_arrays_are_refused(prediction, truth, classes, message):
    with pytest.raises(DataError, match=message):
        confusions(prediction, truth, classes)


@pytest.mark.parametrize("counts", [[1, 1], [[1, 1, 1]], [[1, -1]], [[np.nan, 1]]])
def test_invalid_weights_are_refused(counts):
    with pytest.raises(MeasureError, match="weights: got"):
        mean_iou(np.ones((2, 3, 3), np.int64), counts)


def test_confusions_of_the_wrong_shape_are_refused():
    with pytest.raises(DataError, match=r"\(n, classes, classes\)"):
        image_iou(np.ones((2, 3, 4), np.int64))
