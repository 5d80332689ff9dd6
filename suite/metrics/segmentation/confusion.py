"""Confusion matrices per image, and what is read from them: intersection over union, and accuracy."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError
from suite.metrics.segmentation.arrays import (
    IGNORED,
    BoolArray,
    FloatArray,
    IndexArray,
    as_class_map,
    as_counts,
    as_truth,
)
from suite.metrics.stats import ratio


def confusions(prediction: ArrayLike, truth: ArrayLike, classes: int) -> IndexArray:
    """Return a confusion matrix per image, (n, classes, classes) int64: rows are the truth, columns the prediction.

    Args:
        prediction: class indices (n, h, w).
        truth: class indices (n, h, w); pixels of index 255 are counted nowhere, whatever is predicted there.
        classes: number of classes, 1 to 255.

    Raises:
        DataError: the shapes differ, or a pixel that counts has an index outside 0..classes-1, in either.
    """
    known, said = as_truth(truth, classes), as_class_map("prediction", prediction)
    if said.shape != known.shape:
        raise DataError(f"prediction: got shape {said.shape}; expected that of the truth, {known.shape}.")
    matrices = [_confusion(*pair, classes) for pair in zip(said, known, strict=True)]
    return np.array(matrices, dtype=np.int64).reshape(-1, classes, classes)


def _confusion(prediction: NDArray[Any], truth: NDArray[Any], classes: int) -> IndexArray:
    valid = truth != IGNORED
    said = prediction[valid].astype(np.int64)
    if said.size and not (said.min() >= 0 and said.max() < classes):
        raise DataError(f"prediction: got indices in {said.min()}..{said.max()}; expected 0..{classes - 1}.")
    return np.bincount(truth[valid].astype(np.int64) * classes + said, minlength=classes * classes)


def class_iou(confusions: IndexArray, counts: ArrayLike | None = None) -> FloatArray:
    """Return each class's intersection over union in the matrix of all images, (r, classes) in [0, 1].

    Args:
        confusions: matrix per image (n, classes, classes).
        counts: how often each image is drawn in each of r resamples, (r, n); None draws each once.

    Returns:
        NaN where a class is in neither truth nor prediction.

    Raises:
        DataError: confusions or counts are unusable.
    """
    hits, truths, predictions = _pooled(confusions, counts)
    return ratio(hits, truths + predictions - hits)


def mean_iou(confusions: IndexArray, counts: ArrayLike | None = None) -> FloatArray:
    """Return the mean of `class_iou` over the classes that are in truth or prediction, (r,); NaN where none is.

    It is read from one matrix of all images (Everingham et al. 2015) and is not the mean of `image_iou`.
    """
    return _mean_of_defined(class_iou(confusions, counts))


def mean_accuracy(confusions: IndexArray, counts: ArrayLike | None = None) -> FloatArray:
    """Return the share of right pixels of a class, averaged over classes in the truth, (r,); NaN where none is."""
    hits, truths, _ = _pooled(confusions, counts)
    return _mean_of_defined(ratio(hits, truths))


def pixel_accuracy(confusions: IndexArray, counts: ArrayLike | None = None) -> FloatArray:
    """Return the share of right pixels, (r,) in [0, 1]; NaN where no pixel counts."""
    hits, truths, _ = _pooled(confusions, counts)
    return ratio(hits.sum(axis=1), truths.sum(axis=1))


def image_iou(confusions: IndexArray) -> FloatArray:
    """Return each image's own mean intersection over union, (n,) in [0, 1], over classes in its truth or prediction.

    An image whose pixels are all ignored has nothing to get wrong and gets 1; `empty` tells which do.
    """
    hits, truths, predictions = _parts(confusions)
    values = _mean_of_defined(ratio(hits, truths + predictions - hits))
    return np.where(empty(confusions), 1.0, values)


def empty(confusions: IndexArray) -> BoolArray:
    """Return which images have no pixel that counts, bool (n,)."""
    return np.asarray(_checked(confusions).sum(axis=(1, 2)) == 0)


def _checked(confusions: IndexArray) -> IndexArray:
    if confusions.ndim != 3 or confusions.shape[1] != confusions.shape[2]:
        raise DataError(f"confusions: got shape {confusions.shape}; expected (n, classes, classes).")
    return confusions


def _parts(confusions: IndexArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return per image and class the right pixels, those of the truth and those of the prediction, (n, classes)."""
    matrices = _checked(confusions)
    right = np.diagonal(matrices, axis1=1, axis2=2)
    return right.astype(np.float64), matrices.sum(axis=2, dtype=np.float64), matrices.sum(axis=1, dtype=np.float64)


def _pooled(confusions: IndexArray, counts: ArrayLike | None) -> tuple[FloatArray, FloatArray, FloatArray]:
    drawn = as_counts(counts, len(confusions))
    hits, truths, predictions = (np.asarray(drawn @ part) for part in _parts(confusions))
    return hits, truths, predictions


def _mean_of_defined(values: FloatArray) -> FloatArray:
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
