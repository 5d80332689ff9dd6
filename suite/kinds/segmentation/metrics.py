"""Clean metrics of segmentation, computed from the pooled confusion matrix of all valid pixels."""

import numpy as np

from suite.decorators import metric
from suite.metrics import segmentation as pixels
from suite.metrics.segmentation import CLASS_IOU, MEAN_ACCURACY, MIOU, PIXEL_ACCURACY
from suite.metrics.stats import Statistic
from suite.metrics.table import Table
from suite.types import Measure


@metric(kind="segmentation", entries=[MIOU, CLASS_IOU])
def mean_iou(table: Table) -> list[Measure]:
    """Mean intersection over union of all classes, and that of each class."""
    confusions = table["confusion"]

    def of_class(index: int) -> Statistic:
        return lambda counts: np.asarray(pixels.class_iou(confusions, counts)[:, index])

    measures = [table.resampled(MIOU, lambda counts: pixels.mean_iou(confusions, counts))]
    for index, name in enumerate(table.facts["classes"]):
        why = f"no test pixel is of class {name} or predicted as it"
        measures.append(table.resampled(CLASS_IOU, of_class(index), why=why, params={"class": name}))
    return measures


@metric(kind="segmentation", entries=[PIXEL_ACCURACY, MEAN_ACCURACY])
def pixel_accuracy(table: Table) -> list[Measure]:
    """Fraction of correct pixels, over all pixels and as the mean over classes; the former is mostly background."""
    confusions = table["confusion"]
    return [
        table.resampled(PIXEL_ACCURACY, lambda counts: pixels.pixel_accuracy(confusions, counts)),
        table.resampled(MEAN_ACCURACY, lambda counts: pixels.mean_accuracy(confusions, counts)),
    ]
