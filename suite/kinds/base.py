"""A kind of task: a value made of facets. Axes read facets; what a kind lacks becomes a skipped row with the reason.

Each facet is a small protocol. A kind either has it or says why it does not apply. One object may implement several
facets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar

import numpy.typing as npt
from torch import Tensor

from suite.data import TaskData
from suite.errors import MeasureError, NotApplicableError
from suite.metrics.catalogue import Metric
from suite.metrics.stats import Statistic
from suite.metrics.table import Measured, Table
from suite.models.base import TorchModel
from suite.types import Display, DisplayType, Input, Measure, Sample

Array = npt.NDArray[Any]
Facet = TypeVar("Facet")
Target = TypeVar("Target", covariant=True)

Objective = Callable[[Tensor, Tensor, str, float], tuple[Tensor, Tensor]]
"""(inputs, targets, loss name, fraction of steps done) to the loss that an attack maximizes, (n,), and the output."""


class ValidatedSample(NamedTuple):
    """A valid sample: its input, its target, and a sentence about each part of the target that was dropped.

    Labels, names or indices, are those of the objects or pixels of the target; None if it is one label, or none.
    """

    value: Array
    target: Any
    remarks: tuple[str, ...] = ()
    labels: frozenset[str | int] | None = None


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
        read: returns the model's inputs, which most metrics do not need.
    """

    ids: tuple[str, ...]
    output: Array
    targets: Array
    classes: tuple[str, ...]
    seed: int
    kind: Any = None
    model: Any = None
    data: Any = None
    read: Callable[[], Tensor] | None = None

    @cached_property
    def inputs(self) -> Tensor:
        """The model's inputs, (n, ...) on its device.

        Raises:
            MeasureError: there are none.
        """
        if self.read is None:
            raise MeasureError("These outcomes have no inputs; pass read=lambda: inputs.")
        return self.read()


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
        arrays: what the report shows of each sample, by name: ``codes`` and ``spans`` of texts, ``images`` of latents.
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
    arrays: Mapping[str, Display] = field(default_factory=dict)


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
class Prediction:
    """What one uncertainty method predicts for the test samples.

    Attributes:
        method: name of the uncertainty method.
        predicted: the predictive distributions, (n, ...), in the form of `Probabilistic.probabilities`.
        output: the raw output that they were computed from; None where there is none, as for a mean of several.
        targets: ground truth, (n, ...).
        params: what else identifies the rows of the method.
        bins: number of bins of binned errors.
        kind: the kind, as fitted on validation data for this model.
    """

    method: str
    predicted: Array
    output: Array | None
    targets: Array
    params: Mapping[str, Any] = field(default_factory=dict)
    bins: int = 15
    kind: Any = None


@dataclass(frozen=True)
class Rescaling:
    """A recalibration of a model's confidence, fitted on validation samples.

    Attributes:
        apply: outputs (n, ...) to recalibrated outputs.
        value: its parameter, a temperature.
        n: number of validation samples.
        ends: function from the groups of the validation samples, (n,) or None, to what `temperature_interval` needs;
            None if it has no interval.
    """

    apply: Callable[[Array], Array]
    value: float
    n: int
    ends: Callable[[Array | None], Mapping[str, Sequence[float]]] | None = None


class Outcome(NamedTuple):
    """What happens to a sample.

    Attributes:
        type: ``binary`` if a prediction is right or wrong, ``graded`` if it is better or worse.
        quality: the display name of 1 - damage.
    """

    type: Literal["binary", "graded"]
    quality: str


class Samples(Protocol):
    """How a record of a data set becomes input and target."""

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return a sample in canonical form; raise DataError saying why it is invalid."""

    def class_names(self, targets: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
        """Return the class names that occur in validated targets, by split, for tasks that declare none."""

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return validated targets as one array, (n, ...)."""


class Models(Protocol):
    """What a model of the kind is.

    Attributes:
        adapter: the wrapper of its models.
    """

    adapter: type[TorchModel]

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError saying what is wrong if an output does not fit the task's classes."""


class Trainable(Protocol):
    """How a model is trained."""

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the training loss per sample (n,), and the output if it is cheap to return."""


class Fitted(Protocol):
    """What is chosen once for a model on validation data: a threshold, a reference, a judge."""

    def fitted_kind(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> "Kind":
        """Return the kind with all facets fitted to a model.

        Args:
            validation: returns validation outputs and targets; called only by kinds that need them.
            data: the task's samples, for what has to be learned from them.
        """


class Scoring(Protocol):
    """How predictions are scored.

    A *tally* is what a sample contributes to the headline metric: whether it is correct, a confusion matrix, its boxes.

    Attributes:
        headline: the headline metric.
        outcome: what happens to a sample.
    """

    headline: Metric
    outcome: Outcome

    def tally(self, output: Array, targets: Array) -> Array:
        """Return what each sample contributes to the headline metric, (n, ...)."""

    def statistic(self, tally: Array) -> Statistic:
        """Return the headline metric as a function of resampling counts of tallies (n, ...)."""

    def headline_measure(self, table: Table, metric: Metric, tally: Array, **fields: Any) -> Measure:
        """Return the headline metric of tallies with its interval, as a measure of `metric`."""

    def measured(self, outcomes: Outcomes) -> Measured:
        """Return the per-sample columns to store, and the facts that summaries and the report need."""

    def mask_covered_targets(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Remove targets hidden by covered pixels, bool (n, h, w): hiding an object does not count as an attack."""


