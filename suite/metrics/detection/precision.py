"""Average precision and average recall as defined by COCO, for any number of resamples of the images."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import MeasureError
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.detection.arrays import FloatArray, IndexArray, draws, totals
from suite.metrics.detection.matching import HIT, IGNORED, Matches
from suite.metrics.stats import Statistic, mean_defined, ratio
from suite.metrics.stats.imagined import Imagined, remembered

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recall levels at which precision is interpolated, COCO's numbers to the last bit."""

LIMITS = (1, 10, 100)
"""COCO's numbers of detections per class and image."""

MAP = Metric(
    "map",
    "mAP",
    "mean average precision: the average precision of each class, averaged over classes and IoU thresholds from 0.5 to "
    "0.95; 100 % means that every object is detected in the right place and class, with no false positive ranked above "
    "a true positive",
    columns=(BoardColumn("mAP"),),
    is_headline=True,
    tally=("detections", "boxes"),
)
MAP50 = Metric("map50", "AP50", "mAP at an IoU threshold of 0.5", columns=(BoardColumn("AP50"),))
MAP75 = Metric("map75", "AP75", "mAP at an IoU threshold of 0.75")
CLASS_MAP = Metric("class_map", "mAP of a class", "average precision of a class, averaged over IoU thresholds")
AVERAGE_RECALLS = tuple(
    Metric(
        f"ar{limit}",
        f"AR{limit}",
        f"average recall over IoU thresholds from 0.5 to 0.95, at most {limit} detections per class and image",
    )
    for limit in LIMITS
)
"""The average recall with each of `LIMITS`."""

_TINY = float(np.finfo(np.float64).tiny)

_CHUNK = 2**17
"""Detections times resamples processed at once; eight float64 arrays of that size take 8 MiB."""


