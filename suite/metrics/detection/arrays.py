"""Checked boxes without padding, and sums over them under resampled images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import DataError, MeasureError, ModelError, SuiteError
from suite.metrics.stats.resampled import checked_counts

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

PADDING = -1
"""Class of a padding row."""

LEAST_SCORE = 0.05
"""Detections with a lower score are dropped."""


@dataclass(frozen=True, eq=False)
class Detected:
    """The detections of n images without padding, sorted by image, class and descending score.

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
    """The true boxes of n images without padding, in their order on file.

    Attributes:
        image: (m,) index of the image.
        label: (m,) index of the class.
        crowd: (m,) bool, ignored: neither missing it nor detecting it is an error.
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
        detections: (n, D, 6), rows x1, y1, x2, y2, score, class; padding has class -1, in any order.
        classes: number of classes; None allows any index.
        least: the lowest score that is kept.
        limit: number per class and image that is kept, highest scores first; None for all.
        per_image: number per image that is kept, highest scores first; None for all.

    Raises:
        ModelError: a row is not finite, is inverted, has a score outside [0, 1], or an unknown class.
    """
    array = _rows("detections", detections, ModelError)
    image, row = np.nonzero(array[:, :, 5] != PADDING)
    rows = array[image, row].astype(np.float64)
    score, label = rows[:, 4], rows[:, 5]
    _reject(~np.isfinite(rows).all(axis=1), "numbers that are not finite", image, row, ModelError)
    _reject((rows[:, 2] < rows[:, 0]) | (rows[:, 3] < rows[:, 1]), "x2 < x1 or y2 < y1", image, row, ModelError)
    _reject((score < 0) | (score > 1), "a score outside [0, 1]", image, row, ModelError)
    _reject(_unknown_class(label, classes), "an unknown class", image, row, ModelError)
    kept = np.flatnonzero(score >= least)
    if per_image is not None:
        kept = kept[_highest(image[kept], score[kept], per_image)]
    kept = kept[np.lexsort((-score[kept], label[kept], image[kept]))]
    rank = _rank(image[kept] * (1 + label.max(initial=0)) + label[kept])
    if limit is not None:
        kept, rank = kept[rank < limit], rank[rank < limit]
    return Detected(image[kept], label[kept].astype(np.int64), rank, score[kept], _columns(rows[kept, :4]), len(array))


def flat_truth(truth: ArrayLike, classes: int | None = None) -> Truth:
    """Return the true boxes without padding, in the given order.

    Args:
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored (0 or 1); padding has class -1.
        classes: number of classes; None allows any index.

    Raises:
        DataError: a row is not finite, has no area, an unknown class, or a flag other than 0 and 1.
    """
    array = _rows("truth", truth, DataError)
    image, row = np.nonzero(array[:, :, 4] != PADDING)
    rows = array[image, row].astype(np.float64)
    label, crowd = rows[:, 4], rows[:, 5]
    _reject(~np.isfinite(rows).all(axis=1), "numbers that are not finite", image, row, DataError)
    _reject((rows[:, 2] <= rows[:, 0]) | (rows[:, 3] <= rows[:, 1]), "a box without area", image, row, DataError)
    _reject(_unknown_class(label, classes), "an unknown class", image, row, DataError)
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
        MeasureError: the numbers of images differ, there is no class, or `least` is outside [0, 1].
    """
    if classes is not None and classes < 1:
        raise MeasureError(f"got {classes} classes; expected at least 1.")
    if not 0 <= least <= 1:
        raise MeasureError(f"got a score threshold of {least!r}; expected a number in [0, 1].")
    detected = flat_detections(detections, classes, least=least, limit=limit, per_image=per_image)
    true = flat_truth(truth, classes)
    if detected.images != true.images:
        raise MeasureError(
            f"got detections of {detected.images} images and truth of {true.images}; expected the same images."
        )
    return detected, true


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
            f"correct them, or drop them by setting class {PADDING}, and count the dropped boxes."
        )


def _unknown_class(label: FloatArray, classes: int | None) -> BoolArray:
    beyond = np.inf if classes is None else classes
    return np.asarray((label < 0) | (label != np.floor(label)) | (label >= beyond))


def _highest(image: IndexArray, score: FloatArray, keep: int) -> IndexArray:
    """Return the indices of the `keep` highest scores of each image; of equal scores the first."""
    order = np.lexsort((-score, image))
    return order[_rank(image[order]) < keep]


def _rank(group: NDArray[Any]) -> IndexArray:
    """Return the position within each run of equal groups, 0, 1, ..."""
    places = np.arange(group.size)
    starts = np.ones(group.size, dtype=bool)
    starts[1:] = group[1:] != group[:-1]
    return places - np.maximum.accumulate(np.where(starts, places, 0))


def _columns(boxes: FloatArray) -> FloatArray:
    return np.ascontiguousarray(boxes.T)


def draws(counts: ArrayLike | None, images: int) -> FloatArray:
    """Return how often each image was drawn, (n, r), from counts (r, n), or ones (n, 1) from None.

    Raises:
        MeasureError: the shape is not (r, n), or a count is not a whole number >= 0.
    """
    return np.ascontiguousarray(checked_counts(counts, images).T)


def totals(keys: IndexArray, values: ArrayLike, size: int, image: IndexArray, drawn: FloatArray) -> FloatArray:
    """Return the sums of values by key under each resample, (size, r).

    Args:
        keys: (k,) index of the sum that each value belongs to, 0..size-1.
        values: (k,) numbers, or one for all.
        size: number of keys.
        image: (k,) the image that each value belongs to.
        drawn: (n, r) how often each image was drawn.
    """
    from scipy import sparse

    numbers = np.broadcast_to(np.asarray(values, dtype=np.float64), keys.shape)
    return np.asarray(sparse.csr_array((numbers, (keys, image)), shape=(size, len(drawn))) @ drawn)
