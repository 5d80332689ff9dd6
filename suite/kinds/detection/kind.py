"""Detection: a box, a class and a score for each object of an image."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from torch import Tensor

from suite.data import TaskData
from suite.decorators import kind
from suite.errors import AttackError, ModelError
from suite.kinds.base import (
    Array,
    AttributionTarget,
    Kind,
    NotApplicable,
    Objective,
    Outcome,
    Outcomes,
    ValidatedSample,
)
from suite.kinds.defaults import Graded, KindDefaults
from suite.kinds.detection import calibration, losses, tallies
from suite.kinds.detection.damage import AIMS, NOTHING, damage, ignore_covered
from suite.kinds.detection.targets import Objects, objects, stacked
from suite.kinds.inputs import image
from suite.metrics import detection as boxes
from suite.metrics.catalogue import Metric
from suite.metrics.detection import MAP
from suite.metrics.detection.states import NAMES as STATES
from suite.metrics.stats import Statistic
from suite.metrics.stats.imagined import Imagined
from suite.metrics.table import Measured, Table
from suite.models.adapters.detector import TorchDetector
from suite.models.base import TorchModel
from suite.types import IMAGE, Display, DisplayType, Measure, Sample

DISPLAYED = 30
"""Maximum number of detections per image in the report."""

PRESETS = MappingProxyType(
    {
        "clean": ("clean",),
        "robustness": (
            "robustness(attack=fgsm(eps=[1/255, 2/255, 4/255, 8/255], loss=detector))",
            "robustness(attack=pgd(eps=[1/255, 2/255, 4/255, 8/255], loss=detector))",
            "robustness(attack=pgd(eps=[2/255, 4/255, 8/255], loss=vanish))",
            "robustness(attack=pgd(eps=[2/255, 4/255, 8/255], loss=fabricate))",
            "robustness(attack=pgd(eps=[2/255, 4/255, 8/255], loss=mislabel))",
            "robustness(attack=patch(loss=detector))",
            "robustness(attack=image_patch(loss=detector, position=random, tries=1, steps=20))",
            "corruption",
            "occlusion",
        ),
        "calibration": ("calibration",),
        "attribution": (
            "attribution(methods=[saliency, integrated_gradients, occlusion, gradcam, rise, centre, edges])",
        ),
    }
)


class Detection(Graded, KindDefaults):
    """Boxes, classes and scores; the output is a table of detections (n, 100, 6), see `TorchDetector.raw`.

    The damage to an image is its localization recall precision (LRP) error at the threshold, or the aim of the attack.

    Args:
        threshold: the lowest score of a detection for metrics at one operating point; average precision uses all.
        aim: the loss of an attack on one state of objects, see `AIMS`.
    """

    adapter: type[TorchModel] = TorchDetector
    headline = MAP
    outcome = Outcome("graded", "1 - LRP error of an image")
    method = "score"
    truth: DisplayType = "boxes"
    no_ensemble_reason: str | None = (
        "several models predict different boxes, and there is no standard way to average them"
    )
    stack = staticmethod(stacked)
    rescaling = staticmethod(calibration.rescaling)
    tally = staticmethod(tallies.joined)
    mask_covered_targets = staticmethod(ignore_covered)

    def __init__(self, threshold: float = 0.5, aim: str | None = None) -> None:
        self.threshold, self.aim = threshold, aim

    def kind(self) -> Kind:
        """Return the kind: images with boxes, explained by maps of pixels."""
        return Kind(
            "detection",
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
        )

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return the image, (channels, height, width) in uint8 or float32, and its valid objects."""
        value = image(sample.input)
        found, remarks = objects(sample.target, value.shape[1:], classes)
        wanted = [label for label, ignored in zip(found.labels, found.ignored, strict=True) if not ignored]
        return ValidatedSample(value, found, remarks, frozenset(wanted))

    def class_names(self, targets: Mapping[str, Sequence[Objects]]) -> tuple[str, ...]:
        """Return the sorted labels of all splits."""
        return tuple(sorted({str(name) for split in targets.values() for target in split for name in target.labels}))

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one table of detections of known classes per image."""
        if output.ndim != 3 or output.shape[2] != 6:
            raise ModelError(
                f"The model returns shape {tuple(output.shape)} for {len(output)} images; expected tables of "
                "detections (images, 100, 6). Wrap it in TorchDetector."
            )
        if len(output) and int(output[..., 5].max()) >= len(classes):
            raise ModelError(
                f"The model detects the class {int(output[..., 5].max())}, but the task has {len(classes)} classes "
                f"({', '.join(classes[:12])}). Build it for this task."
            )

    def fit_to_model(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return detection at the threshold of the lowest LRP error on validation samples."""
        output, targets = validation()
        return type(self)(boxes.best_threshold(output, targets), self.aim) if len(output) else self

    def training_loss(self, model: Any, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the detector's own loss per image, without detections in training mode, where they cost much."""
        loss, output = detector(model).losses(pixels, targets)
        return loss, None if model.module.training else output

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return detection whose damage is the aim of the loss: objects vanish, are mislabeled, or fabricated."""
        return type(self)(self.threshold, loss if loss in AIMS else None)

    def objective(self, model: Any) -> Objective:
        """Return the losses of `suite.kinds.detection.losses`, which use all candidates before suppression."""
        target = detector(model)
        return lambda inputs, targets, name, progress: losses.loss_and_detections(target, inputs, targets, name)

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return the damage, the only loss that is a function of detections alone.

        Raises:
            AttackError: target classes are given.
        """
        if target_classes is not None:
            raise AttackError("An attack on detection has no single target class; use loss=mislabel.")
        return self.damage(output, targets)

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the detections are, see `suite.kinds.detection.damage`."""
        return damage(output, targets, self.threshold, self.aim)

    def statistic(self, tally: Array) -> Statistic:
        """Return COCO's mean average precision as a function of resampling counts."""
        return tallies.average_precision(tally)

    def headline_measure(self, table: Table, metric: Metric, tally: Array, **fields: Any) -> Measure:
        """Return the metric with an interval of its expected value at this number of images.

        Average precision is biased upwards for few images, and once more in every resample; the interval is therefore
        recentered at the value. It knows of images that were not seen, see `Imagined`.
        """
        statistic = tallies.imagined_precision(tally)
        return table.resampled(metric, statistic, len(tally), recentred=True, added=Imagined.added, **fields)

    def measured(self, outcomes: Outcomes) -> Measured:
        """Return detections, true boxes, and each image's LRP error and states of objects at the threshold.

        The facts are the class names and the threshold.
        """
        detections, truth = outcomes.output, outcomes.targets
        states = boxes.states(detections, truth, self.threshold)
        columns = {
            "detections": detections,
            "boxes": truth,
            "image_lrp": boxes.image_errors(detections, truth, self.threshold),
            **dict(zip(STATES, states.T, strict=True)),
        }
        return Measured(columns, {"classes": list(outcomes.classes), "threshold": self.threshold})

    def output_arrays(self, output: Array) -> dict[str, Display]:
        """Return the first detections of each image that reach the threshold, (n, 30, 6); other rows have class -1."""
        displayed = output[:, :DISPLAYED].copy()
        displayed[displayed[..., 4] < self.threshold] = NOTHING
        return {"boxes": Display(displayed, "boxes")}

    def probabilities(self, output: Array) -> Array:
        """Return the detections in float64: scores are probabilities already."""
        return output.astype(np.float64)

    def explainable(self, output: Array) -> Array:
        """Return in which images the best detection reaches the threshold."""
        return np.asarray(output[:, 0, 4] >= self.threshold)

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Explain the best detection of each image: the log odds of its class at candidates that overlap its box.

        The score is the highest product of score and IoU of a detection of its class that overlaps the box by more than
        one half: 0 once the detection is gone.
        """
        best, explained = outputs[:, 0], detector(model)
        return AttributionTarget(
            lambda inputs, rows: losses.log_odds_on(explained.candidates(inputs), best[rows]),
            lambda inputs, rows: losses.similarity(model(inputs), best[rows]),
            losses.inside(best, *pixels.shape[-2:]),
        )


def detector(model: Any) -> TorchDetector:
    """Return the model if it is a detector.

    Raises:
        ModelError: it is something else.
    """
    if not isinstance(model, TorchDetector):
        raise ModelError(f"The model is a {type(model).__name__}; a detection task needs a TorchDetector.")
    return model


@kind()
def detection() -> Kind:
    """Boxes, classes and scores."""
    return Detection().kind()
