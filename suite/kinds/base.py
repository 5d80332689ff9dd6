"""The interface of a kind of task, and the values that kinds and axes exchange. An axis uses nothing else of a kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

import numpy.typing as npt
from torch import Tensor

from suite.data import TaskData
from suite.metrics.stats import Statistic
from suite.models.base import TorchModel
from suite.types import Measure, Sample

Array = npt.NDArray[Any]

Objective = Callable[[Tensor, Tensor, str, float], tuple[Tensor, Tensor]]
"""(inputs, targets, loss name, fraction of steps done) to the loss that an attack maximizes, (n,), and the output."""


class ValidatedSample(NamedTuple):
    """A valid sample: its input, its target, and a sentence about each part of the target that was dropped."""

    value: Array
    target: Any
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcomes:
    """The outputs of a model on every sample of a split.

    Attributes:
        ids: sample ids, (n,).
        output: the model's raw output in float32, (n, ...); logits for classification.
        targets: ground truth, (n, ...).
        classes: class names.
        seed: seed for resampling.
        kind: the kind, as fitted on validation data for this model.
        model: the model itself, for metrics that need more than its outputs: generated samples, reconstructions.
        data: the task's samples, for metrics that compare with training samples.
        inputs: the model's inputs, (n, ...) on its device.
    """

    ids: tuple[str, ...]
    output: Array
    targets: Array
    classes: tuple[str, ...]
    seed: int
    kind: Any = None
    model: Any = None
    data: Any = None
    inputs: Any = None


@dataclass(frozen=True)
class Rationale:
    """What is explained where the input is a list of features: the words of a text, the components of a latent.

    Attributes:
        present: which features each sample has, bool (n, features); absent ones, such as padding, are never deleted.
        point: the features as a differentiable tensor: embeddings (n, features, d), or latents (n, features, 1); None
            where the model has none, so that only methods without gradients apply.
        blank: the baseline that replaces a deleted feature, of the shape of `point`; None if `point` is None.
        target: (points, rows) to the scalar that is differentiated, (m,); `rows` holds the sample index of each row;
            None if `point` is None.
        score: (kept, rows) to the score in [0, 1] with only the kept features, bool (m, features) to (m,); features
            are deleted from the input, which need not be the space of `point`.
        names: names of the features of each sample, for display; positions where there are none.
        deletion: how a feature is deleted, in words.
        ends_matter: whether the last features are known to matter most, as in a language model's context; a method then
            has to beat the order that deletes them first.
        proxy: whether this is a proxy, because no standard definition exists.
        arrays: what the report shows of each sample, (n, ...) by name: ``codes`` and ``spans`` of texts, ``images`` of
            latents.
    """

    present: Tensor
    point: Tensor | None
    blank: Tensor | None
    target: Callable[[Tensor, Tensor], Tensor] | None
    score: Callable[[Tensor, Tensor], Tensor]
    names: Sequence[Sequence[str]]
    deletion: str
    ends_matter: bool = False
    proxy: bool = False
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class AttributionTarget:
    """What is explained where the input is an image.

    Attributes:
        target: (inputs, rows) to the scalar that is explained, (n,), differentiable; `rows` holds the sample index of
            each row of a perturbed batch.
        score: (inputs, rows) to the score in [0, 1] of the deletion and insertion curves, (n,).
        region: the part of each image that is explained, bool (n, h, w); None for the whole image.
    """

    target: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]
    region: Tensor | None = None


@dataclass(frozen=True)
class Calibrated:
    """The calibration of one way to predict.

    Attributes:
        measures: the rows.
        columns: per-sample columns, by name.
        reliability: the reliability diagram: edges, count, confidence and accuracy by bin.
    """

    measures: list[Measure]
    columns: Mapping[str, Any] = field(default_factory=dict)
    reliability: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rescaling:
    """A recalibration of a model's confidence, fitted on validation samples.

    Attributes:
        apply: outputs (n, ...) to recalibrated outputs.
        measure: its parameter, as a row.
    """

    apply: Callable[[Array], Array]
    measure: Measure


class Kind(Protocol):
    """One kind of task.

    A *tally* is what a sample contributes to the headline metric: whether it is correct, a confusion matrix, its boxes.
    *Damage* measures how wrong the output for a sample is, from 0 to 1; with one label per sample it is 0 or 1.

    Attributes:
        name: as in ``@task(kind=...)``.
        open_classes: whether classes are those of the training split, and anything else maps to an unknown class.
        fixed_length: whether all inputs have one meaningful length; texts are then not padded for insertions.
        inherits_metrics_from: names of kinds whose metrics apply to this one too.
        adapter: the wrapper of its models.
        headline: name of the headline metric; under attack it is prefixed with ``robust_``.
        unit: of the headline metric.
        higher_is_better: the direction of the headline metric.
        quality: the display name of 1 - damage.
        single_label: whether a sample has one label and the output is one logit per class; some attacks and checks
            require it.
        ranking_loss: name of the loss by which an attack ranks candidate points.
        default_uncertainty: name of the default uncertainty method.
        calibration_metric: name of the calibration error.
        no_ensemble_reason: why the outputs of several models cannot be averaged; None if they can.
        presets: axis name to the axis specs of a default run.
    """

    name: str
    open_classes: bool
    fixed_length: bool
    inherits_metrics_from: tuple[str, ...]
    adapter: type[TorchModel]
    headline: str
    unit: str
    higher_is_better: bool
    quality: str
    single_label: bool
    ranking_loss: str
    default_uncertainty: str
    calibration_metric: str
    no_ensemble_reason: str | None
    presets: Mapping[str, Sequence[str]]

    def chance_level(self, classes: int) -> float:
        """Return the highest quality that a guess is expected to reach."""

    # samples

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return a sample in canonical form; raise DataError saying why it is invalid."""

    def class_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Return the class names that occur in validated targets, for tasks that declare none."""

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return validated targets as one array, (n, ...)."""

    def words(self, inputs: Array) -> tuple[str, ...]:
        """Return the vocabulary of training texts, most frequent first; empty for other inputs."""

    # models

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError saying what is wrong if an output does not fit the task's classes."""

    def fit_to_model(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind for one model, with everything that is chosen on validation data.

        Args:
            validation: returns validation outputs and targets; called only by kinds that need them.
            data: the task's samples, for what has to be learned from them.
        """

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the training loss per sample (n,), and the output if it is cheap to return."""

    # attacks

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return the kind whose damage is the objective of an attack with this loss."""

    def objective(self, model: TorchModel) -> Objective | None:
        """Return the attack objective, if it is more than `attack_loss` of the model's output."""

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return the loss that an attack maximizes, (n,); towards `target_classes` (n,) if they are given."""

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Return the wrong classes that an attack reaches most easily, nearest first, (n, count or fewer)."""

    def misclassified(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return for which samples the output is entirely wrong, bool (n,)."""

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the output for each sample is, (n,) in [0, 1]."""

    def editable(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Return which characters of texts (n, length) an attack may change, bool (n, length)."""

    def mask_covered_targets(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Remove targets hidden by covered pixels, bool (n, h, w): hiding an object does not count as an attack."""

    def normalized_output(self, output: Tensor, pixels: Tensor) -> Tensor:
        """Return an output with all its numbers on one scale, so that two outputs can be compared."""

    # scores

    def tally(self, output: Array, targets: Array) -> Array:
        """Return what each sample contributes to the headline metric, (n, ...)."""

    def statistic(self, tally: Array) -> Statistic:
        """Return the headline metric as a function of resampling counts of tallies (n, ...)."""

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the headline metric with its interval under the name `metric`."""

    def secondary_metrics(self, tally: Array, *, seed: int, params: Mapping[str, Any]) -> list[Measure]:
        """Return what is reported with the headline metric of an attack."""

    def latent_shift(self, before: Array, after: Array) -> Mapping[str, Array]:
        """Return how far an attack moved the latent code, (n,) by name, from outputs before and after."""

    # columns, details and galleries

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the per-sample columns to store, besides ``id``."""

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return what the report shows besides the measures, as JSON values."""

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the predictions in displayable form: arrays (n, ...) by name."""

    def gallery(self, outcomes: Outcomes) -> dict[str, Array]:
        """Return what the report shows of a generative model: samples, reconstructions, texts."""

    # uncertainty

    def probabilities(self, output: Array) -> Array:
        """Return the predicted distributions, (n, ...), in float64."""

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return the calibration of distributions (n, ...).

        Args:
            predicted: from `probabilities`, or a mean of several.
            output: the output they were computed from, if there is one.
            targets: ground truth.
            options: ``seed``, ``params`` and ``bins``.
        """

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Return the recalibration fitted on validation outputs; raise NotApplicableError saying why there is none."""

    def uncertainty(self, outcomes: Outcomes) -> list[Measure]:
        """Return further measures of uncertainty that are computed once per model."""

    # attribution

    def explainable(self, output: Array) -> Array:
        """Return which samples have a prediction to explain, bool (n,)."""

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Return what is explained for samples with these pixels and clean outputs."""

    def rationale(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Return the same where the input is a list of features; raise NotApplicableError where it is not."""
