"""Segmentation: one class per pixel."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.decorators import kind
from suite.errors import DataError
from suite.kinds.base import (
    Array,
    AttributionTarget,
    Kind,
    Logits,
    NotApplicable,
    Objective,
    Outcome,
    Outcomes,
    ValidatedSample,
)
from suite.kinds.defaults import Graded, KindDefaults, check_class_logits, check_two_classes, softmax
from suite.kinds.inputs import image
from suite.kinds.segmentation import calibration, losses
from suite.metrics import segmentation as counting
from suite.metrics.catalogue import Metric
from suite.metrics.segmentation import IGNORED, MIOU
from suite.metrics.stats import Statistic, ratio
from suite.metrics.stats.imagined import Imagined
from suite.metrics.table import Measured, Table
from suite.models.base import TorchModel, TorchSegmenter
from suite.types import IMAGE, Display, DisplayType, Measure, Sample

PRESETS = MappingProxyType(
    {
        "clean": ("clean",),
        "robustness": (
            "robustness(attack=fgsm(eps=[1/255, 2/255, 4/255, 8/255]))",
            "robustness(attack=pgd(eps=[1/255, 2/255, 4/255, 8/255]))",
            "robustness(attack=worst_case(eps=[1/255, 2/255, 4/255, 8/255]))",
            "robustness(attack=patch())",
            "robustness(attack=image_patch(position=random, tries=1, steps=20))",
            "corruption",
            "occlusion",
        ),
        "calibration": ("calibration",),
        "attribution": (
            "attribution(methods=[saliency, integrated_gradients, occlusion, gradcam, rise, centre, edges])",
        ),
    }
)


class Segmentation(Graded, KindDefaults):
    """One class per pixel; the output is one logit per class and pixel.

    The damage to an image is 1 - the mean intersection over union of the classes that occur in it or are predicted.
    """

    adapter: type[TorchModel] = TorchSegmenter
    headline = MIOU
    outcome = Outcome("graded", "mean IoU of an image")
    method = "softmax"
    truth: DisplayType = "mask"
    attack_loss = staticmethod(losses.attack_loss)
    damage = staticmethod(losses.damage)
    rescaling = staticmethod(calibration.rescaling)

    def kind(self) -> Kind:
        """Return the kind: images with one class per pixel, explained by maps of pixels."""
        return Kind(
            "segmentation",
            IMAGE,
            samples=self,
            models=self,
            scoring=self,
            showing=self,
            fitting=self,
            training=self,
            attacks=self,
            probabilities=self,
            maps=self,
            features=NotApplicable("the input is an image; its pixels are explained by the axis attribution"),
            presets=PRESETS,
            logits=Logits(_logits_by_pixel),
        )

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return the image, (channels, height, width) in uint8 or float32, and its mask (height, width)."""
        value = image(sample.input)
        target = mask(sample.target, value.shape[1:], classes)
        return ValidatedSample(
            value, target, (), frozenset(np.flatnonzero(np.bincount(target.ravel())[:IGNORED]).tolist())
        )

    def class_names(self, targets: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
        """Return a numbered name for each class up to the highest."""
        masks = (target for split in targets.values() for target in split)
        highest = max((int(target[target != IGNORED].max(initial=0)) for target in masks), default=0)
        return tuple(f"class {index}" for index in range(highest + 1))

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return masks, uint8 (n, h, w).

        Raises:
            DataError: fewer than two classes.
        """
        check_two_classes(classes)
        return np.stack(targets) if len(targets) else np.zeros((0, 1, 1), np.uint8)

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class."""
        check_class_logits(output, classes, "pixel")

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each image, see `suite.kinds.segmentation.losses.training_loss`, and the logits."""
        output = model(pixels)
        return losses.training_loss(output, targets), output

    def objective(self, model: TorchModel) -> Objective:
        """Return the losses of `suite.kinds.segmentation.losses`, some of which depend on the progress."""

        def loss_and_output(inputs: Tensor, targets: Tensor, name: str, progress: float) -> tuple[Tensor, Tensor]:
            output = model.raw(inputs)
            return losses.attack_loss(output, targets, name, None, progress), output

        return loss_and_output

    def mask_covered_targets(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return targets with covered pixels ignored."""
        return targets.masked_fill(covered, IGNORED)

    def tally(self, output: Array, targets: Array) -> Array:
        """Return confusion matrices (n, classes, classes), rows truth, columns prediction."""
        return counting.confusions(output.argmax(axis=1), targets, output.shape[1])

    def statistic(self, tally: Array) -> Statistic:
        """Return the mean intersection over union of the pooled confusion matrix of resamples."""
        return lambda counts: counting.mean_iou(tally, counts)

    def headline_measure(self, table: Table, metric: Metric, tally: Array, **fields: Any) -> Measure:
        """Return the metric with an interval that knows of images that were not seen; see `Imagined`."""
        values = counting.imagined_iou(tally)
        return table.resampled(
            metric, lambda weights: values(weights)[:, 0], len(tally), added=Imagined.added, **fields
        )

    def measured(self, outcomes: Outcomes) -> Measured:
        """Return each image's confusion matrix, mean intersection over union and pixel accuracy; and the class names.

        The pixel accuracy is NaN for an image whose pixels are all ignored.
        """
        confusions = self.tally(outcomes.output, outcomes.targets)
        accuracy = ratio(np.trace(confusions, axis1=1, axis2=2), confusions.sum(axis=(1, 2)))
        columns = {"confusion": confusions, "image_iou": counting.image_iou(confusions), "image_accuracy": accuracy}
        return Measured(columns, {"classes": list(outcomes.classes)})

    def output_arrays(self, output: Array) -> dict[str, Display]:
        """Return the class of each pixel, uint8 (n, h, w)."""
        return {"mask": Display(output.argmax(axis=1).astype(np.uint8), "mask")}

    def probabilities(self, output: Array) -> Array:
        """Return the softmax over classes, in float64."""
        return softmax(output, axis=1)

    def explainable(self, output: Array) -> Array:
        """Return in which images anything but background is predicted."""
        return np.asarray((output.argmax(axis=1) != 0).any(axis=(1, 2)))

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Explain the mean logit of the largest foreground class over the region where it is predicted.

        The region is that of the clean image. The score is the class's mean probability there.
        """
        predicted, count = outputs.argmax(dim=1), outputs.shape[1]
        areas = torch.stack([(predicted == index).flatten(1).sum(dim=1) for index in range(1, count)], dim=1)
        chosen = areas.argmax(dim=1) + 1
        region = predicted == chosen[:, None, None]

        def region_mean(values: Tensor, rows: Tensor) -> Tensor:
            own = values.gather(1, chosen[rows][:, None, None, None].expand(-1, 1, *values.shape[2:]))[:, 0]
            inside = region[rows].to(values)
            return (own * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp_min(1)

        return AttributionTarget(
            lambda inputs, rows: region_mean(model(inputs), rows),
            lambda inputs, rows: region_mean(model(inputs).double().softmax(dim=1), rows),
            region,
        )


def _logits_by_pixel(output: Array) -> Array:
    """Return outputs (n, classes, h, w) as (n * h * w, classes)."""
    return np.moveaxis(output, 1, -1).reshape(-1, output.shape[1])


def mask(value: Any, size: tuple[int, ...], classes: Sequence[str] | None) -> Array:
    """Return the classes of an image's pixels as uint8 (height, width), 255 where ignored.

    Raises:
        DataError: not a mask of integers, of a size different from the image, or with an unknown class.
    """
    labels = np.asarray(value)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise DataError(
            f"a mask of shape {labels.shape} and type {labels.dtype}; expected whole numbers (height, width)"
        )
    if labels.shape != tuple(size):
        raise DataError(f"a mask of size {labels.shape} for an image of size {tuple(size)}; they must be equal")
    count = min(len(classes) if classes is not None else IGNORED, IGNORED)
    unknown = np.unique(labels[(labels < 0) | ((labels >= count) & (labels != IGNORED))])
    if len(unknown):
        named = f"value{'s' * (len(unknown) > 1)} {', '.join(map(str, unknown[:8]))}"
        raise DataError(f"a mask with the {named}; expected 0 to {count - 1}, and 255 where it is ignored")
    return labels.astype(np.uint8)


@kind()
def segmentation() -> Kind:
    """One class per pixel."""
    return Segmentation().kind()
