"""The questions that a kind answers. An axis asks nothing else."""

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
"""(pixels, targets, loss name, share of the steps done) to the loss that an attack raises, (n,), and the output."""


class ValidatedSample(NamedTuple):
    """A sample that can be used: its input, its target, and what had to be dropped from the target, in sentences."""

    value: Array
    target: Any
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcomes:
    """What a model said about every sample of a split.

    Attributes:
        ids: sample ids, (n,).
        output: the model's raw output in float32, (n, ...); logits for classification.
        targets: what is true, (n, ...).
        classes: class names.
        seed: seed for resampling.
        kind: the kind, with what it settled on for this model.
        model: the model itself, for measures of what it does beyond answering: generating, reconstructing.
        data: the task's samples, for measures that compare with training samples.
        inputs: what the model was shown, (n, ...) on its device.
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
    """What attribution asks for where the input is a list of features: the words of a text, the numbers of a latent.

    Attributes:
        present: which features each sample has, bool (n, features); what is absent, as padding, is never deleted.
        point: the features as a differentiable tensor: embeddings (n, features, d), or latents (n, features, 1); None
            where the model has none, so that only methods without gradients apply.
        blank: what stands for a deleted feature, of the shape of `point`; None with it.
        target: (points, rows) to the scalar that gradients are taken of, (m,); `rows` says which sample a row is of;
            None with `point`.
        score: (kept, rows) to the score in [0, 1] when only the kept features are left, bool (m, features) to (m,); in
            the space of inputs, not of points, where the two differ.
        names: names of the features of each sample, for readers; positions where there are none.
        deletion: how a feature is deleted, in words.
        ends_matter: whether the last features are known to matter most, as in a language model's context, so that a
            method has to beat the order that deletes them first.
        proxy: whether this stands in for a question to which there is no standard.
        arrays: what a page of the report shows of each sample, (n, ...) by name: ``codes`` and ``spans`` of texts,
            ``images`` of latents.
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
    """What attribution asks for.

    Attributes:
        target: (inputs, rows) to the scalar that is explained, (n,), differentiable; `rows` says which sample a row of
            a perturbed batch belongs to.
        score: (inputs, rows) to the score in [0, 1] that deletion and insertion follow, (n,).
        region: the part of each image that is explained, bool (n, h, w); None where it is the whole image.
    """

    target: Callable[[Tensor, Tensor], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]
    region: Tensor | None = None


