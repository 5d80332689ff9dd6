"""Detection: a box, a class and a score for each object of an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.errors import ModelError
from suite.kinds.base import Array, AttributionTarget, Calibrated, Objective, Outcomes, Rescaling, ValidatedSample
from suite.kinds.defaults import Graded, KindDefaults
from suite.kinds.detection import losses
from suite.kinds.detection.calibration import calibrated, rescaling
from suite.kinds.detection.targets import Objects, objects
from suite.kinds.images import image
from suite.metrics import detection as boxes
from suite.metrics.detection.matching import COCO_THRESHOLDS
from suite.metrics.detection.states import NAMES as STATES
from suite.metrics.stats import Statistic, resampled
from suite.models.adapters.detections import LIMIT
from suite.models.adapters.detector import TorchDetector
from suite.registry import register
from suite.types import Measure, Sample

SHOWN = 30
"""Detections of an image, at most, that a reader is shown."""

AIMS = {"mislabel": 1, "vanish": 2, "fabricate": 3}
"""Losses that are after one state of objects, and its column in `suite.metrics.detection.states`."""

CLASS, IGNORED = 4, 5
"""Columns of a true box."""

PRESETS: Mapping[str, Sequence[str]] = MappingProxyType(
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
"""What a plain run measures on natural images; a task may say otherwise."""


@dataclass(frozen=True)
class Detection(Graded, KindDefaults):
    """Boxes, classes and scores; the output is a table of detections (n, 100, 6), see `TorchDetector.raw`.

    The damage to an image is its localisation recall precision error at the threshold, or what an attack is after.

    Attributes:
        threshold: the score from which on a detection is taken at its word, outside average precision, which goes
            through all thresholds.
        aim: the loss of an attack that is after something of its own: see `AIMS`.
    """

    threshold: float = 0.5
    aim: str | None = None

    name = "detection"
    adapter = TorchDetector
    headline = "map"
    quality = "1 - LRP error of an image"
    default_uncertainty = "score"
    calibration_metric = "d_ece"
    no_ensemble_reason = "several answers name several boxes, and there is no agreed way to average them"
    presets = PRESETS

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return (channels, height, width) in uint8 or float32, and the objects that can be used."""
        value = image(sample.input)
        found, remarks = objects(sample.target, value.shape[1:], classes)
        return ValidatedSample(value, found, remarks)

    def class_names(self, targets: Sequence[Objects]) -> tuple[str, ...]:
        """Return the labels in order."""
        return tuple(sorted({str(label) for target in targets for label in target.labels}))

    def stack(self, targets: Sequence[Objects], classes: Sequence[str]) -> Array:
        """Return true boxes, float32 (n, M, 6): x1, y1, x2, y2, class, ignored; rows that pad have class -1."""
        rows = max((len(target.labels) for target in targets), default=0)
        tables = np.zeros((len(targets), max(1, rows), 6), dtype=np.float32)
        tables[..., CLASS] = -1
        position = {name: index for index, name in enumerate(classes)}
        for table, target in zip(tables, targets, strict=True):
            count = len(target.labels)
            table[:count, :4] = target.boxes
            table[:count, CLASS] = [position[t] if isinstance(t, str) else t for t in target.labels]
            table[:count, IGNORED] = target.ignored
        return tables

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is a table of detections, of known classes, per image."""
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

    def fitted_on_validation(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind with the threshold of the lowest LRP error on validation samples."""
        output, targets = validation()
        return replace(self, threshold=boxes.best_threshold(output, targets)) if len(output) else self

    def training_loss(self, model: Any, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the detector's own loss per image; while it learns, to look for its boxes as well would cost much."""
        found, output = detector(model).losses(pixels, targets)
        return found, None if model.module.training else output

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return the kind whose damage is what the loss is after: objects that vanish, are mislabelled, or made up."""
        return replace(self, aim=loss if loss in AIMS else None)

    def objective(self, model: Any) -> Objective:
        """Return the losses of `detection_losses`, which see all candidates and not only what survives."""
        asked = detector(model)

        def raised(inputs: Tensor, targets: Tensor, name: str, progress: float) -> tuple[Tensor, Tensor]:
            return losses.raised(asked, inputs, targets, name)

        return raised

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return the damage: from detections alone no more can be said."""
        losses.refuse_target_classes(target_classes)
        return self.damage(output, targets)

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the LRP error of each image, or the share of its aim that an attack reached; 1 where it is not finite.

        An image without objects has nothing that could vanish or be mislabelled: it counts as lost from the start. One
        whose objects are all covered or ignored has lost nothing.
        """
        table = output.detach().cpu().numpy()
        broken = ~np.isfinite(table).all(axis=(1, 2))
        sound = np.where(broken[:, None, None], NOTHING, table)
        errors = self._errors(sound, targets.cpu().numpy())
        return torch.from_numpy(np.where(broken, 1.0, errors)).to(output.device)

    def _errors(self, found: Array, truth: Array) -> Array:
        if self.aim is None:
            return boxes.image_errors(found, truth, self.threshold)
        states = boxes.states(found, truth, self.threshold).astype(np.float64)
        reached = states[:, AIMS[self.aim]]
        if self.aim == "fabricate":
            return np.asarray(reached / (reached + 1))
        objects = states[:, :3].sum(axis=1)
        lost = np.where((truth[..., CLASS] >= 0).any(axis=1), 0.0, 1.0)  # what is covered or ignored is not lost
        return np.where(objects > 0, reached / np.maximum(objects, 1), lost)

    def hidden(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return targets that ignore boxes of which more than half is covered."""
        share = losses.covered_share(targets[..., :4], covered)
        hidden = (share > 0.5) & (targets[..., CLASS] >= 0)
        changed = targets.clone()
        changed[..., IGNORED] = torch.where(hidden, 1.0, targets[..., IGNORED])
        return changed

    def tally(self, output: Array, targets: Array) -> Array:
        """Return the detections of each image and below them its true boxes, (n, 100 + M, 6)."""
        return np.concatenate([output, targets], axis=1)

    def statistic(self, tally: Array) -> Statistic:
        """Return COCO's mean average precision over IoU .50 to .95."""
        matches = self._matches(tally)
        return lambda counts: boxes.mean_ap(boxes.average_precision(matches, counts))

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the measure with an interval of the value to expect at this number of images.

        Average precision of few images comes out too high, in every resample once more, so that the interval is moved
        to the value.
        """
        return resampled(metric, self.statistic(tally), len(tally), seed=seed, recentred=True, **fields)

    def secondary_metrics(self, tally: Array, *, seed: int, params: Mapping[str, Any]) -> list[Measure]:
        """Return AP50, and what became of objects at the threshold; average precision alone hides what vanishes."""
        matches = self._matches(tally, (0.5,))
        per_image = boxes.states(*split(tally), self.threshold)
        told = {**params, "threshold": round(self.threshold, 4)}
        common: dict[str, Any] = {"seed": seed, "params": told, "higher_is_better": False}

        def ap50(counts: Array | None) -> Array:
            return boxes.mean_ap(boxes.average_precision(matches, counts))

        def rate(place: int) -> Statistic:
            return lambda counts: boxes.rates(per_image, counts)[:, place]

        return [
            resampled("map50", ap50, len(tally), seed=seed, recentred=True, params=dict(params)),
            resampled("mislabel_rate", rate(1), len(tally), **common),
            resampled("disappearance_rate", rate(2), len(tally), **common),
            resampled("false_positives_per_image", rate(3), len(tally), unit="per image", **common),
        ]

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return each image's LRP error and what became of its objects."""
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
        shown = output[:, :SHOWN].copy()
        shown[shown[..., 4] < self.threshold] = (0, 0, 0, 0, 0, -1)
        return {"boxes": shown}

    def probabilities(self, output: Array) -> Array:
        """Return the detections as they are: a score speaks for itself."""
        return output.astype(np.float64)

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return how well scores are calibrated."""
        return calibrated(predicted, targets, **options)

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Return the temperature that fits the scores of validation detections."""
        return rescaling(output, targets)

    def normalized_output(self, output: Tensor, pixels: Tensor) -> Tensor:
        """Return detections with coordinates as shares of the image, so that they do not drown the scores."""
        height, width = pixels.shape[-2:]
        return output / output.new_tensor([width, height, width, height, 1, 1])

    def explainable(self, output: Array) -> Array:
        """Return in which images the best detection reaches the threshold."""
        return np.asarray(output[:, 0, 4] >= self.threshold)

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Explain the best detection of each image: the log odds of its class where candidates lie on its box.

        Followed is the highest score of a detection of its class times its overlap with that box, where it is over
        one half: 0 once the detection is gone.
        """
        best = outputs[:, 0]
        asked = detector(model)

        def target(inputs: Tensor, rows: Tensor) -> Tensor:
            return losses.log_odds_on(asked.candidates(inputs), best[rows])

        def score(inputs: Tensor, rows: Tensor) -> Tensor:
            return losses.similarity(model(inputs), best[rows])

        return AttributionTarget(target, score, losses.inside(best, *pixels.shape[-2:]))

    def _matches(self, tally: Array, thresholds: Sequence[float] = COCO_THRESHOLDS) -> boxes.Matches:
        found, truth = split(tally)
        classes = int(max(found[..., 5].max(initial=0), truth[..., CLASS].max(initial=0))) + 1
        return boxes.match(found, truth, classes, thresholds)


NOTHING = np.array([0, 0, 0, 0, 0, -1], dtype=np.float32)
"""A row that is no detection."""


def split(tally: Array) -> tuple[Array, Array]:
    """Return the detections and the true boxes of tallies."""
    return tally[:, :LIMIT], tally[:, LIMIT:]


def detector(model: Any) -> TorchDetector:
    """Return the model if it is a detector.

    Raises:
        ModelError: it is something else.
    """
    if not isinstance(model, TorchDetector):
        raise ModelError(f"The model is a {type(model).__name__}; a detection task asks for a TorchDetector.")
    return model


@register("kind")
def detection() -> Detection:
    """Boxes, classes and scores."""
    return Detection()
