"""What is counted about pixels, per image, so that whole images are resampled; numpy and scipy only."""

from suite.pixels.arrays import IGNORED
from suite.pixels.calibration import REGIONS, PixelEvents
from suite.pixels.confusion import (
    class_iou,
    confusions,
    empty,
    image_iou,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from suite.pixels.regions import boundary, covered
from suite.pixels.sample import pixel_sample

__all__ = [
    "IGNORED",
    "REGIONS",
    "PixelEvents",
    "boundary",
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
