"""Detection: a box, a class and a score for each object of an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.errors import AttackError, ModelError
from suite.kinds.base import Array, AttributionTarget, Calibrated, Objective, Outcomes, ValidatedSample
from suite.kinds.defaults import Graded, KindDefaults, class_indices
from suite.kinds.detection import calibration, losses
from suite.kinds.detection.targets import Objects, class_count, objects
from suite.kinds.inputs import image
from suite.metrics import detection as boxes
from suite.metrics.detection.matching import COCO_THRESHOLDS
from suite.metrics.detection.states import NAMES as STATES
from suite.metrics.stats import Statistic, resampled
from suite.models.adapters.detections import LIMIT
from suite.models.adapters.detector import TorchDetector
from suite.registry import register
from suite.types import Measure, Sample

DISPLAYED = 30
"""Maximum number of detections per image in the report."""

AIMS = {"mislabel": 1, "vanish": 2, "fabricate": 3}
"""Losses that aim at one state of objects, and its column in `suite.metrics.detection.states`."""

RATES = ("found_rate", "mislabel_rate", "disappearance_rate", "false_positives_per_image")
"""Metrics of the columns of `suite.metrics.detection.states`."""

CLASS, IGNORED = 4, 5
"""Columns of a true box."""


@dataclass(frozen=True)
class Detection(Graded, KindDefaults):
    """Boxes, classes and scores; the output is a table of detections (n, 100, 6), see `TorchDetector.raw`.

    The damage to an image is its localization recall precision (LRP) error at the threshold, or the aim of the attack.

    Attributes:
        threshold: the lowest score of a detection for metrics at one operating point; average precision uses all.
        aim: the loss of an attack on one state of objects, see `AIMS`.
    """

    threshold: float = 0.5
    aim: str | None = None

    name = "detection"
    adapter = TorchDetector
    headline = "map"
    quality = "1 - LRP error of an image"
    default_uncertainty = "score"
    calibration_metric = "d_ece"
    no_ensemble_reason = "several models predict different boxes, and there is no standard way to average them"
    presets = MappingProxyType(
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
    rescaling = staticmethod(calibration.rescaling)

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return the image, (channels, height, width) in uint8 or float32, and its valid objects."""
        value = image(sample.input)
        return ValidatedSample(value, *objects(sample.target, value.shape[1:], classes))

    def class_names(self, targets: Sequence[Objects]) -> tuple[str, ...]:
        """Return the sorted labels."""
        return tuple(sorted({str(label) for target in targets for label in target.labels}))

    def stack(self, targets: Sequence[Objects], classes: Sequence[str]) -> Array:
        """Return true boxes, float32 (n, M, 6): x1, y1, x2, y2, class, ignored; padding rows have class -1."""
        rows = max((len(target.labels) for target in targets), default=0)
        tables = np.zeros((len(targets), max(1, rows), 6), dtype=np.float32)
        tables[..., CLASS] = -1
        for table, target in zip(tables, targets, strict=True):
            count = len(target.labels)
            table[:count, :4] = target.boxes
            table[:count, CLASS] = class_indices(target.labels, classes)
            table[:count, IGNORED] = target.ignored
        return tables

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
        """Return the kind with the threshold of the lowest LRP error on validation samples."""
        output, targets = validation()
        return replace(self, threshold=boxes.best_threshold(output, targets)) if len(output) else self

    def training_loss(self, model: Any, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the detector's own loss per image, without detections in training mode, where they cost much."""
        loss, output = detector(model).losses(pixels, targets)
        return loss, None if model.module.training else output

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return the kind whose damage is the aim of the loss: objects vanish, are mislabeled, or fabricated."""
        return replace(self, aim=loss if loss in AIMS else None)

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
        """Return the LRP error of each image, or the fraction of objects in the aimed state; 1 for non-finite outputs.

        An image without objects has none that could vanish or be mislabeled: its damage is 1 from the start. An image
        whose objects are all covered or ignored has damage 0.
        """
        table = output.detach().cpu().numpy()
        invalid = ~np.isfinite(table).all(axis=(1, 2))
        finite = np.where(invalid[:, None, None], NOTHING, table)
        errors = self._errors(finite, targets.cpu().numpy())
        return torch.from_numpy(np.where(invalid, 1.0, errors)).to(output.device)

    def _errors(self, detections: Array, truth: Array) -> Array:
        if self.aim is None:
            return boxes.image_errors(detections, truth, self.threshold)
        states = boxes.states(detections, truth, self.threshold).astype(np.float64)
        reached = states[:, AIMS[self.aim]]
        if self.aim == "fabricate":
            return np.asarray(reached / (reached + 1))
        objects = states[:, :3].sum(axis=1)
        without = np.where((truth[..., CLASS] >= 0).any(axis=1), 0.0, 1.0)  # covered or ignored objects: no damage
        return np.where(objects > 0, reached / np.maximum(objects, 1), without)

    def mask_covered_targets(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return targets that ignore boxes of which more than half is covered."""
        share = losses.covered_share(targets[..., :4], covered)
        masked = targets.clone()
        masked[..., IGNORED][(share > 0.5) & (targets[..., CLASS] >= 0)] = 1
        return masked

    def tally(self, output: Array, targets: Array) -> Array:
        """Return the detections of each image followed by its true boxes, (n, 100 + M, 6)."""
        return np.concatenate([output, targets], axis=1)

    def statistic(self, tally: Array, thresholds: Sequence[float] = COCO_THRESHOLDS) -> Statistic:
        """Return the mean average precision over IoU thresholds, COCO's .50 to .95 by default."""
        detections, truth = split(tally)
        matches = boxes.match(detections, truth, class_count(detections, truth), thresholds)
        return lambda counts: boxes.mean_ap(boxes.average_precision(matches, counts))

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the metric with an interval of its expected value at this number of images.

        Average precision is biased upwards for few images, and once more in every resample; the interval is therefore
        recentered at the value.
        """
        return resampled(metric, self.statistic(tally), len(tally), seed=seed, recentred=True, **fields)

    def secondary_metrics(self, tally: Array, *, seed: int, params: Mapping[str, Any]) -> list[Measure]:
        """Return AP50, and the rates of wrong states at the threshold, because AP alone hides missed objects."""
        ap50 = self.statistic(tally, (0.5,))
        per_image = boxes.states(*split(tally), self.threshold)
        with_threshold = {**params, "threshold": round(self.threshold, 4)}
        return [
            resampled("map50", ap50, len(tally), seed=seed, recentred=True, params=dict(params)),
            *rate_measures(per_image, RATES[1:], seed=seed, params=with_threshold),
        ]

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return each image's LRP error and the states of its objects."""
        per_image = boxes.states(outcomes.output, outcomes.targets, self.threshold)
        errors = boxes.image_errors(outcomes.output, outcomes.targets, self.threshold)
        return {"image_lrp": errors, **dict(zip(STATES, per_image.T, strict=True))}

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the class names, the threshold, and how many images and detections there are."""
        counted = (outcomes.targets[..., CLASS] >= 0) & (outcomes.targets[..., IGNORED] == 0)
        return {
            "classes": list(outcomes.classes),
            "threshold": self.threshold,
            "objects": int(counted.sum()),
            "images_without_objects": int((~counted.any(axis=1)).sum()),
            "detections": int((outcomes.output[..., 5] >= 0).sum()),
        }

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the first detections of each image that reach the threshold, (n, 30, 6); other rows have class -1."""
        displayed = output[:, :DISPLAYED].copy()
        displayed[displayed[..., 4] < self.threshold] = (0, 0, 0, 0, 0, -1)
        return {"boxes": displayed}

    def probabilities(self, output: Array) -> Array:
        """Return the detections in float64: scores are probabilities already."""
        return output.astype(np.float64)

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return the calibration of scores."""
        return calibration.calibrated(predicted, targets, **options)

    def normalized_output(self, output: Tensor, pixels: Tensor) -> Tensor:
        """Return detections with coordinates relative to the image size, on the scale of the scores."""
        height, width = pixels.shape[-2:]
        return output / output.new_tensor([width, height, width, height, 1, 1])

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


NOTHING = np.array([0, 0, 0, 0, 0, -1], dtype=np.float32)
"""A padding row."""


def rate_measures(per_image: Array, names: Sequence[str], **fields: Any) -> list[Measure]:
    """Return some of `RATES`, from the states of each image (n, 4)."""

    def rate(column: int) -> Statistic:
        return lambda counts: boxes.rates(per_image, counts)[:, column]

    measures = []
    for name in names:
        unit, higher = "per image" if name == "false_positives_per_image" else "fraction", name == "found_rate"
        measures.append(
            resampled(name, rate(RATES.index(name)), len(per_image), unit=unit, higher_is_better=higher, **fields)
        )
    return measures


def split(tally: Array) -> tuple[Array, Array]:
    """Return the detections and the true boxes of tallies."""
    return tally[:, :LIMIT], tally[:, LIMIT:]


def detector(model: Any) -> TorchDetector:
    """Return the model if it is a detector.

    Raises:
        ModelError: it is something else.
    """
    if not isinstance(model, TorchDetector):
        raise ModelError(f"The model is a {type(model).__name__}; a detection task needs a TorchDetector.")
    return model


@register("kind")
def detection() -> Detection:
    """Boxes, classes and scores."""
    return Detection()
