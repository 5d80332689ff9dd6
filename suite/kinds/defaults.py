"""The answers that kinds share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from torch import Tensor

from suite.data import TaskData
from suite.errors import AttackError, ModelError, NotApplicableError
from suite.kinds.base import Array, Objective, Outcomes, Rationale
from suite.metrics.stats import Statistic, resampled
from suite.models.base import TorchModel
from suite.types import Measure


class KindDefaults:
    """The answers that most kinds share."""

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

    def normalized_output(self, output: Tensor, pixels: Tensor) -> Tensor:
        """Return the output as it is: its numbers are of one scale."""
        return output

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return the kind itself: every loss is after the same."""
        return self

    def fitted_on_validation(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind itself: there is nothing to choose."""
        return self

    def words(self, inputs: Array) -> tuple[str, ...]:
        """Return nothing: images have no vocabulary."""
        return ()

    def gallery(self, outcomes: Outcomes) -> dict[str, Array]:
        """Return nothing: the model makes nothing to look at."""
        return {}

    def uncertainty(self, outcomes: Outcomes) -> list[Measure]:
        """Return nothing."""
        return []

    def rationale(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Refuse: pixels are explained as maps."""
        raise NotApplicableError("the input is an image; its pixels are explained by the axis attribution")

    def objective(self, model: TorchModel) -> Objective | None:
        """Return None: the loss follows from the output."""
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


class Labelled:
    """The answers of every kind whose samples have one label each."""

    def class_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Return the labels in order."""
        return tuple(sorted({str(target) for target in targets}))

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return class indices, int64 (n,)."""
        position = {name: index for index, name in enumerate(classes)}
        return np.array([position[t] if isinstance(t, str) else t for t in targets], dtype=np.int64)


class Graded:
    """The answers of every kind whose samples are answered better or worse, and not right or wrong."""

    single_label = False
    selection_loss = "damage"
    unit: str
    higher_is_better: bool

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the output is about each sample, (n,) in [0, 1]."""
        raise NotImplementedError

    def statistic(self, tally: Array) -> Statistic:
        """Return the headline measure of resamples of tallies (n, ...)."""
        raise NotImplementedError

    def guessing(self, classes: int) -> float:
        """Return the share of images that may stay mostly right where every image is allowed."""
        return 0.1

    def misclassified(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return about which images nothing is right any more."""
        return self.damage(output, targets) >= 1

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Refuse: an image with many answers has no nearest wrong class."""
        raise AttackError(
            "This attack aims at single wrong classes, and an image of this task has many answers. Use fgsm, pgd, "
            "worst_case, patch or image_patch."
        )

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the headline measure with an interval from resampling images."""
        fields = {"unit": self.unit, "higher_is_better": self.higher_is_better, **fields}
        return resampled(metric, self.statistic(tally), len(tally), seed=seed, **fields)


def one_logit_per_class(output: Tensor, classes: Sequence[str], per: str) -> None:
    """Raise ModelError unless the second dimension of an output is that of the classes; `per` says of what in words."""
    if output.shape[1] != len(classes):
        raise ModelError(
            f"The model returns {output.shape[1]} logits per {per}, but the task has {len(classes)} classes "
            f"({', '.join(classes[:12])}). Build it for this task."
        )
