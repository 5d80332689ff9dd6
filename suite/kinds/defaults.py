"""Default implementations of the methods that kinds share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.errors import AttackError, ModelError, NotApplicableError, SpecError, did_you_mean
from suite.kinds.base import Array, Objective, Outcomes, Rationale
from suite.metrics.stats import Statistic, resampled
from suite.models.base import TorchModel
from suite.types import Measure

Loss = TypeVar("Loss", bound=Callable[..., Tensor])

SPREAD = 10.0
"""Range of logits, after the scaling of attack losses, at which their softmax is neither flat nor saturated."""

TINY = 1e-30
"""Difference between logits below which they count as equal."""


class KindDefaults:
    """What most kinds share."""

    open_classes = False
    fixed_length = False
    inherits_metrics_from: tuple[str, ...] = ()
    unit = "fraction"
    higher_is_better = True
    no_ensemble_reason: str | None = None
    calibration_metric = "ece"

    def editable(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Return all characters."""
        return codes != 0

    def mask_covered_targets(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return the targets unchanged: covered pixels do not change what is true of the input."""
        return targets

    def normalized_output(self, output: Tensor, pixels: Tensor) -> Tensor:
        """Return the output unchanged: its numbers are on one scale."""
        return output

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return the kind itself: all losses have one objective."""
        return self

    def fit_to_model(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind itself: nothing is fitted."""
        return self

    def words(self, inputs: Array) -> tuple[str, ...]:
        """Return nothing: images have no vocabulary."""
        return ()

    def gallery(self, outcomes: Outcomes) -> dict[str, Array]:
        """Return nothing: the model is not generative."""
        return {}

    def uncertainty(self, outcomes: Outcomes) -> list[Measure]:
        """Return nothing."""
        return []

    def rationale(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Raise NotApplicableError: pixels are explained as maps."""
        raise NotApplicableError("the input is an image; its pixels are explained by the axis attribution")

    def objective(self, model: TorchModel) -> Objective | None:
        """Return None: the loss is a function of the output."""
        return None

    def secondary_metrics(self, tally: Array, *, seed: int, params: Mapping[str, Any]) -> list[Measure]:
        """Return nothing."""
        return []

    def latent_shift(self, before: Array, after: Array) -> Mapping[str, Array]:
        """Return nothing."""
        return {}

    def explainable(self, output: Array) -> Array:
        """Return that every sample can be explained."""
        return np.ones(len(output), dtype=bool)


class Labeled:
    """What kinds with one label per sample share."""

    def class_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Return the sorted labels."""
        return tuple(sorted({str(target) for target in targets}))

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return class indices, int64 (n,)."""
        return np.array(class_indices(targets, classes), dtype=np.int64)


class Graded:
    """What kinds share whose outputs are graded from 0 to 1, instead of correct or not."""

    single_label = False
    ranking_loss = "damage"
    unit: str
    higher_is_better: bool

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the output for each sample is, (n,) in [0, 1]."""
        raise NotImplementedError

    def statistic(self, tally: Array) -> Statistic:
        """Return the headline metric as a function of resampling counts of tallies (n, ...)."""
        raise NotImplementedError

    def chance_level(self, classes: int) -> float:
        """Return the fraction of images that may stay mostly correct under an attack with every image allowed."""
        return 0.1

    def misclassified(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return for which images the damage is complete."""
        return self.damage(output, targets) >= 1

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Raise AttackError: an image with many predictions has no nearest wrong class."""
        raise AttackError(
            "This attack aims at single wrong classes, but a model of this task makes many predictions per image. Use "
            "fgsm, pgd, worst_case, patch or image_patch."
        )

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the headline metric with a bootstrap interval over images."""
        fields = {"unit": self.unit, "higher_is_better": self.higher_is_better, **fields}
        return resampled(metric, self.statistic(tally), len(tally), seed=seed, **fields)


def class_indices(labels: Sequence[Any], classes: Sequence[str]) -> list[int]:
    """Return labels as indices into the classes; labels that are indices already are kept."""
    index = {name: place for place, name in enumerate(classes)}
    return [index[label] if isinstance(label, str) else label for label in labels]


def find_loss(losses: Mapping[str, Loss], kind: str, name: str, target_classes: Tensor | None) -> Loss:
    """Return an attack loss by name, for kinds without targeted attacks; `kind` is what errors call the kind.

    Raises:
        SpecError: the loss is unknown.
        AttackError: target classes are given.
    """
    if name not in losses:
        raise SpecError(f"{kind} has no attack loss {name!r}.{did_you_mean(name, losses)}")
    if target_classes is not None:
        raise AttackError(f"{kind} has no targeted attacks; leave the goal out.")
    return losses[name]


def softmax(output: Array, axis: int) -> Array:
    """Return the softmax of logits along an axis, in float64."""
    return torch.from_numpy(np.asarray(output, dtype=np.float64)).softmax(dim=axis).numpy()


def check_class_logits(output: Tensor, classes: Sequence[str], per: str) -> None:
    """Raise ModelError unless dimension 1 of an output holds one logit per class; `per` names what has these logits."""
    if output.shape[1] != len(classes):
        raise ModelError(
            f"The model returns {output.shape[1]} logits per {per}, but the task has {len(classes)} classes "
            f"({', '.join(classes[:12])}). Build it for this task."
        )
