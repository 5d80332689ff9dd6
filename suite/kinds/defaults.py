"""Implementations that the facets of several kinds share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.errors import AttackError, DataError, ModelError, SpecError, did_you_mean
from suite.kinds.base import Array, Kind, Objective, Outcomes
from suite.metrics.catalogue import Metric
from suite.metrics.stats import Statistic
from suite.metrics.table import Table
from suite.models.base import TorchModel
from suite.types import Display, Measure

Loss = TypeVar("Loss", bound=Callable[..., Tensor])

SPREAD = 10.0
"""Range of logits, after the scaling of attack losses, at which their softmax is neither flat nor saturated."""

TINY = 1e-30
"""Difference between logits below which they count as equal."""


class KindDefaults:
    """What most kinds share: nothing is fitted, nothing is generated, covered pixels change no target."""

    no_ensemble_reason: str | None = None

    def fit_to_model(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the object itself: nothing is fitted."""
        return self

    def fitted_kind(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Kind:
        """Return the kind with what is fitted to a model."""
        return self.fit_to_model(validation, data).kind()

    def kind(self) -> Kind:
        """Return the kind."""
        raise NotImplementedError

    def mask_covered_targets(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return the targets unchanged: covered pixels do not change what is true of the input."""
        return targets

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return the object itself: all losses have one objective."""
        return self

    def objective(self, model: TorchModel) -> Objective | None:
        """Return None: the loss is a function of the output."""
        return None

    def editable(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Return all characters."""
        return codes != 0

    def gallery(self, outcomes: Outcomes) -> Mapping[str, Display]:
        """Return nothing: the model is not generative."""
        return {}

    def explainable(self, output: Array) -> Array:
        """Return that every sample can be explained."""
        return np.ones(len(output), dtype=bool)


class Labeled:
    """What kinds with one label per sample share."""

    def class_names(self, targets: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
        """Return the sorted labels of all splits."""
        return tuple(sorted({str(target) for split in targets.values() for target in split}))

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return class indices, int64 (n,)."""
        return np.array(class_indices(targets, classes), dtype=np.int64)


def check_two_classes(classes: Sequence[str]) -> None:
    """Raise DataError if there is nothing to decide."""
    if len(classes) < 2:
        raise DataError(
            f"The task has {'only the class ' + repr(classes[0]) if classes else 'no classes'}; there is nothing to "
            "decide. Give at least two classes; the path may be one level too deep."
        )


class Graded:
    """What kinds share whose outputs are graded from 0 to 1, instead of correct or not."""

    ranking_loss = "damage"

    def statistic(self, tally: Array) -> Statistic:
        """Return the headline metric as a function of resampling counts of tallies (n, ...)."""
        raise NotImplementedError

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Raise AttackError: an image with many predictions has no nearest wrong class."""
        raise AttackError(
            "This attack aims at single wrong classes, but a model of this task makes many predictions per image. Use "
            "fgsm, pgd, worst_case, patch or image_patch."
        )

    def headline_measure(self, table: Table, metric: Metric, tally: Array, **fields: Any) -> Measure:
        """Return the headline metric with a bootstrap interval over images."""
        return table.resampled(metric, self.statistic(tally), len(tally), **fields)


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
