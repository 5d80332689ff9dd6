"""Pairs of overlapping detections and true boxes of all images, with their IoU."""

import itertools
from dataclasses import dataclass

import numpy as np

from suite.metrics.detection.arrays import Detected, FloatArray, IndexArray, Truth

_BLOCK = 2**18
"""Pairs compared at once; ten float64 arrays of that size take 20 MiB."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Detections and true boxes of the same image that overlap.

    Attributes:
        detection: (p,) index of the detection, ascending.
        truth: (p,) index of the true box.
        overlap: (p,) intersection over union in (0, 1]; over the detection's area if the true box is a crowd.
    """

    detection: IndexArray
    truth: IndexArray
    overlap: FloatArray


def area(box: FloatArray) -> FloatArray:
    """Return the areas of boxes (4, k) in square pixels, (k,)."""
    return np.asarray((box[2] - box[0]) * (box[3] - box[1]))


def overlapping(detected: Detected, truth: Truth, least: float, *, same_class: bool = True) -> Pairs:
    """Return all pairs within an image that overlap by at least `least` > 0.

    Args:
        detected: k detections.
        truth: m true boxes.
        least: the lowest overlap.
        same_class: whether only pairs of the same class are returned.
    """
    classes = 1 + int(max(detected.label.max(initial=0), truth.label.max(initial=0)))
    mine = detected.image * classes + detected.label if same_class else detected.image
    theirs = truth.image * classes + truth.label if same_class else truth.image
    order = np.argsort(theirs, kind="stable")
    first = np.searchsorted(theirs[order], mine, side="left")
    count = np.searchsorted(theirs[order], mine, side="right") - first
    # Detections are processed in runs whose pairs fill one block.
    starts = np.r_[0, np.flatnonzero(np.diff((np.cumsum(count) - count) // _BLOCK)) + 1, mine.size]
    parts = []
    for start, stop in itertools.pairwise(starts):
        here = count[start:stop]
        detection = np.repeat(np.arange(start, stop), here)
        within = np.arange(detection.size) - np.repeat(np.cumsum(here) - here, here)
        true = order[first[detection] + within]
        overlap = _overlap(detected, truth, detection, true)
        kept = overlap >= least
        parts.append((detection[kept], true[kept], overlap[kept]))
    detections, truths, overlaps = zip(*parts, strict=True)
    return Pairs(np.concatenate(detections), np.concatenate(truths), np.concatenate(overlaps))


def _overlap(detected: Detected, truth: Truth, detection: IndexArray, true: IndexArray) -> FloatArray:
    a, b = detected.box[:, detection], truth.box[:, true]
    width = np.minimum(a[2], b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[3], b[3]) - np.maximum(a[1], b[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    own = area(a)
    whole = np.where(truth.crowd[true], own, own + area(b) - shared)
    overlap = np.zeros(shared.shape)
    np.divide(shared, whole, out=overlap, where=shared > 0)
    return overlap
