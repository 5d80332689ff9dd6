"""Clean metrics of segmentation, computed from the pooled confusion matrix of all valid pixels."""

import numpy as np

from suite.decorators import metric
from suite.kinds.base import Outcomes
from suite.metrics import segmentation as pixels
from suite.metrics.stats import Statistic, resampled
from suite.types import Measure


@metric(kind="segmentation")
def mean_iou(outcomes: Outcomes) -> list[Measure]:
    """Mean intersection over union of all classes, and that of each class."""
    tally, n = outcomes.kind.tally(outcomes.output, outcomes.targets), len(outcomes.ids)

    def of_class(index: int) -> Statistic:
        return lambda counts: np.asarray(pixels.class_iou(tally, counts)[:, index])

    measures = [resampled("miou", lambda counts: pixels.mean_iou(tally, counts), n, seed=outcomes.seed)]
    for index, name in enumerate(outcomes.classes):
        why = f"no test pixel is of class {name} or predicted as it"
        measures.append(resampled("class_iou", of_class(index), n, seed=outcomes.seed, why=why, params={"class": name}))
    return measures


@metric(kind="segmentation")
def pixel_accuracy(outcomes: Outcomes) -> list[Measure]:
    """Fraction of correct pixels, over all pixels and as the mean over classes; the former is mostly background."""
    tally, n = outcomes.kind.tally(outcomes.output, outcomes.targets), len(outcomes.ids)
    return [
        resampled("pixel_accuracy", lambda counts: pixels.pixel_accuracy(tally, counts), n, seed=outcomes.seed),
        resampled("mean_accuracy", lambda counts: pixels.mean_accuracy(tally, counts), n, seed=outcomes.seed),
    ]
