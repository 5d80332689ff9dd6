"""What an image contributes to the average precision: its detections followed by its true boxes, (n, 100 + M, 6)."""

from collections.abc import Sequence

import numpy as np

from suite.kinds.base import Array
from suite.kinds.detection.targets import class_count
from suite.metrics import detection as boxes
from suite.metrics.detection.matching import COCO_THRESHOLDS
from suite.metrics.stats import Statistic
from suite.models.adapters.detections import LIMIT


def joined(detections: Array, truth: Array) -> Array:
    """Return the tallies of images from their detections (n, 100, 6) and true boxes (n, M, 6)."""
    return np.concatenate([detections, truth], axis=1)


def split(tally: Array) -> tuple[Array, Array]:
    """Return the detections and the true boxes of tallies."""
    return tally[:, :LIMIT], tally[:, LIMIT:]


def average_precision(tally: Array, thresholds: Sequence[float] = COCO_THRESHOLDS) -> Statistic:
    """Return the mean average precision over IoU thresholds, COCO's .50 to .95 by default, of resampled tallies."""
    matches = _matched(tally, thresholds)
    return lambda counts: boxes.mean_ap(boxes.average_precision(matches, counts))


def imagined_precision(tally: Array, thresholds: Sequence[float] = COCO_THRESHOLDS) -> Statistic:
    """Return the same for intervals with `Imagined.added`."""
    values = boxes.imagined_precision(_matched(tally, thresholds), [range(len(thresholds))])
    return lambda weights: values(weights)[:, 0, 0]


def _matched(tally: Array, thresholds: Sequence[float]) -> boxes.Matches:
    detections, truth = split(tally)
    return boxes.match(detections, truth, class_count(detections, truth), thresholds)
