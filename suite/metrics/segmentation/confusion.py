"""Confusion matrices per image, and their metrics: intersection over union (IoU) and accuracy."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.segmentation.arrays import (
    IGNORED,
    BoolArray,
    FloatArray,
    IndexArray,
    as_class_map,
    as_truth,
)
from suite.metrics.stats import Statistic, mean_defined, ratio
from suite.metrics.stats.imagined import imagined_ratios
from suite.metrics.stats.resampled import checked_counts

MIOU = Metric(
    "miou",
    "mean IoU",
    "mean intersection over union: for each class, the pixels that are both predicted and true, divided by those that "
    "are either, averaged over classes; 100 % means that every pixel is correct",
    columns=(BoardColumn("mIoU"),),
    is_headline=True,
    tally=("confusion",),
)
CLASS_IOU = Metric(
    "class_iou", "IoU of a class", "pixels both predicted and true of a class, divided by those that are either"
)
PIXEL_ACCURACY = Metric(
    "pixel_accuracy",
    "pixel accuracy",
    "share of correct pixels; dominated by large classes such as the background",
)
MEAN_ACCURACY = Metric("mean_accuracy", "mean accuracy", "share of correct pixels of each class, averaged over classes")


def confusions(prediction: ArrayLike, truth: ArrayLike, classes: int) -> IndexArray:
    """Return a confusion matrix per image, (n, classes, classes) int64: rows are the truth, columns the prediction.

    Args:
        prediction: class indices (n, h, w).
        truth: class indices (n, h, w); pixels of index 255 are ignored.
        classes: number of classes, 1 to 255.

    Raises:
        DataError: the shapes differ, or a pixel that is not ignored has an index outside 0..classes-1.
    """
    true, predicted = as_truth(truth, classes), as_class_map("prediction", prediction)
    if predicted.shape != true.shape:
        raise DataError(f"prediction: got shape {predicted.shape}; expected that of the truth, {true.shape}.")
    matrices = [_confusion(*pair, classes) for pair in zip(predicted, true, strict=True)]
    return np.array(matrices, dtype=np.int64).reshape(-1, classes, classes)


def _confusion(prediction: NDArray[Any], truth: NDArray[Any], classes: int) -> IndexArray:
    valid = truth != IGNORED
    predicted = prediction[valid].astype(np.int64)
    if predicted.size and not (predicted.min() >= 0 and predicted.max() < classes):
        raise DataError(f"prediction: got indices in {predicted.min()}..{predicted.max()}; expected 0..{classes - 1}.")
    return np.bincount(truth[valid].astype(np.int64) * classes + predicted, minlength=classes * classes)


def class_iou(confusions: IndexArray, counts: ArrayLike | None = None) -> FloatArray:
    """Return the intersection over union of each class, pooled over images, (r, classes) in [0, 1].

    Args:
        confusions: matrix per image (n, classes, classes).
        counts: weight of each image in each of r resamples, (r, n); None for 1 each, r = 1.

    Returns:
        NaN if a class is in neither truth nor prediction.

    Raises:
        DataError: confusions have the wrong shape.
        MeasureError: counts are invalid.
    """
    hits, truths, predictions = _pooled(confusions, counts)
    return ratio(hits, truths + predictions - hits)


def mean_iou(confusions: IndexArray, counts: ArrayLike | None = None) -> FloatArray:
    """Return the mean of `class_iou` over the classes that are in truth or prediction, (r,); NaN if none is.

    Pixels are pooled over all images (Everingham et al. 2015); it is not the mean of `image_iou`.
    """
    return mean_defined(class_iou(confusions, counts))


def imagined_iou(confusions: IndexArray) -> Statistic:
    """Return the mean IoU and that of each class, (r, 1 + classes), for intervals with `Imagined.added`.

    In one imagined image all pixels of a class are missed, in the other all are found. Of a class that no image shows
    nothing is known, although it may be predicted.
    """
    hits, truths, predictions = class_pixels(confusions)
    unions = truths + predictions - hits
    return imagined_ratios(hits, unions, first_is_mean=True, unknown=truths.sum(axis=0) == 0)


def imagined_accuracy(confusions: IndexArray) -> Statistic:
    """Return the pixel accuracy and the mean accuracy, (r, 2), for intervals with `Imagined.added`."""
    hits, truths, _ = class_pixels(confusions)
    pixels = imagined_ratios(hits.sum(axis=1, keepdims=True), truths.sum(axis=1, keepdims=True))
    classes = imagined_ratios(hits, truths, first_is_mean=True)
    return lambda weights: np.concatenate([pixels(weights), classes(weights)[:, :1]], axis=1)


def mean_accuracy(confusions: IndexArray, counts: ArrayLike | None = None) -> FloatArray:
    """Return the share of correct pixels of a class, averaged over classes in the truth, (r,); NaN if none is."""
    hits, truths, _ = _pooled(confusions, counts)
    return mean_defined(ratio(hits, truths))


def pixel_accuracy(confusions: IndexArray, counts: ArrayLike | None = None) -> FloatArray:
    """Return the share of correct pixels, (r,) in [0, 1]; NaN if all pixels are ignored."""
    hits, truths, _ = _pooled(confusions, counts)
    return ratio(hits.sum(axis=1), truths.sum(axis=1))


def image_iou(confusions: IndexArray) -> FloatArray:
    """Return the mean intersection over union of each image, (n,) in [0, 1], over classes in its truth or prediction.

    An image whose pixels are all ignored gets 1; `empty` returns which do.
    """
    hits, truths, predictions = class_pixels(confusions)
    values = mean_defined(ratio(hits, truths + predictions - hits))
    return np.where(empty(confusions), 1.0, values)


def empty(confusions: IndexArray) -> BoolArray:
    """Return which images have ignored pixels only, bool (n,)."""
    return np.asarray(_checked(confusions).sum(axis=(1, 2)) == 0)


def _checked(confusions: IndexArray) -> IndexArray:
    if confusions.ndim != 3 or confusions.shape[1] != confusions.shape[2]:
        raise DataError(f"confusions: got shape {confusions.shape}; expected (n, classes, classes).")
    return confusions


def class_pixels(confusions: IndexArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the numbers of correct, true and predicted pixels per image and class, (n, classes) each.

    Raises:
        DataError: confusions have the wrong shape.
    """
    matrices = _checked(confusions)
    correct = np.diagonal(matrices, axis1=1, axis2=2)
    return correct.astype(np.float64), matrices.sum(axis=2, dtype=np.float64), matrices.sum(axis=1, dtype=np.float64)


def _pooled(confusions: IndexArray, counts: ArrayLike | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    drawn = checked_counts(counts, len(confusions))
    hits, truths, predictions = (np.asarray(drawn @ part) for part in class_pixels(confusions))
    return hits, truths, predictions
