"""Clean metrics of segmentation, computed from the pooled confusion matrix of all valid pixels."""

from suite.decorators import metric
from suite.kinds.class_order import Pairs, suspect_order
from suite.metrics import segmentation as pixels
from suite.metrics.segmentation import CLASS_IOU, MEAN_ACCURACY, MIOU, PIXEL_ACCURACY
from suite.metrics.stats.imagined import Imagined, too_rare
from suite.metrics.table import Table
from suite.types import Measure


@metric(kind="segmentation", entries=[MIOU, CLASS_IOU])
def mean_iou(table: Table) -> list[Measure]:
    """Mean intersection over union of all classes, and that of each class."""
    confusions, classes = table["confusion"], table.facts["classes"]
    named = [
        {"params": {"class": name}, "why": f"no test pixel is of class {name} or predicted as it"} for name in classes
    ]
    metrics = [MIOU, *[CLASS_IOU] * len(classes)]
    mean, *each = table.resampled_together(
        metrics, pixels.imagined_iou(confusions), each=[{}, *named], added=Imagined.added
    )
    images = (confusions.sum(axis=2) > 0).sum(axis=0).tolist()
    mean = suspect_order(mean, Pairs.of_images(confusions, classes), table["id"].tolist())
    return [mean, *(too_rare(*one) for one in zip(each, images, classes, strict=True))]


@metric(kind="segmentation", entries=[PIXEL_ACCURACY, MEAN_ACCURACY])
def pixel_accuracy(table: Table) -> list[Measure]:
    """Fraction of correct pixels, over all pixels and as the mean over classes; the former is mostly background."""
    statistic = pixels.imagined_accuracy(table["confusion"])
    return table.resampled_together([PIXEL_ACCURACY, MEAN_ACCURACY], statistic, added=Imagined.added)
