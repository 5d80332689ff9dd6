"""Localization Recall Precision (LRP): one error for false positives, missed boxes and poor localization."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.metrics.catalogue import Metric
from suite.metrics.detection.arrays import LEAST_SCORE, BoolArray, FloatArray, draws, flat
from suite.metrics.detection.matching import FALSE, HIT, Matches, match_at
from suite.metrics.detection.precision import boxes_of, chunks, rankings, true_boxes
from suite.metrics.stats import Statistic
from suite.metrics.stats.imagined import Imagined, remembered

OLRP = Metric(
    "olrp",
    "LRP error",
    "missed objects, false positives and localization in one error, at the best threshold of each class; 0 is perfect, "
    "1 the worst",
    higher_is_better=False,
)

TAU = 0.5
"""IoU threshold of a true positive; at this IoU a true positive costs as much as a false one."""

DEFAULT_THRESHOLD = 0.5
"""Score threshold of a detector without any true positive, for which all thresholds give the same error."""


def image_errors(detections: ArrayLike, truth: ArrayLike, threshold: float) -> FloatArray:
    """Return the LRP error of each image over all classes, (n,) in [0, 1]; 0 without true boxes and detections.

    It is (FP + FN + sum over TP of (1 - IoU) / (1 - tau)) / (FP + FN + TP) with tau = 0.5, of the detections with
    scores of at least the threshold (Oksuz et al. 2018).

    Args:
        detections: (n, D, 6), rows x1, y1, x2, y2, score in [0, 1], class; padding has class -1.
        truth: (n, M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.
        threshold: the lowest score of a detection, in [0, 1].

    Raises:
        ModelError, DataError: a detection, or a true box, is invalid.
        MeasureError: the numbers of images differ, or the threshold is outside [0, 1].
    """
    detected, true = flat(detections, truth, least=threshold)
    _, state, iou = match_at(detected, true, TAU)
    boxes = np.bincount(true.image[~true.crowd], minlength=true.images)
    errors = boxes + np.bincount(detected.image, _change(state, iou, TAU), true.images)
    whole = boxes + np.bincount(detected.image, state == FALSE, true.images)
    return np.asarray(np.clip(errors / np.maximum(whole, 1), 0, 1))


def best_threshold(detections: ArrayLike, truth: ArrayLike) -> float:
    """Return the score threshold with the lowest LRP error of a whole set, all classes pooled.

    Only scores of at least `LEAST_SCORE` are candidates. The threshold lies midway between the lowest kept score and
    the next one, so that rounding does not matter. Of equal errors the highest threshold is taken.

    Returns:
        A number in [0.05, 1]; `DEFAULT_THRESHOLD` without any true positive, since all thresholds are then equal.

    Raises:
        ModelError, DataError, MeasureError: as `image_errors`.
    """
    detected, true = flat(detections, truth, least=LEAST_SCORE)
    _, state, iou = match_at(detected, true, TAU)
    if not (state == HIT).any():
        return DEFAULT_THRESHOLD
    order = np.argsort(-detected.score, kind="stable")
    score, boxes = detected.score[order], int((~true.crowd).sum())
    error = boxes + np.cumsum(_change(state, iou, TAU)[order])
    error /= boxes + np.cumsum(state[order] == FALSE)
    error[~_last_of_ties(score)] = np.inf
    least = int(np.argmin(error))
    below = score[least + 1] if least + 1 < score.size else LEAST_SCORE
    return float((score[least] + below) / 2)


def optimal_lrp(matches: Matches, counts: ArrayLike | None = None, tau: float = TAU) -> FloatArray:
    """Return each class's LRP error at its own best score threshold, (r, K); the mean over classes is oLRP.

    `mean_defined` takes that mean. As with average precision, a class without true boxes is undefined.

    Args:
        matches: with a column for `tau`.
        counts: (r, n) weight of each image in each of r resamples; None for 1 each, r = 1.
        tau: IoU threshold of a true positive, below 1.

    Returns:
        Numbers in [0, 1], 1 without any true positive; NaN for a class without a true box in the resample.

    Raises:
        MeasureError: the counts are invalid, or there is no column for `tau`.
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
            result[part, label] = np.clip((error / np.maximum(whole, np.finfo(float).tiny)).min(axis=0), 0, 1)
    result[boxes.T == 0] = np.nan
    return result


def imagined_lrp(matches: Matches) -> Statistic:
    """Return the mean over classes of `optimal_lrp`, (r,), for intervals with `Imagined.added`.

    In one imagined image all true boxes are found perfectly, in the other all are missed.
    """
    known = remembered(lambda weights: optimal_lrp(matches, weights))
    values = Imagined(boxes_of(matches)).statistic(known, first_is_mean=True)
    return lambda weights: values(weights)[:, 0]


def _change(state: NDArray[np.int8], iou: FloatArray, tau: float) -> FloatArray:
    """Return the change in the sum of costs by each detection, (k,); without any, each true box costs 1.

    A true positive replaces the cost of a missed box by its localization cost; a false positive adds 1.
    """
    return np.select([state == HIT, state == FALSE], [(1 - iou) / (1 - tau) - 1, np.ones(iou.shape)], 0.0)


def _last_of_ties(score: FloatArray) -> BoolArray:
    """Return the last of each run of equal scores, (k,) bool: a threshold can only lie below it."""
    return np.asarray(np.r_[score[1:] != score[:-1], np.ones(min(1, score.size), dtype=bool)])
