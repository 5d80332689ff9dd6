"""Padded arrays of boxes made flat, and checked: a wrong box must not become a number."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError, ModelError, SuiteError

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PADDING = -1
"""The class of a row that holds no box."""

LEAST_SCORE = 0.05
"""What scores less is no detection at all."""


@dataclass(frozen=True, eq=False)
class Detected:
    """The real detections of n images, ordered by image, then by class, then by falling score.

    Attributes:
        image: (k,) index of the image.
        label: (k,) index of the class.
        rank: (k,) 0 for the highest score of its class in its image, then 1, and so on; ties keep their order.
        score: (k,) in [0, 1].
        box: (4, k) x1, y1, x2, y2 in pixels.
        images: n.
    """

    image: IndexArray
    label: IndexArray
    rank: IndexArray
    score: FloatArray
    box: FloatArray
    images: int


@dataclass(frozen=True, eq=False)
class Truth:
    """The boxes that are in n images, in their order on file.

    Attributes:
        image: (m,) index of the image.
        label: (m,) index of the class.
        crowd: (m,) bool, neither to be found nor a mistake to find.
        box: (4, m) x1, y1, x2, y2 in pixels.
        images: n.
    """

    image: IndexArray
    label: IndexArray
    crowd: BoolArray
    box: FloatArray
    images: int


def flat_detections(
    detections: ArrayLike,
    classes: int | None = None,
    *,
    least: float = 0.0,
    limit: int | None = None,
    per_image: int | None = None,
) -> Detected:
    """Return the detections without padding.

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score, class; padding has class -1. Their order is free.
        classes: number of classes; None where any index will do.
        least: the lowest score that is kept.
        limit: how many of each class and image are kept, highest scores first; None for all.
        per_image: how many of each image are kept, highest scores first; None for all.

    Raises:
        ModelError: a row is not finite, is inverted, has a score outside [0, 1], or a class that does not exist.
    """
    array = _rows("detections", detections, ModelError)
    image, row = np.nonzero(array[:, :, 5] != PADDING)
    rows = array[image, row].astype(np.float64)
    score, label = rows[:, 4], rows[:, 5]
    _reject(~np.isfinite(rows).all(axis=1), "numbers that are not finite", image, row, ModelError)
    _reject((rows[:, 2] < rows[:, 0]) | (rows[:, 3] < rows[:, 1]), "x2 < x1 or y2 < y1", image, row, ModelError)
    _reject((score < 0) | (score > 1), "a score outside [0, 1]", image, row, ModelError)
    _reject(_no_class(label, classes), "a class that does not exist", image, row, ModelError)
    kept = np.flatnonzero(score >= least)
    if per_image is not None:
        kept = kept[_highest(image[kept], score[kept], per_image)]
    kept = kept[np.lexsort((-score[kept], label[kept], image[kept]))]
    rank = _rank(image[kept] * (1 + label.max(initial=0)) + label[kept])
    if limit is not None:
        kept, rank = kept[rank < limit], rank[rank < limit]
    return Detected(image[kept], label[kept].astype(np.int64), rank, score[kept], _columns(rows[kept, :4]), len(array))


def flat_truth(truth: ArrayLike, classes: int | None = None) -> Truth:
    """Return the true boxes without padding, in their order.

    Args:
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored (0 or 1); padding has class -1.
        classes: number of classes; None where any index will do.

    Raises:
        DataError: a row is not finite, has no area, has a class that does not exist, or is ignored neither 0 nor 1.
    """
    array = _rows("truth", truth, DataError)
    image, row = np.nonzero(array[:, :, 4] != PADDING)
    rows = array[image, row].astype(np.float64)
    label, crowd = rows[:, 4], rows[:, 5]
    _reject(~np.isfinite(rows).all(axis=1), "numbers that are not finite", image, row, DataError)
    _reject((rows[:, 2] <= rows[:, 0]) | (rows[:, 3] <= rows[:, 1]), "a box without area", image, row, DataError)
    _reject(_no_class(label, classes), "a class that does not exist", image, row, DataError)
    _reject((crowd != 0) & (crowd != 1), "a flag for ignored that is neither 0 nor 1", image, row, DataError)
    return Truth(image, label.astype(np.int64), crowd == 1, _columns(rows[:, :4]), len(array))


def flat(
    detections: ArrayLike,
    truth: ArrayLike,
    classes: int | None = None,
    *,
    least: float = 0.0,
    limit: int | None = None,
    per_image: int | None = None,
) -> tuple[Detected, Truth]:
    """Return both without padding; see `flat_detections` and `flat_truth`.

    Raises:
        MeasureError: they are of different numbers of images, or there is no class.
    """
    if classes is not None and classes < 1:
        raise MeasureError(f"got {classes} classes; expected at least 1.")
    found, true = (
        flat_detections(detections, classes, least=least, limit=limit, per_image=per_image),
        flat_truth(truth, classes),
    )
    if found.images != true.images:
        raise MeasureError(f"got detections of {found.images} images and truth of {true.images}; give the same images.")
    return found, true


def _rows(name: str, values: ArrayLike, error: type[SuiteError]) -> NDArray[np.floating]:
    array = np.asarray(values)
    if array.ndim != 3 or array.shape[2] != 6 or array.dtype.kind not in "fiu":
        raise error(f"got {name} of shape {array.shape}, {array.dtype}; expected numbers (images, rows, 6).")
    return array


def _reject(wrong: Any, what: str, image: IndexArray, row: IndexArray, error: type[SuiteError]) -> None:
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise error(
            f"{int(wrong.sum())} boxes have {what}, first image {image[first]}, row {row[first]}; "
            f"correct them, or drop them with class {PADDING}, and count what was dropped."
        )


def _no_class(label: FloatArray, classes: int | None) -> BoolArray:
    beyond = np.inf if classes is None else classes
    return np.asarray((label < 0) | (label != np.floor(label)) | (label >= beyond))


def _highest(image: IndexArray, score: FloatArray, keep: int) -> IndexArray:
    """Return who has one of the `keep` highest scores of its image; of equals the first."""
    order = np.lexsort((-score, image))
    return order[_rank(image[order]) < keep]


def _rank(group: NDArray[Any]) -> IndexArray:
    """Return the place within each run of equal groups, 0, 1, ..."""
    places = np.arange(group.size)
    starts = np.ones(group.size, dtype=bool)
    starts[1:] = group[1:] != group[:-1]
    return places - np.maximum.accumulate(np.where(starts, places, 0))


def _columns(boxes: FloatArray) -> FloatArray:
    return np.ascontiguousarray(boxes.T)
