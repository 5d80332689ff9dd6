"""Validation of the objects of a sample, independent of the file format they came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.errors import DataError
from suite.kinds.base import Array
from suite.kinds.defaults import class_indices
from suite.kinds.inputs import label

LEAST_SIDE = 1.0
"""Width and height in pixels of the part of a box inside the image below which its object is ignored."""

CLASS, IGNORED = 4, 5
"""Columns of a true box."""


@dataclass(frozen=True)
class Objects:
    """The objects in an image.

    Attributes:
        boxes: (k, 4) float32, x1, y1, x2, y2 in pixels, inside the image.
        labels: class names or indices, (k,).
        ignored: which objects are neither hits nor misses, bool (k,): crowds and difficult objects.
    """

    boxes: Array
    labels: tuple[str | int, ...]
    ignored: Array

    def __repr__(self) -> str:
        return f"Objects({self.boxes.tolist()}, {self.labels}, {self.ignored.tolist()})"


def objects(target: Any, size: tuple[int, ...], classes: Sequence[str] | None) -> tuple[Objects, tuple[str, ...]]:
    """Return the objects of a sample, and one remark for each that is too small to be found.

    Boxes are clipped to the image. One that is less than a pixel wide or high after clipping is ignored: it stays, so
    that a model that finds it is not blamed.

    Args:
        target: a mapping with ``boxes`` (k, 4), x1, y1, x2, y2 in pixels; ``labels`` (k,), names or indices; and
            ``ignore`` (k,) if some are to be ignored. An empty list of boxes is an image without objects.
        size: (height, width) of the image.
        classes: class names, if they are declared.

    Raises:
        DataError: the target has another form, a class is unknown, or a box is not finite, inverted, without area or
            outside the image. The sample cannot be kept without it, since what models find there would count as false.
    """
    boxes, labels, ignored = _arrays(target)
    height, width = size
    names = [_label(value, row, classes) for row, value in enumerate(labels)]
    clipped = boxes.clip(0, [width, height, width, height]).astype(np.float32)
    _check(boxes, clipped, size)
    tiny = (clipped[:, 2:] - clipped[:, :2] < LEAST_SIDE - 1e-6).any(axis=1)
    remarks = [
        f"box {row} ({_corners(boxes[row])}) covers less than a pixel of the image of {height}x{width}; it is ignored"
        for row in np.flatnonzero(tiny)
    ]
    return Objects(clipped, tuple(names), ignored | tiny), tuple(remarks)


def stacked(targets: Sequence[Objects], classes: Sequence[str]) -> Array:
    """Return true boxes, float32 (n, M, 6): x1, y1, x2, y2, class, ignored; padding rows have class -1."""
    rows = max((len(target.labels) for target in targets), default=0)
    tables = np.zeros((len(targets), max(1, rows), 6), dtype=np.float32)
    tables[..., CLASS] = -1
    for table, target in zip(tables, targets, strict=True):
        count = len(target.labels)
        table[:count, :4] = target.boxes
        table[:count, CLASS] = class_indices(target.labels, classes)
        table[:count, IGNORED] = target.ignored
    return tables


def class_count(detections: Array, truth: Array) -> int:
    """Return 1 + the highest class of detections (n, 100, 6) and true boxes (n, M, 6), at least 1."""
    return int(max(detections[..., 5].max(initial=0), truth[..., 4].max(initial=0))) + 1


def _arrays(target: Any) -> tuple[Array, list[Any], Array]:
    if not isinstance(target, Mapping) or not {"boxes", "labels"} <= set(target):
        got = f"a mapping with {', '.join(map(str, target))}" if isinstance(target, Mapping) else type(target).__name__
        raise DataError(f"the target is {got}; expected a mapping with boxes and labels")
    try:
        boxes = np.asarray(target["boxes"], dtype=np.float64)
        labels = list(target["labels"])
        ignored = np.asarray(target.get("ignore", np.zeros(len(labels))), dtype=bool).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(f"the boxes cannot be read ({error}); expected numbers (k, 4) and k labels") from error
    boxes = boxes.reshape(0, 4) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes) == len(labels) == len(ignored):
        raise DataError(
            f"boxes of shape {boxes.shape} with {len(labels)} labels and {len(ignored)} ignore flags; expected (k, 4), "
            "k and k"
        )
    return boxes, labels, ignored


def _label(value: Any, row: int, classes: Sequence[str] | None) -> str | int:
    try:
        return label(value, classes)
    except DataError as error:
        raise DataError(f"box {row}: {error}") from error


def _check(boxes: Array, clipped: Array, size: tuple[int, ...]) -> None:
    """Raise a DataError unless all boxes are finite, have an area, and overlap the image."""
    faults = (
        (~np.isfinite(boxes).all(axis=1), "has coordinates that are not finite"),
        ((boxes[:, 2:] <= boxes[:, :2]).any(axis=1), "is inverted or has no area"),
        ((clipped[:, 2:] <= clipped[:, :2]).any(axis=1), f"covers nothing of the image of {size[0]}x{size[1]}"),
    )
    for is_faulty, what in faults:
        if is_faulty.any():
            row = int(np.flatnonzero(is_faulty)[0])
            raise DataError(f"box {row} ({_corners(boxes[row])}) {what}; expected x1, y1, x2, y2 in pixels")


def _corners(box: Array) -> str:
    return ", ".join(f"{value:g}" for value in box)
