"""Localisation recall precision: one error of false, missed and badly placed boxes at a score threshold."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.errors import MeasureError
from suite.metrics.detection.arrays import LEAST_SCORE, BoolArray, Detected, FloatArray, Truth, flat
from suite.metrics.detection.matching import FALSE, HIT, Matches, assign, states_of
from suite.metrics.detection.overlap import overlapping
from suite.metrics.detection.precision import chunks, rankings, true_boxes
from suite.metrics.detection.resamples import draws

TAU = 0.5
"""The lowest overlap of a hit; there a hit costs as much as a false detection."""

DEFAULT_THRESHOLD = 0.5
"""The score threshold of a detector that never found anything, for which all thresholds are alike."""


def image_errors(detections: ArrayLike, truth: ArrayLike, threshold: float) -> FloatArray:
    """Return the LRP error of each image over all classes, (n,) in [0, 1]; 0 where nothing is and nothing is found.

    It is (false + missed + sum over hits of (1 - IoU) / (1 - tau)) / (false + missed + hits), tau = 0.5, of the
    detections that score at least the threshold (Oksuz et al. 2018).

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        threshold: the lowest score of a detection, in [0, 1].

    Raises:
        ModelError, DataError: a detection, or a true box, cannot be used.
        MeasureError: the arrays are of different numbers of images, or the threshold is outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise MeasureError(f"got a score threshold of {threshold!r}; expected a number in [0, 1].")
    found, true = flat(detections, truth, least=threshold)
    state, iou = _matched(found, true)
    boxes = np.bincount(true.image[~true.crowd], minlength=true.images)
    errors = boxes + np.bincount(found.image, _change(state, iou, TAU), true.images)
    whole = boxes + np.bincount(found.image, state == FALSE, true.images)
    return np.asarray(np.clip(errors / np.maximum(whole, 1), 0, 1))


def best_threshold(detections: ArrayLike, truth: ArrayLike) -> float:
    """Return the score threshold with the lowest LRP error of a whole set, all classes pooled.

    Only scores of at least `LEAST_SCORE` are candidates. The threshold lies half-way between the lowest score that
    is kept and the next one, so that no rounding decides. Of equal errors the highest threshold is taken.

    Returns:
        A number in [0.05, 1]; `DEFAULT_THRESHOLD` where no box was ever hit, which makes every threshold alike.

    Raises:
        ModelError, DataError, MeasureError: as `image_errors`.
    """
    found, true = flat(detections, truth, least=LEAST_SCORE)
    state, iou = _matched(found, true)
    if not (state == HIT).any():
        return DEFAULT_THRESHOLD
    order = np.argsort(-found.score, kind="stable")
    score, boxes = found.score[order], int((~true.crowd).sum())
    error = boxes + np.cumsum(_change(state, iou, TAU)[order])
    error /= boxes + np.cumsum(state[order] == FALSE)
    error[~_last_of_ties(score)] = np.inf
    least = int(np.argmin(error))
    below = score[least + 1] if least + 1 < score.size else LEAST_SCORE
    return float((score[least] + below) / 2)


def optimal_lrp(matches: Matches, counts: ArrayLike | None = None, tau: float = TAU) -> FloatArray:
    """Return each class's LRP error at its own best score threshold, (r, K); the mean over classes is oLRP.

    `mean_defined` takes that mean. As with average precision a class has a number where it has boxes to find.

    Args:
        matches: with a column for `tau`.
        counts: (r, n) how often each image was drawn in each of r resamples; None for once each, r = 1.
        tau: the lowest overlap of a hit, below 1.

    Returns:
        Numbers in [0, 1], 1 where nothing is found; NaN for a class that has no true box to find in the resample.

    Raises:
        MeasureError: the counts do not fit, or there is no column for `tau`.
    """
    column = matches.at(tau)
    drawn = draws(counts, matches.images)
    boxes = true_boxes(matches, drawn)
    result = np.ones((drawn.shape[1], matches.classes))
    for label, ranked in rankings(matches):
        state, iou = matches.state[ranked, column], matches.iou[ranked, column]
        ends = _last_of_ties(matches.score[ranked])
        for part in chunks(drawn.shape[1], ranked.size) if ranked.size else ():
            weights = drawn[matches.image[ranked], part]
            error = boxes[label, part] + np.cumsum(weights * _change(state, iou, tau)[:, None], axis=0)[ends]
            whole = boxes[label, part] + np.cumsum(weights * (state == FALSE)[:, None], axis=0)[ends]
            result[part, label] = np.clip((error / np.maximum(whole, 1)).min(axis=0), 0, 1)
    result[boxes.T == 0] = np.nan
    return result


def _matched(found: Detected, true: Truth) -> tuple[NDArray[np.int8], FloatArray]:
    """Return the state and the overlap of each detection at `TAU`, both (k,)."""
    pairs = overlapping(found, true, TAU)
    partner, iou = assign(pairs, found, true, true.crowd, (TAU,))
    return states_of(partner, true.crowd)[:, 0], iou[:, 0]


def _change(state: NDArray[np.int8], iou: FloatArray, tau: float) -> FloatArray:
    """Return by how much each detection raises the sum of costs, (k,), which without any is 1 for each true box.

    A hit takes a missed box off and puts the cost of its place instead; a false detection adds 1.
    """
    return np.select([state == HIT, state == FALSE], [(1 - iou) / (1 - tau) - 1, np.ones(iou.shape)], 0.0)


def _last_of_ties(score: FloatArray) -> BoolArray:
    """Return where a threshold can lie: below the last of equal scores, (k,) bool."""
    return np.asarray(np.r_[score[1:] != score[:-1], np.ones(min(1, score.size), dtype=bool)])
