"""COCO's greedy matching of detections to true boxes, of all images, classes and thresholds at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import MeasureError
from suite.metrics.detection.arrays import BoolArray, Detected, FloatArray, IndexArray, Truth, flat
from suite.metrics.detection.overlap import Pairs, area, overlapping

HIT, FALSE, IGNORED = 1, 0, -1
"""States of a detection: it found a true box, it found none, or it found one that does not count."""

NOBODY = -1
"""In place of an index where there is none."""

COCO_THRESHOLDS = tuple(float(value) for value in np.linspace(0.5, 0.95, 10))
"""COCO's IoU thresholds, to the last bit: 0.5, 0.55, ..., 0.95."""

AREAS = {"all": (0.0, np.inf), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
"""COCO's ranges of box areas in square pixels, both ends included."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Who found what, for k detections, m counted true boxes and T thresholds.

    Attributes:
        score, label, image, rank: (k,) the detections by image, class and falling score; `rank` counts from 0 within
            a class of an image.
        state: (k, T) int8, 1 hit, 0 false, -1 ignored.
        iou: (k, T) overlap with the true box that was hit, 0 where none was.
        truth_image, truth_label: (m,) of the true boxes that count.
        truth_detection: (m, T) index of the detection that hit it, or -1.
        thresholds: T, rising or not, as asked for.
        images, classes, limit: how many there are, and how many detections of a class and image are looked at.
    """

    score: FloatArray
    label: IndexArray
    image: IndexArray
    rank: IndexArray
    state: NDArray[np.int8]
    iou: FloatArray
    truth_image: IndexArray
    truth_label: IndexArray
    truth_detection: IndexArray
    thresholds: tuple[float, ...]
    images: int
    classes: int
    limit: int

    def at(self, threshold: float) -> int:
        """Return the column of a threshold; raise MeasureError where it was not asked for."""
        near = np.flatnonzero(np.abs(np.array(self.thresholds) - threshold) < 1e-9)
        if not near.size:
            raise MeasureError(f"no matches at IoU {threshold:g}; there are {list(self.thresholds)}. Match with it.")
        return int(near[0])


def match(
    detections: ArrayLike,
    truth: ArrayLike,
    classes: int,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
    limit: int = 100,
    areas: tuple[float, float] = AREAS["all"],
) -> Matches:
    """Match within each image and class, highest score first, each detection with the best box that is still free.

    The rules are COCO's: boxes that count come before ignored ones; a crowd is found by intersection over the
    detection's area, any number of times; equal scores keep their order; of equal overlaps the later box is taken.

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        classes: number of classes.
        thresholds: the lowest overlaps of a hit, in (0, 1].
        limit: how many detections of a class and image are looked at, highest scores first.
        areas: smallest and largest area in square pixels; true boxes beyond are ignored, and so are detections
            beyond that match nothing.

    Raises:
        ModelError, DataError: a detection, or a true box, cannot be used.
        MeasureError: the arrays are of different numbers of images, or a setting is out of range.
    """
    if not len(thresholds) or not all(0 < value <= 1 for value in thresholds) or limit < 1:
        raise MeasureError(f"got thresholds={list(thresholds)}, limit={limit}; expected IoUs in (0, 1], a limit >= 1.")
    found, true = flat(detections, truth, classes, limit=limit)
    ignored = true.crowd | _beyond(true.box, areas)
    pairs = overlapping(found, true, min(min(thresholds), _ALMOST_ONE))
    partner, iou = assign(pairs, found, true, ignored, thresholds)
    state = states_of(partner, ignored)
    state[(partner == NOBODY) & _beyond(found.box, areas)[:, None]] = IGNORED
    iou[state != HIT] = 0
    counted = np.flatnonzero(~ignored)
    return Matches(
        score=found.score,
        label=found.label,
        image=found.image,
        rank=found.rank,
        state=state,
        iou=iou,
        truth_image=true.image[counted],
        truth_label=true.label[counted],
        truth_detection=_finders(partner, true.image.size)[counted],
        thresholds=tuple(float(value) for value in thresholds),
        images=found.images,
        classes=classes,
        limit=limit,
    )


_ALMOST_ONE = 1 - 1e-10
"""COCO's highest threshold, so that rounding does not keep a box from matching itself."""


def assign(
    pairs: Pairs, detected: Detected, truth: Truth, ignored: BoolArray, thresholds: Sequence[float]
) -> tuple[IndexArray, FloatArray]:
    """Return the true box of each detection, (k, T) index or -1, and their overlap, (k, T) or 0.

    A round takes the highest detection that is left of every class and image, so that the number of rounds is the
    largest number of rivals, whatever the number of images. Only the pairs given are looked at.

    Args:
        pairs: overlapping pairs of the same class.
        detected: k detections.
        truth: m true boxes.
        ignored: (m,) bool, boxes that are taken only where none that counts is free.
        thresholds: T lowest overlaps of a hit.
    """
    least = np.minimum(np.asarray(thresholds, dtype=np.float64), _ALMOST_ONE)
    partner = np.full((detected.score.size, least.size), NOBODY)
    overlap = np.zeros(partner.shape)
    taken = np.zeros((truth.image.size, least.size), dtype=bool)
    order = np.lexsort((pairs.truth, pairs.overlap, ~ignored[pairs.truth], pairs.detection))[::-1]
    choices = Pairs(pairs.detection[order], pairs.truth[order], pairs.overlap[order])
    for detections, starts, counts in _rounds(choices.detection, detected):
        best, value = _first_free(choices, starts, counts, taken, least)
        partner[detections], overlap[detections] = best, value
        row, column = np.nonzero((best != NOBODY) & ~truth.crowd[best])
        taken[best[row, column], column] = True
    return partner, overlap


def states_of(partner: IndexArray, ignored: BoolArray) -> NDArray[np.int8]:
    """Return the state of each detection, (k, T), from the true boxes (k, T) that they matched."""
    if not ignored.size:
        return np.zeros(partner.shape, dtype=np.int8)
    states: NDArray[np.int8] = np.where(partner == NOBODY, FALSE, np.where(ignored[partner], IGNORED, HIT))
    return states.astype(np.int8)


def _rounds(detection: IndexArray, detected: Detected) -> Iterator[tuple[IndexArray, IndexArray, IndexArray]]:
    """Yield the detections of each round with the first place, and the number, of their pairs."""
    rivals, starts, counts = (values[::-1] for values in _runs(detection))
    group = detected.image[rivals] * (1 + detected.label.max(initial=0)) + detected.label[rivals]
    _, first, sizes = _runs(group)
    rounds = np.arange(rivals.size) - np.repeat(first, sizes)
    order = np.argsort(rounds, kind="stable")
    ends = np.cumsum(np.bincount(rounds)) if rounds.size else rounds
    for members in np.split(order, ends[:-1]) if rounds.size else ():
        yield rivals[members], starts[members], counts[members]


def _first_free(
    choices: Pairs, starts: IndexArray, counts: IndexArray, taken: BoolArray, least: FloatArray
) -> tuple[IndexArray, FloatArray]:
    """Return the first choice of each detection that overlaps enough and is free, (a, T), and the overlap."""
    best = np.full((starts.size, least.size), NOBODY)
    overlap = np.zeros(best.shape)
    for place in range(int(counts.max())):
        who = np.flatnonzero(counts > place)
        pair = starts[who] + place
        truth, value = choices.truth[pair][:, None], choices.overlap[pair][:, None]
        free = (best[who] == NOBODY) & (value >= least) & ~taken[truth[:, 0]]
        best[who] = np.where(free, truth, best[who])
        overlap[who] = np.where(free, value, overlap[who])
    return best, overlap


def _runs(values: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Return the value, the first place and the length of every run of equal values."""
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if values.size else np.zeros(0, dtype=np.int64)
    return values[starts], starts, np.diff(np.r_[starts, values.size])


def _finders(partner: IndexArray, size: int) -> IndexArray:
    """Return the detection of each true box, (size, T) or -1; of a crowd any one."""
    finders = np.full((size, partner.shape[1]), NOBODY)
    detection, column = np.nonzero(partner != NOBODY)
    finders[partner[detection, column], column] = detection
    return finders


def _beyond(box: FloatArray, areas: tuple[float, float]) -> BoolArray:
    size = area(box)
    return (size < areas[0]) | (size > areas[1])