@dataclass(frozen=True)
class Calibrated:
    """How well one way to predict is calibrated.

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
    """A correction of how sure a model is, fitted on validation samples.

    Attributes:
        apply: outputs (n, ...) to corrected outputs.
        measure: its parameter, as a row.
    """

    apply: Callable[[Array], Array]
    measure: Measure


class Kind(Protocol):
    """One kind of task.

    A *tally* is what a sample contributes to the headline measure: whether it is right, a confusion matrix, its boxes.
    *Damage* is how badly a sample is answered, from 0 to 1; for one label per sample it is 0 or 1.

    Attributes:
        name: as in ``@task(kind=...)``.
        open_classes: whether what is in no class is read as unknown, so that classes are those of the training split.
        fixed_length: whether all inputs have one length, which means something; texts get no room for edits then.
        inherits_metrics_from: names of kinds whose metrics are asked of this one too.
        adapter: what models are wrapped in.
        headline: name of the headline measure; under attack it is ``robust_`` and that name.
        unit: of the headline measure.
        higher_is_better: whether more of the headline measure is better.
        quality: what 1 - damage is called for a reader.
        single_label: whether a sample has one label and the output is one logit per class; some attacks and checks
            need that.
        selection_loss: name of the loss by which an attack compares points.
        default_uncertainty: name of the plain way to be uncertain.
        calibration_metric: name of the calibration error.
        no_ensemble_reason: why the answers of several models cannot be averaged; None if they can.
        presets: axis name to the axis specs of a plain run.
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
    selection_loss: str
    default_uncertainty: str
    calibration_metric: str
    no_ensemble_reason: str | None
    presets: Mapping[str, Sequence[str]]

    def guessing(self, classes: int) -> float:
        """Return the share of samples that are right by guessing at most."""

    # samples

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return a sample in canonical form; raise DataError saying why it cannot be used."""

    def class_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Return the names of the classes that admitted targets speak of, where a task declares none."""

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return admitted targets as one array, (n, ...)."""

    def words(self, inputs: Array) -> tuple[str, ...]:
        """Return the vocabulary of training texts, the most frequent word first; nothing for other inputs."""

    # models

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError saying what is wrong where an output does not fit the task's classes."""

    def fitted_on_validation(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind for one model, with what it has to choose on validation outputs and targets.

        Args:
            validation: returns them; a function, because most kinds never ask.
            data: the task's samples, for what has to be learnt from them.
        """

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the loss that training lowers, per sample (n,), and the output where that costs little."""

    # attacks

    def for_attack_loss(self, loss: str | None) -> Self:
        """Return the kind as an attack with this loss sees it: what it is after is the damage."""

    def objective(self, model: TorchModel) -> Objective | None:
        """Return what attacks raise, where it is more than `attack_loss` of the model's output."""

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return the loss per sample (n,) that an attack maximizes, towards `target_classes` (n,) if given."""

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Return the target classes that an attack reaches most easily, the nearest first, (n, count or fewer)."""

    def misclassified(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return about which samples the output could not be more wrong, bool (n,)."""

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the output is about each sample, (n,) in [0, 1]."""

    def editable(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Return which characters of texts (n, length) an attack may change, bool (n, length)."""

    def hidden(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return targets without what lies under covered pixels, bool (n, h, w): hiding it is no attack."""

    def normalized_output(self, output: Tensor, pixels: Tensor) -> Tensor:
        """Return an output whose numbers are of one scale, so that two of them can be compared."""

    # scores

    def tally(self, output: Array, targets: Array) -> Array:
        """Return what each sample contributes to the headline measure, (n, ...)."""

    def statistic(self, tally: Array) -> Statistic:
        """Return the headline measure of resamples of tallies (n, ...)."""

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the headline measure with its interval under the name `metric`."""

    def secondary_metrics(self, tally: Array, *, seed: int, params: Mapping[str, Any]) -> list[Measure]:
        """Return what has to be said beside the headline measure of an attack."""

    def latent_shift(self, before: Array, after: Array) -> Mapping[str, Array]:
        """Return how far an attack moved what lies behind the answers, (n,) by name, from outputs before and after."""

    # readers

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the per-sample columns to store, beside ``id``."""

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return what a page of the report shows beyond the measures, as JSON values."""

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return what the model says, as a reader is shown it: arrays (n, ...) by name."""

    def gallery(self, outcomes: Outcomes) -> dict[str, Array]:
        """Return what a page of the report shows of a model that makes something: samples, reconstructions, texts."""

    # uncertainty

    def probabilities(self, output: Array) -> Array:
        """Return what the model predicts as distributions, (n, ...), in float64."""

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return how well distributions (n, ...) are calibrated.

        Args:
            predicted: from `probabilities`, or a mean of several.
            output: the output they were made from, where there is one.
            targets: what is true.
            options: ``seed``, ``params`` and ``bins``.
        """

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Return the correction that fits validation outputs; raise NotApplicableError saying why there is none."""

    def uncertainty(self, outcomes: Outcomes) -> list[Measure]:
        """Return what else says whether the model knows what it knows, asked once."""

    # attribution

    def explainable(self, output: Array) -> Array:
        """Return in which samples there is something to explain, bool (n,)."""

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Return what attribution explains for samples whose pixels and clean outputs are given."""

    def rationale(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Return the same where the input is a list of features; raise NotApplicableError where it is not."""
