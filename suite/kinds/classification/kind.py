"""Classification: one label per image."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from suite.decorators import kind
from suite.kinds.base import (
    Array,
    AttributionTarget,
    Kind,
    Logits,
    NotApplicable,
    Outcome,
    Outcomes,
    ValidatedSample,
)
from suite.kinds.classification import calibration, losses
from suite.kinds.defaults import KindDefaults, Labeled, check_class_logits, check_two_classes
from suite.kinds.inputs import image, label
from suite.metrics.blocks import row_blocks
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats import Statistic
from suite.metrics.table import Measured, Table
from suite.models.base import TorchClassifier, TorchModel
from suite.types import IMAGE, Display, DisplayType, Measure, Sample

ACCURACY = Metric(
    "accuracy",
    "accuracy",
    "share of test samples that are classified correctly",
    columns=(BoardColumn("accuracy"),),
    is_headline=True,
    outcome="correct",
)

PRESETS = MappingProxyType(
    {
        "clean": ("clean",),
        "robustness": (
            "robustness(attack=fgsm(eps=[1/255, 2/255, 4/255, 8/255, 16/255]))",
            "robustness(attack=pgd(eps=[1/255, 2/255, 4/255, 8/255, 16/255]))",
            "robustness(attack=cascade(eps=[2/255, 4/255, 8/255]))",
            "robustness(attack=cascade(eps=[0.25, 0.5, 1.0], norm=l2))",
            "robustness(attack=patch())",
            "corruption",
            "occlusion",
        ),
        "calibration": ("calibration",),
        "attribution": ("attribution",),
    }
)


class Classification(Labeled, KindDefaults):
    """One label per image; the output is one logit per class."""

    adapter: type[TorchModel] = TorchClassifier
    headline = ACCURACY
    outcome = Outcome("binary", "correct predictions")
    ranking_loss = "margin"
    method = "softmax"
    truth: DisplayType = "class"
    attack_loss = staticmethod(losses.attack_loss)
    rivals = staticmethod(losses.rivals)
    rescaling = staticmethod(calibration.rescaling)

    def kind(self) -> Kind:
        """Return the kind: images with one label each, explained by maps of pixels."""
        return Kind(
            "classification",
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
            logits=Logits(np.asarray, unaffected=(ACCURACY.name,)),
        )

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return the image, (channels, height, width) in uint8 or float32, and the class name or index."""
        return ValidatedSample(image(sample.input), label(sample.target, classes))

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return class indices, int64 (n,).

        Raises:
            DataError: fewer than two classes.
        """
        check_two_classes(classes)
        return super().stack(targets, classes)

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class."""
        check_class_logits(output, classes, "image")

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy per sample, and the logits."""
        output = model(pixels)
        return nn.functional.cross_entropy(output, targets, reduction="none"), output

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return 1 where the largest logit is that of a wrong class, else 0; ties go to the first class."""
        return (output.argmax(dim=1) != targets).double()

    def tally(self, output: Array, targets: Array) -> Array:
        """Return which predictions are correct, bool (n,)."""
        return np.asarray(output.argmax(axis=1) == targets)

    def statistic(self, tally: Array) -> Statistic:
        """Return the accuracy as a function of resampling counts."""
        return lambda counts: np.asarray(tally.mean()[None] if counts is None else counts @ tally / len(tally))

    def headline_measure(self, table: Table, metric: Metric, tally: Array, **fields: Any) -> Measure:
        """Return the accuracy with its interval; for a randomized model, the mean of per-sample accuracies."""
        if np.isin(tally, (0, 1)).all() and "draws" not in fields.get("params", {}):
            return table.rate(metric, tally > 0, **fields)
        return table.mean(metric, tally, **fields)

    def measured(self, outcomes: Outcomes) -> Measured:
        """Return label, prediction, correct, confidence and, for ten classes or more, top5; and the class names."""
        prediction = outcomes.output.argmax(axis=1)
        columns = {
            "label": outcomes.targets,
            "prediction": prediction,
            "correct": prediction == outcomes.targets,
            "confidence": self._confidence(outcomes.output, prediction),
        }
        if len(outcomes.classes) >= TOP5_CLASSES:
            columns["top5"] = in_top(outcomes.output, outcomes.targets, 5)
        return Measured(columns, {"classes": list(outcomes.classes)})

    def _confidence(self, output: Array, prediction: Array) -> Array:
        """Return the probability of the predicted class, (n,); all probabilities of 1,000 classes would fill memory."""
        confidence = np.empty(len(output))
        for rows in row_blocks(output.shape):
            chosen = prediction[rows]
            confidence[rows] = softmax(output[rows])[np.arange(len(chosen)), chosen]
        return confidence

    def probabilities(self, output: Array) -> Array:
        """Return the softmax, (n, classes), in float64."""
        result = np.empty(output.shape)
        for rows in row_blocks(output.shape):
            result[rows] = softmax(output[rows])
        return result

    def output_arrays(self, output: Array) -> dict[str, Display]:
        """Return the most probable class and its probability."""
        probabilities = self.probabilities(output)
        return {
            "prediction": Display(probabilities.argmax(axis=1), "class"),
            "confidence": Display(probabilities.max(axis=1).clip(0, 1), "probability"),
        }

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Explain the logit of the class that is predicted on the clean image; score by its probability."""
        predicted = outputs.argmax(dim=1)

        def target(inputs: Tensor, rows: Tensor) -> Tensor:
            return model(inputs).gather(1, predicted[rows][:, None])[:, 0]  # type: ignore[no-any-return]  # Any model

        def score(inputs: Tensor, rows: Tensor) -> Tensor:
            return model(inputs).double().softmax(dim=1).gather(1, predicted[rows][:, None])[:, 0]  # type: ignore[no-any-return]

        return AttributionTarget(target, score)


TOP5_CLASSES = 10
"""Fewest classes for which top-5 accuracy is reported; with fewer it is high by chance."""


def softmax(output: Array) -> Array:
    """Return the softmax of logits (n, classes) in float64."""
    logits = output.astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def in_top(logits: Array, targets: Array, count: int) -> Array:
    """Return whether the true class is among the top `count`, bool (n,); ties go to the first class."""
    inside = np.empty(len(targets), np.bool_)
    for rows in row_blocks(logits.shape):
        block, labels = logits[rows], targets[rows, None]
        own = np.take_along_axis(block, labels, axis=1)
        earlier = np.arange(block.shape[1])[None] < labels
        inside[rows] = ((block > own) | ((block == own) & earlier)).sum(axis=1) < count
    return inside


@kind()
def classification() -> Kind:
    """One label per image."""
    return Classification().kind()
