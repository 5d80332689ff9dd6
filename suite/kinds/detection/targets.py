"""The objects of a sample as a detection task yields them: cleaned at one place, whatever file they came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.errors import DataError
from suite.kinds.base import Array

LEAST_SIDE = 1.0
"""Width and height in pixels, inside the image, below which a box is no object."""


@dataclass(frozen=True)
class Objects:
    """What there is to find in an image.

    Attributes:
        boxes: (k, 4) float32, x1, y1, x2, y2 in pixels, inside the image.
        labels: class names or indices, (k,).
        ignored: which count neither way, bool (k,): crowds and difficult objects.
    """

    boxes: Array
    labels: tuple[str | int, ...]
    ignored: Array

    def __repr__(self) -> str:
        return f"Objects({self.boxes.tolist()}, {self.labels}, {self.ignored.tolist()})"


def objects(target: Any, size: tuple[int, ...], classes: Sequence[str] | None) -> tuple[Objects, tuple[str, ...]]:
    """Return the usable objects of a sample, and one remark for each box that is not.

    Boxes are cut at the image's edge. One that is inverted or less than a pixel wide or high there is dropped.

    Args:
        target: a mapping with ``boxes`` (k, 4), x1, y1, x2, y2 in pixels; ``labels`` (k,), names or indices; and
            ``ignore`` (k,) where some count neither way. No box at all is an image without objects.
        size: (height, width) of the image.
        classes: names of the classes, where they are declared.

    Raises:
        DataError: the target has another form, a coordinate is not finite, or a class is unknown.
    """
    found, labels, ignored = _arrays(target)
    height, width = size
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise DataError(f"box {row} has the coordinates {found[row].tolist()}; expected four finite numbers")
    for row, label in enumerate(labels):
        _known(label, row, classes)
    cut = found.clip(0, [width, height, width, height])
    sides = cut[:, 2:] - cut[:, :2]
    good = (sides >= LEAST_SIDE - 1e-6).all(axis=1)
    remarks = [_remark(int(row), found[row], (height, width)) for row in np.flatnonzero(~good)]
    kept = np.flatnonzero(good)
    objects = Objects(cut[kept].astype(np.float32), tuple(labels[row] for row in kept), ignored[kept])
    return objects, tuple(remarks)


def _arrays(target: Any) -> tuple[Array, list[str | int], Array]:
    if not isinstance(target, Mapping) or not {"boxes", "labels"} <= set(target):
        got = f"a mapping with {', '.join(map(str, target))}" if isinstance(target, Mapping) else type(target).__name__
        raise DataError(f"the target is {got}; expected a mapping with boxes and labels")
    try:
        found = np.asarray(target["boxes"], dtype=np.float64)
        labels = [label if isinstance(label, str) else _index(label) for label in target["labels"]]
        ignored = np.asarray(target.get("ignore", np.zeros(len(labels))), dtype=bool).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(f"the boxes cannot be read ({error}); expected numbers (k, 4) and k labels") from error
    found = found.reshape(0, 4) if found.size == 0 else found
    if found.ndim != 2 or found.shape[1] != 4 or not len(found) == len(labels) == len(ignored):
        raise DataError(
            f"boxes of shape {found.shape} with {len(labels)} labels and {len(ignored)} marks to ignore; expected "
            "(k, 4), k and k"
        )
    return found, labels, ignored


def _index(label: Any) -> int:
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise DataError(f"the label {label!r}; expected a class name or a class index")
    return int(label)


def _known(label: str | int, row: int, classes: Sequence[str] | None) -> None:
    if isinstance(label, str):
        if classes is not None and label not in classes:
            raise DataError(f"box {row} has the class {label!r}, which is not one of {', '.join(classes[:12])}")
    elif classes is None or not 0 <= label < len(classes):
        expected = "a class name" if classes is None else f"a class name or an index from 0 to {len(classes) - 1}"
        raise DataError(f"box {row} has the label {label}; expected {expected}")


def _remark(row: int, box: Array, size: tuple[int, int]) -> str:
    told = ", ".join(f"{number:g}" for number in box)
    if (box[2:] <= box[:2]).any():
        return f"box {row} ({told}) is inverted or has no area"
    return f"box {row} ({told}) covers less than a pixel of the image of {size[0]}x{size[1]}"
