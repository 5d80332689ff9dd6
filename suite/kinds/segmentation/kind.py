"""Segmentation: one class per pixel."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.errors import DataError
from suite.kinds.base import Array, AttributionTarget, Calibrated, Objective, Outcomes, Rescaling, ValidatedSample
from suite.kinds.defaults import Graded, KindDefaults, one_logit_per_class
from suite.kinds.images import image
from suite.kinds.segmentation import losses
from suite.kinds.segmentation.calibration import calibrated, rescaling
from suite.metrics import segmentation as counting
from suite.metrics.segmentation import IGNORED
from suite.metrics.stats import Statistic
from suite.models.base import TorchModel, TorchSegmenter
from suite.registry import register
from suite.types import Sample

PRESETS: Mapping[str, Sequence[str]] = MappingProxyType(
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
"""What a plain run measures on natural images; a task may say otherwise."""


class Segmentation(Graded, KindDefaults):
    """One class per pixel; the output is a logit per class and pixel.

    The damage to an image is 1 - the mean intersection over union of the classes that occur in it or are predicted.
    """

    name = "segmentation"
    adapter = TorchSegmenter
    headline = "miou"
    quality = "mean IoU of an image"
    default_uncertainty = "softmax"
    presets = PRESETS

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return (channels, height, width) in uint8 or float32, and the classes of the pixels (height, width)."""
        value = image(sample.input)
        return ValidatedSample(value, mask(sample.target, value.shape[1:], classes))

    def class_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Return a number for each class up to the highest."""
        highest = max((int(target[target != IGNORED].max(initial=0)) for target in targets), default=0)
        return tuple(f"class {index}" for index in range(highest + 1))

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return masks, uint8 (n, h, w)."""
        return np.stack(targets) if len(targets) else np.zeros((0, 1, 1), np.uint8)

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class."""
        one_logit_per_class(output, classes, "pixel")

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each image, see `segmentation_losses.learned`, and the logits."""
        output = model(pixels)
        return losses.learned(output, targets), output

    def objective(self, model: TorchModel) -> Objective:
        """Return the losses of `segmentation_losses`, some of which change with the steps."""

        def raised(inputs: Tensor, targets: Tensor, name: str, progress: float) -> tuple[Tensor, Tensor]:
            output = model.raw(inputs)
            return losses.attack_loss(output, targets, name, None, progress), output

        return raised

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return one of `segmentation_losses.LOSSES` per image, in float64."""
        return losses.attack_loss(output, targets, name, target_classes)

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return 1 - the mean intersection over union of each image."""
        return losses.damage(output, targets)

    def hidden(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return targets with covered pixels ignored."""
        return targets.masked_fill(covered, IGNORED)

    def tally(self, output: Array, targets: Array) -> Array:
        """Return confusion matrices (n, classes, classes), rows truth, columns prediction."""
        return counting.confusions(output.argmax(axis=1), targets, output.shape[1])

    def statistic(self, tally: Array) -> Statistic:
        """Return the mean intersection over union of the pooled confusion matrix."""
        return lambda counts: counting.mean_iou(tally, counts)

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return each image's mean intersection over union and share of right pixels."""
        tally = self.tally(outcomes.output, outcomes.targets)
        right, valid = np.trace(tally, axis1=1, axis2=2), tally.sum(axis=(1, 2))
        accuracy = np.divide(right, valid, out=np.full(len(tally), np.nan), where=valid > 0)
        return {"image_iou": counting.image_iou(tally), "pixel_accuracy": accuracy}

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the class names and the confusion matrix of all pixels (rows: truth, columns: prediction)."""
        tally = self.tally(outcomes.output, outcomes.targets)
        ignored = int(counting.empty(tally).sum())
        return {
            "classes": list(outcomes.classes),
            "confusion": tally.sum(axis=0).tolist(),
            "images_without_valid_pixels": ignored,
        }

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the class of each pixel, uint8 (n, h, w)."""
        return {"mask": output.argmax(axis=1).astype(np.uint8)}

    def probabilities(self, output: Array) -> Array:
        """Return the softmax over classes, in float64."""
        return torch.from_numpy(np.asarray(output, dtype=np.float64)).softmax(dim=1).numpy()

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return how well the distributions of pixels are calibrated."""
        return calibrated(predicted, targets, **options)

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Return the temperature that fits validation pixels."""
        return rescaling(output, targets)

    def explainable(self, output: Array) -> Array:
        """Return in which images anything but background is predicted."""
        return np.asarray((output.argmax(axis=1) != 0).any(axis=(1, 2)))

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Explain the logits of the class that takes most of the foreground, over the region it takes.

        The region is that of the clean image; followed is the class's mean probability there.
        """
        predicted, count = outputs.argmax(dim=1), outputs.shape[1]
        areas = torch.stack([(predicted == index).flatten(1).sum(dim=1) for index in range(1, count)], dim=1)
        chosen = areas.argmax(dim=1) + 1
        region = predicted == chosen[:, None, None]

        def of_region(values: Tensor, rows: Tensor) -> Tensor:
            own = values.gather(1, chosen[rows][:, None, None, None].expand(-1, 1, *values.shape[2:]))[:, 0]
            inside = region[rows].to(values)
            return (own * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp_min(1)

        return AttributionTarget(
            lambda inputs, rows: of_region(model(inputs), rows),
            lambda inputs, rows: of_region(model(inputs).double().softmax(dim=1), rows),
            region,
        )


def mask(value: Any, size: tuple[int, ...], classes: Sequence[str] | None) -> Array:
    """Return the classes of an image's pixels as uint8 (height, width), 255 where ignored.

    Raises:
        DataError: it is no mask of whole numbers, of another size than the image, or names a class that is unknown.
    """
    labels = np.asarray(value)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise DataError(
            f"a mask of shape {labels.shape} and type {labels.dtype}; expected whole numbers (height, width)"
        )
    if labels.shape != tuple(size):
        raise DataError(f"a mask of size {labels.shape} for an image of size {tuple(size)}; they must be equal")
    known = min(len(classes) if classes is not None else IGNORED, IGNORED)
    strange = np.unique(labels[(labels < 0) | ((labels >= known) & (labels != IGNORED))])
    if len(strange):
        named = ", ".join(str(label) for label in strange[:8])
        raise DataError(f"a mask with the classes {named}; expected 0 to {known - 1}, and 255 where it is ignored")
    return labels.astype(np.uint8)


@register("kind")
def segmentation() -> Segmentation:
    """One class per pixel."""
    return Segmentation()
