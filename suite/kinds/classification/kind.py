"""Classification: one label per image."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from suite.kinds.base import Array, AttributionTarget, Outcomes, ValidatedSample
from suite.kinds.classification import calibration, losses
from suite.kinds.defaults import KindDefaults, Labeled, check_class_logits
from suite.kinds.inputs import image, label
from suite.metrics import stats
from suite.metrics.stats import Statistic
from suite.models.base import TorchClassifier, TorchModel
from suite.registry import register
from suite.types import Measure, Sample


@register("kind", name="classification")
class Classification(Labeled, KindDefaults):
    """One label per image; the output is one logit per class."""

    name = "classification"
    adapter: type[TorchModel] = TorchClassifier
    headline = "accuracy"
    quality = "correct predictions"
    single_label = True
    ranking_loss = "margin"
    default_uncertainty = "softmax"
    presets = MappingProxyType(
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
    attack_loss = staticmethod(losses.attack_loss)
    rivals = staticmethod(losses.rivals)
    calibrated = staticmethod(calibration.calibrated)
    rescaling = staticmethod(calibration.rescaling)

    def chance_level(self, classes: int) -> float:
        """Return the expected accuracy of a uniform guess."""
        return 1 / classes

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return the image, (channels, height, width) in uint8 or float32, and the class name or index."""
        return ValidatedSample(image(sample.input), label(sample.target, classes))

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class."""
        check_class_logits(output, classes, "image")

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy per sample, and the logits."""
        output = model(pixels)
        return nn.functional.cross_entropy(output, targets, reduction="none"), output

    def misclassified(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return where the largest logit is that of a wrong class, bool (n,); ties go to the first class."""
        return output.argmax(dim=1) != targets

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return 1 where the prediction is wrong, else 0."""
        return self.misclassified(output, targets).double()

    def tally(self, output: Array, targets: Array) -> Array:
        """Return which predictions are correct, bool (n,)."""
        return np.asarray(output.argmax(axis=1) == targets)

    def statistic(self, tally: Array) -> Statistic:
        """Return the accuracy as a function of resampling counts."""
        return lambda counts: np.asarray(tally.mean()[None] if counts is None else counts @ tally / len(tally))

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the accuracy with its Wilson interval; for a randomized model, the mean of per-sample accuracies."""
        if np.isin(tally, (0, 1)).all() and "draws" not in fields.get("params", {}):
            return stats.rate(metric, tally > 0, **fields)
        return stats.mean_measure(metric, tally, seed=seed, **fields)

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return label, prediction, correct, confidence and, for ten classes or more, top5."""
        probabilities = self.probabilities(outcomes.output)
        prediction = outcomes.output.argmax(axis=1)
        columns = {
            "label": outcomes.targets,
            "prediction": prediction,
            "correct": prediction == outcomes.targets,
            "confidence": probabilities[np.arange(len(prediction)), prediction],
        }
        if len(outcomes.classes) >= TOP5_CLASSES:
            columns["top5"] = in_top(outcomes.output, outcomes.targets, 5)
        return columns

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the class names and the confusion matrix (rows: truth, columns: prediction)."""
        count = len(outcomes.classes)
        pairs = outcomes.targets * count + outcomes.output.argmax(axis=1)
        confusion = np.bincount(pairs, minlength=count * count).reshape(count, count)
        return {"classes": list(outcomes.classes), "confusion": confusion.tolist()}

    def probabilities(self, output: Array) -> Array:
        """Return the softmax, (n, classes), in float64."""
        logits = output.astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the most probable class and its probability."""
        probabilities = self.probabilities(output)
        return {"prediction": probabilities.argmax(axis=1), "confidence": probabilities.max(axis=1).clip(0, 1)}

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


def in_top(logits: Array, targets: Array, count: int) -> Array:
    """Return whether the true class is among the top `count`, bool (n,); ties go to the first class."""
    own = logits[np.arange(len(targets)), targets][:, None]
    earlier = np.arange(logits.shape[1])[None] < targets[:, None]
    return np.asarray(((logits > own) | ((logits == own) & earlier)).sum(axis=1) < count)
