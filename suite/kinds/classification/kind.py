"""Classification: one label per image."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from suite.errors import DataError
from suite.kinds.base import Array, AttributionTarget, Calibrated, Outcomes, Rescaling, ValidatedSample
from suite.kinds.classification import losses as classification_losses
from suite.kinds.classification.calibration import calibrated, rescaling
from suite.kinds.defaults import KindDefaults, Labelled, one_logit_per_class
from suite.kinds.images import image
from suite.metrics import stats
from suite.metrics.stats import Statistic
from suite.models.base import TorchClassifier, TorchModel
from suite.registry import register
from suite.types import Measure, Sample

PRESETS: Mapping[str, Sequence[str]] = MappingProxyType(
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
"""What a plain run measures on natural images; a task may say otherwise."""


class Classification(Labelled, KindDefaults):
    """One label per image; the output is a logit per class."""

    name = "classification"
    adapter: type[TorchModel] = TorchClassifier
    headline = "accuracy"
    quality = "right answers"
    single_label = True
    selection_loss = "margin"
    default_uncertainty = "softmax"
    presets = PRESETS

    def guessing(self, classes: int) -> float:
        """Return the share of labels that are right by chance."""
        return 1 / classes

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return (channels, height, width) in uint8 or float32, and the class name or index."""
        return ValidatedSample(image(sample.input), label(sample.target, classes))

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class."""
        one_logit_per_class(output, classes, "image")

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy per sample, and the logits."""
        output = model(pixels)
        return nn.functional.cross_entropy(output, targets, reduction="none"), output

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return one of `classification_losses.LOSSES` per sample in float64."""
        return classification_losses.attack_loss(output, targets, name, target_classes)

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Return the wrong classes nearest to the right one in logits, (n, count or fewer)."""
        return classification_losses.rivals(output, targets, count)

    def misclassified(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return where the largest logit is another class; of equal logits the first counts."""
        return output.argmax(dim=1) != targets

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return 1 where the answer is wrong, else 0."""
        return self.misclassified(output, targets).double()

    def hidden(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return the labels as they are: what an image shows does not change with what covers it."""
        return targets

    def tally(self, output: Array, targets: Array) -> Array:
        """Return which answers are right, bool (n,)."""
        return np.asarray(output.argmax(axis=1) == targets)

    def statistic(self, tally: Array) -> Statistic:
        """Return the share of right answers."""
        return lambda counts: np.asarray(tally.mean()[None] if counts is None else counts @ tally / len(tally))

    def headline_measure(self, metric: str, tally: Array, *, seed: int, **fields: Any) -> Measure:
        """Return the share of right answers with its Wilson interval; of shares of random answers, their mean."""
        if np.isin(tally, (0, 1)).all() and "draws" not in fields.get("params", {}):
            return stats.rate(metric, tally > 0, **fields)
        return stats.mean_measure(metric, tally, seed=seed, **fields)

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return label, prediction, correct, confidence and, from ten classes on, top5."""
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
        """Return the softmax in float64."""
        logits = output.astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the most probable class and its probability."""
        probabilities = self.probabilities(output)
        return {"prediction": probabilities.argmax(axis=1), "confidence": probabilities.max(axis=1).clip(0, 1)}

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return how well distributions (n, classes) are calibrated."""
        return calibrated(predicted, output, targets, **options)

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Return the temperature that fits validation logits."""
        return rescaling(output, targets)

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Explain the logit of the class that was predicted on the clean image; follow its probability."""
        predicted = outputs.argmax(dim=1)

        def target(inputs: Tensor, rows: Tensor) -> Tensor:
            return model(inputs).gather(1, predicted[rows][:, None])[:, 0]  # type: ignore[no-any-return]  # Any model

        def score(inputs: Tensor, rows: Tensor) -> Tensor:
            return model(inputs).double().softmax(dim=1).gather(1, predicted[rows][:, None])[:, 0]  # type: ignore[no-any-return]

        return AttributionTarget(target, score)


TOP5_CLASSES = 10
"""With fewer classes the right one is among the first five too easily to mean anything."""


def in_top(logits: Array, targets: Array, count: int) -> Array:
    """Return whether the right class is among the first `count`, bool (n,); of equal logits the first class leads."""
    own = logits[np.arange(len(targets)), targets][:, None]
    earlier = np.arange(logits.shape[1])[None] < targets[:, None]
    return np.asarray(((logits > own) | ((logits == own) & earlier)).sum(axis=1) < count)


def label(value: Any, classes: Sequence[str] | None) -> str | int:
    """Return a target as a class name, or as an index where the class names are declared.

    Raises:
        DataError: the class is unknown.
    """
    if isinstance(value, str):
        if classes is not None and value not in classes:
            raise DataError(f"the class {value!r} is not one of {', '.join(classes[:12])}")
        return value
    is_index = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_index or classes is None or not 0 <= int(value) < len(classes):
        expected = "a class name" if classes is None else f"a class name or an index from 0 to {len(classes) - 1}"
        raise DataError(f"the target {value!r}; expected {expected}")
    return int(value)


@register("kind")
def classification() -> Classification:
    """One label per image."""
    return Classification()
