"""States of true boxes at a score threshold: found, mislabelled or missed; and false positives on the background."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import MeasureError
from suite.metrics.catalogue import Metric
from suite.metrics.detection.arrays import FloatArray, draws, flat
from suite.metrics.detection.matching import FALSE, HIT, match_at
from suite.metrics.detection.overlap import overlapping
from suite.metrics.stats import ratio

NAMES = ("found", "mislabelled", "missed", "false_positives")
"""The columns of `states` and `rates`."""

SECTION = "States of objects"
"""The heading under which the report lists the rates."""

FOUND_RATE = Metric(
    "found_rate",
    "detected",
    "share of objects with a box of their class",
    descriptive=("threshold",),
    section=SECTION,
)
MISLABEL_RATE = Metric(
    "mislabel_rate",
    "wrong class",
    "share of objects with boxes of other classes only",
    higher_is_better=False,
    descriptive=("threshold",),
    section=SECTION,
)
DISAPPEARANCE_RATE = Metric(
    "disappearance_rate",
    "disappearance",
    "share of objects without any box: missed, or hidden by an attack",
    higher_is_better=False,
    descriptive=("threshold",),
    section=SECTION,
)
FALSE_POSITIVES = Metric(
    "false_positives_per_image",
    "false positives",
    "boxes without an object, per image",
    unit="per image",
    higher_is_better=False,
    descriptive=("threshold",),
    section=SECTION,
    bounds=(0.0, None),
)
RATES = (FOUND_RATE, MISLABEL_RATE, DISAPPEARANCE_RATE, FALSE_POSITIVES)
"""The metrics of the columns of `states` and `rates`."""

IOU = 0.5
"""IoU from which a detection belongs to a true box."""


def states(detections: ArrayLike, truth: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Return the numbers of found, mislabelled and missed true boxes of each image, and of its false positives.

    Each true box that is not ignored has exactly one of three states: found, if a detection of its class is matched
    with it (greedily, highest score first); mislabelled, if it is not found but overlaps an unmatched detection of
    another class; missed otherwise. A false positive is a detection that overlaps no true box of any class, ignored
    boxes included (by intersection over the detection's area).

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        threshold: the lowest score of a detection, in [0, 1].

    Returns:
        (n, 4) counts in the order of `NAMES`; the first three of an image add up to its boxes.

    Raises:
        ModelError, DataError: a detection, or a true box, is invalid.
        MeasureError: the numbers of images differ, or the threshold is outside [0, 1].
    """
    detected, true = flat(detections, truth, least=threshold)
    partner, state, _ = match_at(detected, true, IOU)
    found = np.zeros(true.image.size, dtype=bool)
    found[partner[state == HIT]] = True
    near = overlapping(detected, true, IOU, same_class=False)
    other = (state[near.detection] == FALSE) & (detected.label[near.detection] != true.label[near.truth])
    confused = np.zeros(true.image.size, dtype=bool)
    confused[near.truth[other]] = True
    alone = np.ones(detected.image.size, dtype=bool)
    alone[near.detection] = False
    counted = ~true.crowd
    groups = (
        true.image[counted & found],
        true.image[counted & ~found & confused],
        true.image[counted & ~found & ~confused],
        detected.image[alone],
    )
    return np.stack([np.bincount(image, minlength=true.images) for image in groups], axis=1)


def rates(per_image: ArrayLike, counts: ArrayLike | None = None) -> FloatArray:
    """Return the shares of boxes found, mislabelled and missed, pooled over images, and false positives per image.

    Args:
        per_image: (n, 4) counts of `states`.
        counts: (r, n) weight of each image in each of r resamples; None for 1 each, r = 1.

    Returns:
        (r, 4); the shares add up to 1, and are NaN if the resample has no box.

    Raises:
        MeasureError: the counts are invalid, or there is no image.
    """
    array = np.asarray(per_image, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(NAMES) or not len(array):
        raise MeasureError(f"got states of shape {array.shape}; expected (images, {len(NAMES)}), at least one image.")
    drawn = draws(counts, len(array))
    sums = drawn.T @ array
    shares = ratio(sums[:, :3], sums[:, :3].sum(axis=1, keepdims=True))
    return np.concatenate([shares, ratio(sums[:, 3:], drawn.sum(axis=0)[:, None])], axis=1)
