"""Metrics of semantic segmentation, kept per image so that whole images are resampled; numpy and scipy only."""

from suite.metrics.segmentation.arrays import IGNORED
from suite.metrics.segmentation.calibration import REGIONS, PixelEvents
from suite.metrics.segmentation.confusion import (
    class_iou,
    confusions,
    empty,
    image_iou,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from suite.metrics.segmentation.regions import covered
from suite.metrics.segmentation.sample import pixel_sample

__all__ = [
    "IGNORED",
    "REGIONS",
    "PixelEvents",
    "class_iou",
    "confusions",
    "covered",
    "empty",
    "image_iou",
    "mean_accuracy",
    "mean_iou",
    "pixel_accuracy",
    "pixel_sample",
]