class Attackable(Protocol):
    """What an attack can do to a model.

    *Damage* measures how wrong the output for a sample is, from 0 to 1; with one label per sample it is 0 or 1.

    Attributes:
        ranking_loss: name of the loss by which an attack ranks candidate points.
    """

    ranking_loss: str

    def objective(self, model: TorchModel) -> Objective | None:
        """Return the attack objective, if it is more than `attack_loss` of the model's output."""

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return the loss that an attack maximizes, (n,); towards `target_classes` (n,) if they are given."""

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return the facet whose damage is the objective of an attack with this loss."""

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Return the wrong classes that an attack reaches most easily, nearest first, (n, count or fewer)."""

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the output for each sample is, (n,) in [0, 1]."""

    def editable(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Return which characters of texts (n, length) an attack may change, bool (n, length)."""


class Probabilistic(Protocol):
    """Predictive distributions, and their recalibration.

    Attributes:
        method: name of the uncertainty method that uses the model's own output.
        no_ensemble_reason: why the outputs of several models cannot be averaged; None if they can.
    """

    method: str
    no_ensemble_reason: str | None

    def probabilities(self, output: Array) -> Array:
        """Return the predicted distributions, (n, ...), in float64."""

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Return the recalibration fitted on validation outputs; raise NotApplicableError saying why there is none."""


class Explainable(Protocol[Target]):
    """What attribution methods explain: the pixels of images, or a list of features such as words."""

    def explainable(self, output: Array) -> Array:
        """Return which samples have a prediction to explain, bool (n,)."""

    def explained(self, model: Any, inputs: Tensor, outputs: Tensor) -> Target:
        """Return what is explained for samples with these inputs and clean outputs."""


class Showable(Protocol):
    """What the report shows.

    Attributes:
        truth: what the targets are, such as ``class``, ``boxes`` or ``mask``.
    """

    truth: DisplayType

    def output_arrays(self, output: Array) -> Mapping[str, Display]:
        """Return the predictions in displayable form, by name."""

    def gallery(self, outcomes: Outcomes) -> Mapping[str, Display]:
        """Return what the report shows of a generative model: samples, reconstructions, texts."""


@dataclass(frozen=True)
class NotApplicable:
    """Stands for a facet that a kind does not have.

    Attributes:
        reason: why it does not apply.
    """

    reason: str


@dataclass(frozen=True)
class Undetermined(NotApplicable):
    """Stands for a recalibration that the validation samples do not determine."""


@dataclass(frozen=True)
class Logits:
    """Says that the outputs of a kind's models are logits, so that outputs of another scale can be noticed.

    Attributes:
        of: takes outputs (n, ...) and returns the logits of each prediction, (m, classes).
        in_headline: whether the headline metric depends on their scale, as a likelihood does.
        in_explanations: whether explanations depend on it, as those of a class's probability do.
        unaffected: names of metrics that do not depend on it, since they ask for the largest logit alone.
    """

    of: Callable[[Array], Array]
    in_headline: bool = False
    in_explanations: bool = True
    unaffected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    Attributes:
        name: as in ``@task(kind=...)``.
        input: what its samples are.
        samples, models, scoring, attacks, probabilities, maps, features, showing, training, fitting: its facets; `maps`
            explains pixels, `features` lists of features.
        presets: axis name to the axis specs of a default run.
        inherits: names of further kinds whose metrics apply to this one too.
        logits: how the outputs are logits; None if they are not.
    """

    name: str
    input: Input
    samples: Samples
    models: Models
    scoring: Scoring
    showing: Showable
    fitting: Fitted
    training: Trainable | NotApplicable
    attacks: Attackable | NotApplicable
    probabilities: Probabilistic | NotApplicable
    maps: Explainable[AttributionTarget] | NotApplicable
    features: Explainable[Rationale] | NotApplicable
    presets: Mapping[str, Sequence[str]]
    inherits: tuple[str, ...] = ()
    logits: Logits | None = None

    def fit_to_model(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> "Kind":
        """Return the kind fitted to a model on validation data; see `Fitted.fitted_kind`."""
        return self.fitting.fitted_kind(validation, data)

    def for_attack_loss(self, loss: str | None) -> "Kind":
        """Return the kind whose damage is the objective of an attack with this loss."""
        return replace(self, attacks=required(self.attacks).for_attack_loss(loss))


def optional(facet: Facet | NotApplicable) -> Facet | None:
    """Return a facet, or None if the kind does not have it."""
    return None if isinstance(facet, NotApplicable) else facet


def required(facet: Facet | NotApplicable) -> Facet:
    """Return a facet.

    Raises:
        NotApplicableError: the kind does not have it; the message says why.
    """
    if isinstance(facet, NotApplicable):
        raise NotApplicableError(facet.reason)
    return facet