def average_precision(matches: Matches, counts: ArrayLike | None = None) -> FloatArray:
    """Return the 101-point interpolated average precision, (r, K, T), by class and threshold.

    Equal scores are ranked in the order of the images. A detection of an image with weight 2 counts twice.

    Args:
        matches: of k detections at T thresholds.
        counts: (r, n) weight of each image in each of r resamples; None for 1 each, r = 1.

    Returns:
        Numbers in [0, 1]; NaN for a class without a true box in the resample.

    Raises:
        MeasureError: the counts are invalid.
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
    """Return the share of true boxes that are matched, (L, r, K, T), by limit, class and threshold.

    Args:
        matches: of k detections at T thresholds.
        limits: numbers of detections per class and image, highest scores first.
        counts: (r, n) weight of each image in each of r resamples; None for 1 each, r = 1.

    Returns:
        Numbers in [0, 1]; NaN for a class without a true box in the resample.

    Raises:
        MeasureError: the counts are invalid, or a limit is above that of the matching.
    """
    if not all(1 <= limit <= matches.limit for limit in limits):
        raise MeasureError(f"got limits={list(limits)}; expected 1..{matches.limit}. Match with a higher limit.")
    drawn = draws(counts, matches.images)
    truths = true_boxes(matches, drawn).T[:, :, None]
    shape = (matches.classes, len(matches.thresholds))
    parts = []
    for limit in limits:
        # A greedy match does not depend on lower scores, so a limit only drops detections.
        row, column = np.nonzero((matches.state == HIT) & (matches.rank < limit)[:, None])
        keys = matches.label[row] * shape[1] + column
        hits = totals(keys, 1.0, shape[0] * shape[1], matches.image[row], drawn)
        parts.append(ratio(hits.T.reshape(-1, *shape), truths))
    return np.stack(parts)


def mean_ap(ap: FloatArray) -> FloatArray:
    """Return the mean over the defined classes and thresholds, (..., K, T) to (...); NaN if none is defined."""
    return mean_defined(ap, axes=2)


def imagined_precision(matches: Matches, columns: Sequence[Sequence[int]]) -> Statistic:
    """Return mean average precisions and the mean over classes, for intervals with `Imagined.added`.

    Average precision is a mean over true boxes of precisions, of 0 for missed ones. In one imagined image all are
    missed, in the other all are found without an error.

    Args:
        matches: of k detections at T thresholds.
        columns: G sets of indices of thresholds that average precision is averaged over.

    Returns:
        (r, G, 1 + K): the mean over classes, and each class.
    """
    known, imagined = remembered(lambda weights: average_precision(matches, weights)), Imagined(boxes_of(matches))

    def group(own: Sequence[int]) -> Statistic:
        return imagined.statistic(lambda weights: mean_defined(known(weights)[..., own]), first_is_mean=True)

    groups = [group(own) for own in columns]
    return lambda weights: np.stack([value(weights) for value in groups], axis=1)


def imagined_recall(matches: Matches, limits: Sequence[int] = LIMITS) -> Statistic:
    """Return the mean average recall at each limit, (r, L), for intervals with `Imagined.added`."""
    known = remembered(lambda weights: average_recall(matches, limits, weights))
    imagined = Imagined(boxes_of(matches))

    def at(place: int) -> Statistic:
        return imagined.statistic(lambda weights: mean_defined(known(weights)[place]), first_is_mean=True)

    each = [at(place) for place in range(len(limits))]
    return lambda weights: np.stack([value(weights)[:, 0] for value in each], axis=1)


def boxes_of(matches: Matches) -> FloatArray:
    """Return the number of true boxes of each image and class, (n, K)."""
    keys = matches.truth_image * matches.classes + matches.truth_label
    counts = np.bincount(keys, minlength=matches.images * matches.classes)
    return counts.reshape(matches.images, matches.classes).astype(np.float64)


def true_boxes(matches: Matches, drawn: FloatArray) -> FloatArray:
    """Return the number of true boxes of each class in each resample, (K, r), from draws (n, r)."""
    return totals(matches.truth_label, 1.0, matches.classes, matches.truth_image, drawn)


def rankings(matches: Matches) -> Iterator[tuple[int, IndexArray]]:
    """Yield every class with its detections by descending score; equal scores keep the order of the images."""
    order = np.lexsort((-matches.score, matches.label))
    edges = np.searchsorted(matches.label[order], np.arange(matches.classes + 1))
    for label in range(matches.classes):
        yield label, order[edges[label] : edges[label + 1]]


def chunks(resamples: int, detections: int) -> Iterator[slice]:
    """Yield slices of resamples that are small enough to be processed at once."""
    step = max(1, _CHUNK // max(1, detections))
    for start in range(0, resamples, step):
        yield slice(start, min(resamples, start + step))


def _class_precision(state: NDArray[np.int8], weights: FloatArray, truths: FloatArray) -> FloatArray:
    """Return (r, T) from the states (d, T) of a class's detections by descending score, drawn (d, r) times."""
    result = np.zeros((weights.shape[1], state.shape[1]))
    seen, previous = weights, None
    for column in range(state.shape[1]):
        counted = state[:, column] != IGNORED
        if previous is None or not np.array_equal(counted, previous):
            seen = np.cumsum(weights if counted.all() else weights * counted[:, None], axis=0)
            previous = counted
        hits = np.flatnonzero(state[:, column] == HIT)
        if hits.size:
            result[:, column] = _interpolated(weights[hits], seen[hits], np.maximum(truths, _TINY))
    return result


def _interpolated(weights: FloatArray, seen: FloatArray, truths: FloatArray) -> FloatArray:
    """Return the mean precision (r,) over `RECALLS`, from the hits' weights and the detections up to each, both (h, r).

    Only hits matter: the precision envelope has its corners there.
    """
    found = np.cumsum(weights, axis=0)
    precision = found / np.maximum(seen, _TINY)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    recall = found / truths
    recall[recall > 1 - 1e-12] = 1.0  # real weights may be summed to slightly less or more
    level = np.where(recall == 1, 100, found * 100 / truths).astype(np.int64)
    # COCO compares with rounded recalls: a recall of 0.57 is less than its 57th level, 0.5700000000000001.
    level -= recall < RECALLS[level]
    reached = np.diff(level, axis=0, prepend=-1)
    return np.asarray((envelope * reached).sum(axis=0) / RECALLS.size)
