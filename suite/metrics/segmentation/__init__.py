"""Metrics of semantic segmentation, kept per image so that whole images are resampled; numpy and scipy only."""

from suite.metrics.segmentation.arrays import IGNORED
from suite.metrics.segmentation.calibration import PIXEL_COLUMNS, REGIONS, SEGMENTATION_CALIBRATION, PixelEvents
from suite.metrics.segmentation.confusion import (
    CLASS_IOU,
    MEAN_ACCURACY,
    MIOU,
    PIXEL_ACCURACY,
    class_iou,
    class_pixels,
    confusions,
    empty,
    image_iou,
    imagined_accuracy,
    imagined_iou,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from suite.metrics.segmentation.regions import covered
from suite.metrics.segmentation.sample import pixel_sample

__all__ = [
    "CLASS_IOU",
    "IGNORED",
    "MEAN_ACCURACY",
    "MIOU",
    "PIXEL_ACCURACY",
    "PIXEL_COLUMNS",
    "REGIONS",
    "SEGMENTATION_CALIBRATION",
    "PixelEvents",
    "class_iou",
    "class_pixels",
    "confusions",
    "covered",
    "empty",
    "image_iou",
    "imagined_accuracy",
    "imagined_iou",
    "mean_accuracy",
    "mean_iou",
    "pixel_accuracy",
    "pixel_sample",
]
