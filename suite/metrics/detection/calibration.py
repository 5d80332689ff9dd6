"""Calibration of detectors: whether a detection's score equals its chance to be a true positive, or its IoU.

All measures use the detections chosen by one rule, `RULE`, since each can be made small by keeping few detections. All
return one number per resample, NaN (never 0) if there is nothing to measure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from suite.errors import MeasureError
from suite.metrics.calibration.bins import bin_index
from suite.metrics.calibration.events import uncertainty_columns
from suite.metrics.catalogue import Metric
from suite.metrics.detection.arrays import LEAST_SCORE, BoolArray, FloatArray, IndexArray, draws, flat, totals
from suite.metrics.detection.matching import HIT, IGNORED, match_at
from suite.metrics.detection.overlap import overlapping
from suite.metrics.stats import mean_defined, ratio

D_ECE = Metric(
    "d_ece",
    "D-ECE",
    "the ECE of boxes: mean gap between score and precision",
    higher_is_better=False,
    columns=uncertainty_columns("D-ECE", "score", "score+temperature"),
    descriptive=("detections",),
)
LAECE = Metric(
    "laece",
    "LaECE",
    "mean gap between the scores of a class and how well its boxes fit their objects (IoU), averaged over classes",
    higher_is_better=False,
    columns=uncertainty_columns("LaECE", "score"),
    descriptive=("detections",),
)
LAACE = Metric(
    "laace",
    "LaACE",
    "mean difference between the score of a box and how well it fits its object (IoU), averaged over classes",
    higher_is_better=False,
    descriptive=("detections",),
)
OCE = Metric(
    "oce",
    "OCE",
    "squared error of the scores at each object; a missed object counts 1",
    higher_is_better=False,
    columns=uncertainty_columns("OCE", "score"),
    descriptive=("detections",),
)
DETECTION_CALIBRATION = (D_ECE, LAECE, LAACE, OCE)

KEPT = 100
"""Number of detections per image that are kept, highest scores first."""

RULE: Mapping[str, str | float] = MappingProxyType(
    {"least_score": LEAST_SCORE, "per_image": KEPT, "iou": 0.5, "matching": "greedy by score, one detection per box"}
)
"""Which detections are kept and which are correct; stored with every number that depends on it."""

OBJECT_IOUS = (0.5, 0.75)
"""IoU thresholds from which a detection contributes to a true box, in `oce`."""

MISSED = 1.0
"""Brier score of a box without any detection: (1 - 0)^2, that of a score of 0 for its class."""

_ANY = float(np.finfo(np.float64).tiny)
"""The smallest positive overlap."""


@dataclass(frozen=True, eq=False)
class Events:
    """Confidence and outcome of each detection; ignored detections are left out.

    Attributes:
        confidence: (k,) score in [0.05, 1].
        correct: (k,) whether it is matched with a true box, bool.
        iou: (k,) IoU with that box, 0 without a match.
        label, image: (k,) indices of its class and image.
        images, classes: their numbers.
        tau: IoU threshold of a match; 0 for any overlap.
    """

    confidence: FloatArray
    correct: BoolArray
    iou: FloatArray
    label: IndexArray
    image: IndexArray
    images: int
    classes: int
    tau: float

    @property
    def per_image(self) -> IndexArray:
        """The number of detections of each image and class, (n, K)."""
        counts = np.bincount(self.image * self.classes + self.label, minlength=self.images * self.classes)
        return counts.reshape(self.images, self.classes)


@dataclass(frozen=True, eq=False)
class Objects:
    """The Brier score of each true box that is not ignored.

    Attributes:
        brier: (m,) Brier score in [0, 2], mean over `OBJECT_IOUS`.
        image: (m,) index of the image.
        images: number of images.
    """

    brier: FloatArray
    image: IndexArray
    images: int

    @property
    def per_image(self) -> IndexArray:
        """The number of true boxes of each image, (n,)."""
        return np.bincount(self.image, minlength=self.images)


def events(
    detections: ArrayLike, truth: ArrayLike, classes: int, tau: float = 0.5, *, least: float = LEAST_SCORE
) -> Events:
    """Return the events of detection calibration by `RULE`; detections on images without true boxes are all wrong.

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        classes: number of classes.
        tau: IoU threshold of a match, in [0, 1]; `d_ece` needs 0.5, `laece` and `laace` need 0.
        least: the lowest score of a detection; 0 for detections that were selected before recalibration.

    Raises:
        ModelError, DataError: a detection, or a true box, is invalid.
        MeasureError: the numbers of images differ, or tau is outside [0, 1].
    """
    if not 0 <= tau <= 1:
        raise MeasureError(f"got tau={tau!r}; expected an IoU in [0, 1].")
    detected, true = flat(detections, truth, classes, least=least, per_image=KEPT)
    _, state, iou = match_at(detected, true, max(tau, _ANY))
    kept, hit = state != IGNORED, state == HIT
    return Events(
        confidence=detected.score[kept],
        correct=hit[kept],
        iou=np.where(hit, iou, 0)[kept],
        label=detected.label[kept],
        image=detected.image[kept],
        images=detected.images,
        classes=classes,
        tau=tau,
    )


def d_ece(detections: Events, counts: ArrayLike | None = None, bins: int = 10) -> FloatArray:
    """Return the expected calibration error of detections, (r,) in [0, 1], all classes pooled (Kueppers et al. 2020).

    It is the mean over detections of |mean score - precision| of their bin; bins follow
    `suite.metrics.calibration.BINNING`.

    Args:
        detections: events at tau = 0.5.
        counts: (r, n) weight of each image in each of r resamples; None for 1 each, r = 1.
        bins: number of bins.

    Returns:
        NaN if the resample has no detection.

    Raises:
        MeasureError: the events are of another tau, the counts are invalid, or there is no bin.
    """
    drawn = _draws(detections, 0.5, counts)
    gap = detections.confidence - detections.correct
    sums = totals(bin_index(detections.confidence, bins), gap, bins, detections.image, drawn)
    return ratio(np.abs(sums).sum(axis=0), np.bincount(detections.image, minlength=detections.images) @ drawn)


def laece(detections: Events, counts: ArrayLike | None = None, bins: int = 25) -> FloatArray:
    """Return LaECE_0, the localization-aware calibration error, (r,) in [0, 1] (Kuzucu et al. 2024).

    For each class it is the mean over detections of |mean score - mean IoU| of their bin, where unmatched detections
    have IoU 0; then the mean over classes that have detections. Bins follow `suite.metrics.calibration.BINNING`.

    Args:
        detections: events at tau = 0.
        counts: (r, n) weight of each image in each of r resamples; None for 1 each, r = 1.
        bins: number of bins.

    Returns:
        NaN if the resample has no detection.

    Raises:
        MeasureError: the events are of another tau, the counts are invalid, or there is no bin.
    """
    return mean_defined(class_laece(detections, counts, bins))


def class_laece(detections: Events, counts: ArrayLike | None = None, bins: int = 25) -> FloatArray:
    """Return the error of each class that `laece` is the mean of, (r, K); NaN for a class without detections."""
    drawn = _draws(detections, 0.0, counts)
    keys = detections.label * bins + bin_index(detections.confidence, bins)
    sums = totals(keys, detections.confidence - detections.iou, detections.classes * bins, detections.image, drawn)
    gaps = np.abs(sums).reshape(detections.classes, bins, -1).sum(axis=1)
    return _by_class(gaps, detections, drawn)


def laace(detections: Events, counts: ArrayLike | None = None) -> FloatArray:
    """Return LaACE_0, (r,) in [0, 1]: the mean |score - IoU| of each class, averaged (Kuzucu et al. 2024).

    It is `laece` with one bin per detection, so that errors cannot cancel.

    Args:
        detections: events at tau = 0.
        counts: (r, n) weight of each image in each of r resamples; None for 1 each, r = 1.

    Returns:
        NaN if the resample has no detection.

    Raises:
        MeasureError: the events are of another tau, or the counts are invalid.
    """
    return mean_defined(class_laace(detections, counts))


def class_laace(detections: Events, counts: ArrayLike | None = None) -> FloatArray:
    """Return the error of each class that `laace` is the mean of, (r, K); NaN for a class without detections."""
    drawn = _draws(detections, 0.0, counts)
    gap = np.abs(detections.confidence - detections.iou)
    return _by_class(totals(detections.label, gap, detections.classes, detections.image, drawn), detections, drawn)


def objects(detections: ArrayLike, truth: ArrayLike, classes: int, *, least: float = LEAST_SCORE) -> Objects:
    """Return the Brier score of each true box, from the mean of the detections that overlap it (Park et al. 2024).

    The detections by `RULE`, of any class, that overlap the box with at least an IoU threshold are averaged to p; each
    gives its score to its class and 0 to all others. The Brier score is the sum over classes of (p - [class is the
    true one])^2, or `MISSED` if no detection overlaps. The result is the mean over the two thresholds `OBJECT_IOUS`.
    A detection may contribute to several boxes.

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        classes: number of classes.
        least: the lowest score of a detection, as for `events`.

    Raises:
        ModelError, DataError: a detection, or a true box, is invalid.
        MeasureError: the numbers of images differ.
    """
    detected, true = flat(detections, truth, classes, least=least, per_image=KEPT)
    near = overlapping(detected, true, min(OBJECT_IOUS), same_class=False)
    costs = []
    for iou in OBJECT_IOUS:
        kept = near.overlap >= iou
        truth_of, detection = near.truth[kept], near.detection[kept]
        votes = np.bincount(truth_of, minlength=true.image.size)
        keys, inverse = np.unique(truth_of * classes + detected.label[detection], return_inverse=True)
        share = np.bincount(inverse, detected.score[detection], keys.size) / votes[keys // classes]
        right = keys % classes == true.label[keys // classes]
        # A true class without any score costs 1; a score replaces that by its own cost.
        change = np.where(right, (1 - share) ** 2 - MISSED, share**2)
        costs.append(MISSED + np.bincount(keys // classes, change, true.image.size))
    counted = ~true.crowd
    return Objects(np.mean(costs, axis=0)[counted], true.image[counted], true.images)


def oce(scored: Objects, counts: ArrayLike | None = None) -> FloatArray:
    """Return the object-level calibration error, (r,) in [0, 2]: the mean Brier score of true boxes (Park et al. 2024).

    Neither few nor many detections make it small: a missed box costs 1, and so does a box with many detections of
    scores near 0. Without any detection it is 1. Detections away from all true boxes cost nothing here; `d_ece`
    counts them.

    Args:
        scored: the true boxes that are not ignored.
        counts: (r, n) weight of each image in each of r resamples; None for 1 each, r = 1.

    Returns:
        NaN if the resample has no true box.

    Raises:
        MeasureError: the counts are invalid.
    """
    drawn = draws(counts, scored.images)
    sums = np.bincount(scored.image, scored.brier, scored.images) @ drawn
    return ratio(sums, np.bincount(scored.image, minlength=scored.images) @ drawn)


def _draws(detections: Events, tau: float, counts: ArrayLike | None) -> FloatArray:
    """Return how often each image was drawn, (n, r), after checking that the events are of the right `tau`."""
    if detections.tau != tau:
        raise MeasureError(f"got events at tau={detections.tau:g}; expected events(..., tau={tau:g}).")
    return draws(counts, detections.images)


def _by_class(sums: FloatArray, detections: Events, drawn: FloatArray) -> FloatArray:
    """Return sums (K, r) divided by the number of detections of the class, (r, K)."""
    sizes = totals(detections.label, 1.0, detections.classes, detections.image, drawn)
    return ratio(sums, sizes).T
