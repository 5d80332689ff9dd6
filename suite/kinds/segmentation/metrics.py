"""Clean metrics of segmentation, computed from the pooled confusion matrix of all valid pixels."""

import numpy as np

from suite.decorators import metric
from suite.kinds.base import Array
from suite.metrics import segmentation as pixels
from suite.metrics.segmentation import CLASS_IOU, MEAN_ACCURACY, MIOU, PIXEL_ACCURACY
from suite.metrics.stats import mean_defined
from suite.metrics.table import Table
from suite.types import Measure


@metric(kind="segmentation", entries=[MIOU, CLASS_IOU])
def mean_iou(table: Table) -> list[Measure]:
    """Mean intersection over union of all classes, and that of each class."""
    confusions, classes = table["confusion"], table.facts["classes"]

    def values(counts: Array | None) -> Array:
        """Return the mean IoU and that of each class, (r, 1 + K)."""
        each = pixels.class_iou(confusions, counts)
        return np.concatenate([mean_defined(each)[:, None], each], axis=1)

    named = [
        {"params": {"class": name}, "why": f"no test pixel is of class {name} or predicted as it"} for name in classes
    ]
    return table.resampled_together([MIOU, *[CLASS_IOU] * len(classes)], values, each=[{}, *named])


@metric(kind="segmentation", entries=[PIXEL_ACCURACY, MEAN_ACCURACY])
def pixel_accuracy(table: Table) -> list[Measure]:
    """Fraction of correct pixels, over all pixels and as the mean over classes; the former is mostly background."""
    confusions = table["confusion"]

    def values(counts: Array | None) -> Array:
        return np.stack([pixels.pixel_accuracy(confusions, counts), pixels.mean_accuracy(confusions, counts)], axis=1)

    return table.resampled_together([PIXEL_ACCURACY, MEAN_ACCURACY], values)
