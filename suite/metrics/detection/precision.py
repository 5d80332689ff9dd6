"""Average precision and average recall as COCO defines them, under any number of resamples of the images."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import MeasureError
from suite.metrics.detection.arrays import FloatArray, IndexArray
from suite.metrics.detection.matching import HIT, IGNORED, Matches
from suite.metrics.detection.resamples import draws, mean_defined, totals
from suite.metrics.stats import ratio

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where the precision is read, COCO's numbers to the last bit."""

LIMITS = (1, 10, 100)
"""COCO's numbers of detections per class and image."""

_CHUNK = 2**17
"""Detections times resamples held at once; about eight float64 arrays of that size stay in the cache's reach."""


def average_precision(matches: Matches, counts: ArrayLike | None = None) -> FloatArray:
    """Return the 101-point interpolated average precision, (r, K, T), by class and threshold.

    Ties in score are ranked in the order of the images. A detection of an image that was drawn twice counts twice.

    Args:
        matches: of k detections at T thresholds.
        counts: (r, n) how often each image was drawn in each of r resamples; None for once each, r = 1.

    Returns:
        Numbers in [0, 1]; NaN for a class that has no true box to find in the resample.

    Raises:
        MeasureError: the counts do not fit.
    """
    drawn = draws(counts, matches.images)
    truths = true_boxes(matches, drawn)
    result = np.full((drawn.shape[1], matches.classes, len(matches.thresholds)), np.nan)
    for label, ranked in rankings(matches):
        for part in chunks(drawn.shape[1], ranked.size):
            weights = drawn[matches.image[ranked], part]
            result[part, label] = _class_precision(matches.state[ranked], weights, truths[label, part])
    result[truths.T == 0] = np.nan
    return result


def average_recall(matches: Matches, limits: Sequence[int] = LIMITS, counts: ArrayLike | None = None) -> FloatArray:
    """Return the share of true boxes that were found, (L, r, K, T), by limit, class and threshold.

    Args:
        matches: of k detections at T thresholds.
        limits: how many detections of a class and image are used, highest scores first.
        counts: (r, n) how often each image was drawn in each of r resamples; None for once each, r = 1.

    Returns:
        Numbers in [0, 1]; NaN for a class that has no true box to find in the resample.

    Raises:
        MeasureError: the counts do not fit, or a limit is beyond that of the matching.
    """
    if not all(1 <= limit <= matches.limit for limit in limits):
        raise MeasureError(f"got limits={list(limits)}; expected 1..{matches.limit}. Match with a higher limit.")
    drawn = draws(counts, matches.images)
    truths = true_boxes(matches, drawn).T[:, :, None]
    shape = (matches.classes, len(matches.thresholds))
    parts = []
    for limit in limits:
        # The greedy choice of a detection does not depend on those below it, so a limit only cuts.
        row, column = np.nonzero((matches.state == HIT) & (matches.rank < limit)[:, None])
        keys = matches.label[row] * shape[1] + column
        found = totals(keys, 1.0, shape[0] * shape[1], matches.image[row], drawn)
        parts.append(ratio(found.T.reshape(-1, *shape), truths))
    return np.stack(parts)


def mean_ap(ap: FloatArray) -> FloatArray:
    """Return the mean over classes and thresholds that are defined, (..., K, T) to (...); NaN where none is."""
    return mean_defined(ap, axes=2)


def true_boxes(matches: Matches, drawn: FloatArray) -> FloatArray:
    """Return the number of counted true boxes of each class in each resample, (K, r), from draws (n, r)."""
    return totals(matches.truth_label, 1.0, matches.classes, matches.truth_image, drawn)


def rankings(matches: Matches) -> Iterator[tuple[int, IndexArray]]:
    """Yield every class with its detections by falling score; equal scores keep the order of the images."""
    order = np.lexsort((-matches.score, matches.label))
    edges = np.searchsorted(matches.label[order], np.arange(matches.classes + 1))
    for label in range(matches.classes):
        yield label, order[edges[label] : edges[label + 1]]


def chunks(resamples: int, detections: int) -> Iterator[slice]:
    """Yield slices of resamples that are small enough to be held at once for so many detections."""
    step = max(1, _CHUNK // max(1, detections))
    for start in range(0, resamples, step):
        yield slice(start, min(resamples, start + step))


def _class_precision(state: NDArray[np.int8], weights: FloatArray, truths: FloatArray) -> FloatArray:
    """Return (r, T) from the states (d, T) of a class's detections by falling score, drawn (d, r) times."""
    result = np.zeros((weights.shape[1], state.shape[1]))
    seen, previous = weights, None
    for column in range(state.shape[1]):
        counted = state[:, column] != IGNORED
        if previous is None or not np.array_equal(counted, previous):
            seen = np.cumsum(weights if counted.all() else weights * counted[:, None], axis=0)
            previous = counted
        hits = np.flatnonzero(state[:, column] == HIT)
        if hits.size:
            result[:, column] = _interpolated(weights[hits], seen[hits], np.maximum(truths, 1))
    return result


def _interpolated(weights: FloatArray, seen: FloatArray, truths: FloatArray) -> FloatArray:
    """Return the mean precision (r,) over `RECALLS`, from what the hits weigh and how many were seen, both (h, r).

    Only hits are looked at: the precision's envelope has its corners there.
    """
    found = np.cumsum(weights, axis=0)
    precision = found / np.maximum(seen, 1)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    level = (found * 100 / truths).astype(np.int64)
    # COCO compares with rounded recalls: 0.57 of the boxes found is less than its 57th, 0.5700000000000001.
    level -= found / truths < RECALLS[level]
    reached = np.diff(level, axis=0, prepend=-1)
    return np.asarray((envelope * reached).sum(axis=0) / RECALLS.size)
