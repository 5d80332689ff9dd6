"""Calibration of detectors: whether a detection's score is the chance that it is right, or its overlap.

All measures rest on detections chosen by one rule, `RULE`, for each of them can be made small by choosing few. All
return one number per resample, and NaN where there is nothing to be calibrated, which is never 0: no error was seen,
but no calibration either.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import MeasureError
from suite.metrics.detection.arrays import LEAST_SCORE, BoolArray, FloatArray, IndexArray, flat
from suite.metrics.detection.matching import HIT, IGNORED, assign, states_of
from suite.metrics.detection.overlap import overlapping
from suite.metrics.detection.resamples import draws, mean_defined, totals
from suite.metrics.stats import ratio

KEPT = 100
"""Detections of an image that count, highest scores first."""

RULE: Mapping[str, str | float] = MappingProxyType(
    {"least_score": LEAST_SCORE, "per_image": KEPT, "iou": 0.5, "matching": "greedy by score, one detection per box"}
)
"""Which detections count and what makes one right; stored with every number that rests on it."""

OBJECT_IOUS = (0.5, 0.75)
"""IoU from which on a detection speaks for a box, in `oce`."""

MISSED = 1.0
"""What a box that no detection speaks for costs: (1 - 0)^2, as much as a score of 0 for its class."""

_ANY = float(np.finfo(np.float64).tiny)
"""The lowest overlap that is one."""


@dataclass(frozen=True, eq=False)
class Events:
    """What each detection said, and what was true; ignored detections are left out.

    Attributes:
        confidence: (k,) score in [0.05, 1].
        correct: (k,) whether it is matched with a box, bool.
        iou: (k,) overlap with that box, 0 where there is none.
        label, image: (k,) indices of its class and image.
        images, classes: how many there are.
        tau: the overlap a match needs; 0 for any at all.
    """

    confidence: FloatArray
    correct: BoolArray
    iou: FloatArray
    label: IndexArray
    image: IndexArray
    images: int
    classes: int
    tau: float


@dataclass(frozen=True, eq=False)
class Objects:
    """What was said about each true box that counts.

    Attributes:
        brier: (m,) Brier score in [0, 2], mean over `OBJECT_IOUS`.
        image: (m,) index of the image.
        images: number of images.
    """

    brier: FloatArray
    image: IndexArray
    images: int


def events(
    detections: ArrayLike, truth: ArrayLike, classes: int, tau: float = 0.5, *, least: float = LEAST_SCORE
) -> Events:
    """Return the events of detection calibration by `RULE`; detections on images without truth are all wrong.

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        classes: number of classes.
        tau: the overlap that a match needs, in [0, 1]; `d_ece` needs 0.5, `laece` and `laace` need 0.
        least: the lowest score of a detection; 0 for detections that were chosen before their scores were corrected.

    Raises:
        ModelError, DataError: a detection, or a true box, cannot be used.
        MeasureError: the arrays are of different numbers of images, or tau is outside [0, 1].
    """
    if not 0 <= tau <= 1:
        raise MeasureError(f"got tau={tau!r}; expected an IoU in [0, 1].")
    found, true = flat(detections, truth, classes, least=least, per_image=KEPT)
    overlap = max(tau, _ANY)
    partner, iou = assign(overlapping(found, true, overlap), found, true, true.crowd, (overlap,))
    state = states_of(partner, true.crowd)[:, 0]
    kept, hit = state != IGNORED, state == HIT
    return Events(
        confidence=found.score[kept],
        correct=hit[kept],
        iou=np.where(hit, iou[:, 0], 0)[kept],
        label=found.label[kept],
        image=found.image[kept],
        images=found.images,
        classes=classes,
        tau=tau,
    )


def d_ece(happened: Events, counts: ArrayLike | None = None, bins: int = 10) -> FloatArray:
    """Return the expected calibration error of detections, (r,) in [0, 1], all classes pooled (Kueppers et al. 2020).

    It is the mean over detections of |mean score - share that is right| of their bin; bins are of equal width, closed
    above.

    Args:
        happened: events at tau = 0.5.
        counts: (r, n) how often each image was drawn in each of r resamples; None for once each, r = 1.
        bins: number of bins.

    Returns:
        NaN where the resample holds no detection.

    Raises:
        MeasureError: the events are of another tau, the counts do not fit, or there is no bin.
    """
    _of_tau(happened, 0.5)
    drawn = draws(counts, happened.images)
    gap = happened.confidence - happened.correct
    sums = totals(_bins(happened.confidence, bins), gap, bins, happened.image, drawn)
    return ratio(np.abs(sums).sum(axis=0), _per_image(happened) @ drawn)


def laece(happened: Events, counts: ArrayLike | None = None, bins: int = 25) -> FloatArray:
    """Return LaECE_0, the localisation-aware calibration error, (r,) in [0, 1] (Kuzucu et al. 2024).

    For each class it is the mean over detections of |mean score - mean IoU| of their bin, where what is matched with
    nothing has IoU 0; then the mean over classes that have detections. Bins are of equal width, closed above.

    Args:
        happened: events at tau = 0.
        counts: (r, n) how often each image was drawn in each of r resamples; None for once each, r = 1.
        bins: number of bins.

    Returns:
        NaN where the resample holds no detection.

    Raises:
        MeasureError: the events are of another tau, the counts do not fit, or there is no bin.
    """
    _of_tau(happened, 0.0)
    drawn = draws(counts, happened.images)
    keys = happened.label * bins + _bins(happened.confidence, bins)
    sums = totals(keys, happened.confidence - happened.iou, happened.classes * bins, happened.image, drawn)
    gaps = np.abs(sums).reshape(happened.classes, bins, -1).sum(axis=1)
    return _class_mean(gaps, happened, drawn)


def laace(happened: Events, counts: ArrayLike | None = None) -> FloatArray:
    """Return LaACE_0, (r,) in [0, 1]: the mean |score - IoU| of each class, averaged (Kuzucu et al. 2024).

    It is `laece` with a bin for every single detection, so that no two errors cancel.

    Args:
        happened: events at tau = 0.
        counts: (r, n) how often each image was drawn in each of r resamples; None for once each, r = 1.

    Returns:
        NaN where the resample holds no detection.

    Raises:
        MeasureError: the events are of another tau, or the counts do not fit.
    """
    _of_tau(happened, 0.0)
    drawn = draws(counts, happened.images)
    gap = np.abs(happened.confidence - happened.iou)
    return _class_mean(totals(happened.label, gap, happened.classes, happened.image, drawn), happened, drawn)


def objects(detections: ArrayLike, truth: ArrayLike, classes: int, *, least: float = LEAST_SCORE) -> Objects:
    """Return the Brier score of what detections together say about each true box (Park et al. 2024).

    The detections by `RULE` of any class that overlap the box by at least an IoU are averaged to p, where one gives
    its score to its class and 0 to all others; the Brier score is the sum over classes of (p - [class is the true
    one])^2, and `MISSED` where no detection overlaps. Of the two numbers at `OBJECT_IOUS` the mean is taken. No box
    is denied a detection because it is matched with another one.

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        classes: number of classes.
        least: the lowest score of a detection, as for `events`.

    Raises:
        ModelError, DataError: a detection, or a true box, cannot be used.
        MeasureError: the arrays are of different numbers of images.
    """
    found, true = flat(detections, truth, classes, least=least, per_image=KEPT)
    near = overlapping(found, true, min(OBJECT_IOUS), same_class=False)
    costs = []
    for iou in OBJECT_IOUS:
        kept = near.overlap >= iou
        truth_of, detection = near.truth[kept], near.detection[kept]
        said = np.bincount(truth_of, minlength=true.image.size)
        keys, place = np.unique(truth_of * classes + found.label[detection], return_inverse=True)
        share = np.bincount(place, found.score[detection], keys.size) / said[keys // classes]
        right = keys % classes == true.label[keys // classes]
        # A true class that nobody names costs 1; naming it takes that off and puts its own cost instead.
        change = np.where(right, (1 - share) ** 2 - MISSED, share**2)
        costs.append(MISSED + np.bincount(keys // classes, change, true.image.size))
    counted = ~true.crowd
    return Objects(np.mean(costs, axis=0)[counted], true.image[counted], true.images)


def oce(said: Objects, counts: ArrayLike | None = None) -> FloatArray:
    """Return the object-level calibration error, (r,) in [0, 2]: the mean Brier score of true boxes (Park et al. 2024).

    Neither few nor many detections make it small: a box that is missed costs 1, and so does one that is drowned in
    detections of score near 0. Without any detection it is 1. What is seen far from all boxes costs nothing here;
    `d_ece` counts it.

    Args:
        said: of the true boxes that count.
        counts: (r, n) how often each image was drawn in each of r resamples; None for once each, r = 1.

    Returns:
        NaN where the resample holds no true box.

    Raises:
        MeasureError: the counts do not fit.
    """
    drawn = draws(counts, said.images)
    sums = np.bincount(said.image, said.brier, said.images) @ drawn
    return ratio(sums, np.bincount(said.image, minlength=said.images) @ drawn)


def _of_tau(happened: Events, tau: float) -> None:
    if happened.tau != tau:
        raise MeasureError(f"got events at tau={happened.tau:g}; expected events(..., tau={tau:g}).")


def _bins(confidence: FloatArray, bins: int) -> IndexArray:
    """Return the bin of confidences: equal widths, (lo, hi], 0 in the first."""
    if bins < 1:
        raise MeasureError(f"got {bins} bins; expected at least 1, such as 10.")
    return np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")


def _per_image(happened: Events) -> IndexArray:
    return np.bincount(happened.image, minlength=happened.images)


def _class_mean(sums: FloatArray, happened: Events, drawn: FloatArray) -> FloatArray:
    """Return the mean over classes of sums (K, r) over the class's number of detections; (r,)."""
    sizes = totals(happened.label, 1.0, happened.classes, happened.image, drawn)
    return mean_defined(ratio(sums, sizes).T)
