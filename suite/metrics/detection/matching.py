"""COCO's greedy matching of detections to true boxes, vectorized over images, classes and thresholds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import MeasureError
from suite.metrics.detection.arrays import BoolArray, Detected, FloatArray, IndexArray, Truth, flat
from suite.metrics.detection.overlap import Pairs, area, overlapping

HIT, FALSE, IGNORED = 1, 0, -1
"""States of a detection: matched with a true box, unmatched, or matched with an ignored box."""

UNMATCHED = -1
"""Index of the true box of an unmatched detection."""

COCO_THRESHOLDS = tuple(float(value) for value in np.linspace(0.5, 0.95, 10))
"""COCO's IoU thresholds, to the last bit: 0.5, 0.55, ..., 0.95."""

AREAS = {"all": (0.0, np.inf), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
"""COCO's ranges of box areas in square pixels, both ends included."""


@dataclass(frozen=True, eq=False)
class Matches:
    """The matching of k detections with m true boxes that are not ignored, at T IoU thresholds.

    Attributes:
        score, label, image, rank: (k,) the detections by image, class and descending score; `rank` counts from 0
            within a class of an image.
        state: (k, T) int8, 1 hit, 0 false, -1 ignored.
        iou: (k, T) IoU with the matched true box, 0 without a match.
        truth_image, truth_label: (m,) of the true boxes that are not ignored.
        thresholds: the T IoU thresholds, in the given order.
        images, classes: their numbers.
        limit: number of detections per class and image that are considered.
    """

    score: FloatArray
    label: IndexArray
    image: IndexArray
    rank: IndexArray
    state: NDArray[np.int8]
    iou: FloatArray
    truth_image: IndexArray
    truth_label: IndexArray
    thresholds: tuple[float, ...]
    images: int
    classes: int
    limit: int

    def at(self, threshold: float) -> int:
        """Return the column of a threshold; raise MeasureError if there is none."""
        near = np.flatnonzero(np.abs(np.array(self.thresholds) - threshold) < 1e-9)
        if not near.size:
            raise MeasureError(f"no matches at IoU {threshold:g}; expected one of {list(self.thresholds)}.")
        return int(near[0])


def match(
    detections: ArrayLike,
    truth: ArrayLike,
    classes: int,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
    limit: int = 100,
    areas: tuple[float, float] = AREAS["all"],
) -> Matches:
    """Match each detection of an image and class, highest score first, with the unmatched true box of highest IoU.

    The rules are COCO's: ignored boxes are matched only if no other box fits; a crowd is matched by intersection over
    the detection's area, any number of times; equal scores keep their order; of equal IoUs the later box is taken.

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        classes: number of classes.
        thresholds: IoU thresholds of a match, in (0, 1].
        limit: number of detections per class and image that are considered, highest scores first.
        areas: smallest and largest area in square pixels; true boxes of other areas are ignored, and so
            are unmatched detections of other areas.

    Raises:
        ModelError, DataError: a detection, or a true box, is invalid.
        MeasureError: the numbers of images differ, or a setting is out of range.
    """
    if not len(thresholds) or not all(0 < value <= 1 for value in thresholds) or limit < 1:
        raise MeasureError(f"got thresholds={list(thresholds)}, limit={limit}; expected IoUs in (0, 1], a limit >= 1.")
    detected, true = flat(detections, truth, classes, limit=limit)
    ignored = true.crowd | _outside(true.box, areas)
    pairs = overlapping(detected, true, min(min(thresholds), _ALMOST_ONE))
    partner, iou = assign(pairs, detected, true, ignored, thresholds)
    state = states_of(partner, ignored)
    state[(partner == UNMATCHED) & _outside(detected.box, areas)[:, None]] = IGNORED
    iou[state != HIT] = 0
    counted = np.flatnonzero(~ignored)
    return Matches(
        score=detected.score,
        label=detected.label,
        image=detected.image,
        rank=detected.rank,
        state=state,
        iou=iou,
        truth_image=true.image[counted],
        truth_label=true.label[counted],
        thresholds=tuple(float(value) for value in thresholds),
        images=detected.images,
        classes=classes,
        limit=limit,
    )


_ALMOST_ONE = 1 - 1e-10
"""COCO's highest threshold, so that rounding does not prevent a box from matching itself."""


def assign(
    pairs: Pairs, detected: Detected, truth: Truth, ignored: BoolArray, thresholds: Sequence[float]
) -> tuple[IndexArray, FloatArray]:
    """Return the index of the true box of each detection, (k, T) or -1, and their IoU, (k, T) or 0.

    Each round matches the highest-scoring remaining detection of every class and image, so that the number of rounds
    is the largest number of detections per class and image. Only the given pairs are considered.

    Args:
        pairs: overlapping pairs of the same class.
        detected: k detections.
        truth: m true boxes.
        ignored: (m,) bool, boxes that are matched only if no other box fits.
        thresholds: T IoU thresholds of a match.
    """
    least = np.minimum(np.asarray(thresholds, dtype=np.float64), _ALMOST_ONE)
    partner = np.full((detected.score.size, least.size), UNMATCHED)
    overlap = np.zeros(partner.shape)
    taken = np.zeros((truth.image.size, least.size), dtype=bool)
    order = np.lexsort((pairs.truth, pairs.overlap, ~ignored[pairs.truth], pairs.detection))[::-1]
    choices = Pairs(pairs.detection[order], pairs.truth[order], pairs.overlap[order])
    for detections, starts, counts in _rounds(choices.detection, detected):
        best, value = _first_free(choices, starts, counts, taken, least)
        partner[detections], overlap[detections] = best, value
        row, column = np.nonzero((best != UNMATCHED) & ~truth.crowd[best])
        taken[best[row, column], column] = True
    return partner, overlap


def states_of(partner: IndexArray, ignored: BoolArray) -> NDArray[np.int8]:
    """Return the state of each detection, (k, T), from the indices of the matched true boxes (k, T)."""
    if not ignored.size:
        return np.zeros(partner.shape, dtype=np.int8)
    states: NDArray[np.int8] = np.where(partner == UNMATCHED, FALSE, np.where(ignored[partner], IGNORED, HIT))
    return states.astype(np.int8)


def match_at(detected: Detected, truth: Truth, threshold: float) -> tuple[IndexArray, NDArray[np.int8], FloatArray]:
    """Return the true box of each detection (index or -1), its state, and their IoU or 0, all (k,), at one threshold.

    Only crowds are ignored.
    """
    pairs = overlapping(detected, truth, threshold)
    partner, iou = assign(pairs, detected, truth, truth.crowd, (threshold,))
    return partner[:, 0], states_of(partner, truth.crowd)[:, 0], iou[:, 0]


def _rounds(detection: IndexArray, detected: Detected) -> Iterator[tuple[IndexArray, IndexArray, IndexArray]]:
    """Yield the detections of each round with the index of their first pair and the number of their pairs."""
    candidates, starts, counts = (values[::-1] for values in _runs(detection))
    group = detected.image[candidates] * (1 + detected.label.max(initial=0)) + detected.label[candidates]
    _, first, sizes = _runs(group)
    rounds = np.arange(candidates.size) - np.repeat(first, sizes)
    order = np.argsort(rounds, kind="stable")
    ends = np.cumsum(np.bincount(rounds)) if rounds.size else rounds
    for members in np.split(order, ends[:-1]) if rounds.size else ():
        yield candidates[members], starts[members], counts[members]


def _first_free(
    choices: Pairs, starts: IndexArray, counts: IndexArray, taken: BoolArray, least: FloatArray
) -> tuple[IndexArray, FloatArray]:
    """Return the first unmatched choice of each detection with enough overlap, (a, T), and that overlap."""
    best = np.full((starts.size, least.size), UNMATCHED)
    overlap = np.zeros(best.shape)
    for place in range(int(counts.max())):
        rows = np.flatnonzero(counts > place)
        pair = starts[rows] + place
        truth, value = choices.truth[pair][:, None], choices.overlap[pair][:, None]
        free = (best[rows] == UNMATCHED) & (value >= least) & ~taken[truth[:, 0]]
        best[rows] = np.where(free, truth, best[rows])
        overlap[rows] = np.where(free, value, overlap[rows])
    return best, overlap


def _runs(values: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Return the value, the start and the length of every run of equal values."""
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if values.size else np.zeros(0, dtype=np.int64)
    return values[starts], starts, np.diff(np.r_[starts, values.size])


def _outside(box: FloatArray, areas: tuple[float, float]) -> BoolArray:
    size = area(box)
    return (size < areas[0]) | (size > areas[1])
