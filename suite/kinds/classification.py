"""Classification: one label per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from suite import stats
from suite.errors import DataError, ModelError
from suite.kinds import classification_losses
from suite.kinds.base import Answer, Array, Outcomes, Scalars
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


class Classification:
    """One label per image; the output is a logit per class."""

    name = "classification"
    presets = PRESETS

    def admit(self, sample: Sample, classes: Sequence[str] | None) -> tuple[Array, str | int]:
        """Return (channels, height, width) in uint8 or float32, and the class name or index."""
        return image(sample.input), label(sample.target, classes)

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class."""
        if output.shape[1] != len(classes):
            raise ModelError(
                f"The model returns {output.shape[1]} logits per image, but the task has {len(classes)} classes "
                f"({', '.join(classes[:12])}). Build it for this task."
            )

    def training_loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy per sample."""
        return nn.functional.cross_entropy(output, targets, reduction="none")

    def attack_loss(self, output: Tensor, targets: Tensor, *, name: str, goals: Tensor | None = None) -> Tensor:
        """Return one of `classification_losses.LOSSES` per sample in float64."""
        return classification_losses.attack_loss(output, targets, name, goals)

    def rivals(self, output: Tensor, targets: Tensor, count: int) -> Tensor:
        """Return the wrong classes nearest to the right one in logits, (n, count or fewer)."""
        return classification_losses.rivals(output, targets, count)

    def fooled(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return where the largest logit is another class; of equal logits the first counts."""
        return output.argmax(dim=1) != targets

    def overall(self, metric: str, right: Array, **fields: Any) -> Measure:
        """Return the share of right answers with its Wilson interval."""
        return stats.rate(metric, right, **fields)

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

    def answer(self, probabilities: Array) -> Answer:
        """Return the most probable class and its probability."""
        return Answer(probabilities.argmax(axis=1), probabilities.max(axis=1).clip(0, 1))

    def explained(self, model: Any, outputs: Tensor) -> Scalars:
        """Explain the logit of the class that was predicted on the clean image; follow its probability."""
        predicted = outputs.argmax(dim=1)

        def target(inputs: Tensor, rows: Tensor) -> Tensor:
            return model(inputs).gather(1, predicted[rows][:, None])[:, 0]  # type: ignore[no-any-return]  # Any model

        def score(inputs: Tensor, rows: Tensor) -> Tensor:
            return model(inputs).double().softmax(dim=1).gather(1, predicted[rows][:, None])[:, 0]  # type: ignore[no-any-return]

        return Scalars(target, score)


TOP5_CLASSES = 10
"""With fewer classes the right one is among the first five too easily to mean anything."""


def in_top(logits: Array, targets: Array, count: int) -> Array:
    """Return whether the right class is among the first `count`, bool (n,); of equal logits the first class leads."""
    own = logits[np.arange(len(targets)), targets][:, None]
    earlier = np.arange(logits.shape[1])[None] < targets[:, None]
    return np.asarray(((logits > own) | ((logits == own) & earlier)).sum(axis=1) < count)


def image(value: Any) -> Array:
    """Return an image as (channels, height, width) in uint8 or float32.

    Raises:
        DataError: not an image, or pixels outside the range of their type.
    """
    pixels = np.asarray(value)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise DataError(f"an image of shape {pixels.shape}; expected (height, width) or (channels, height, width)")
    if pixels.shape[0] not in (1, 3, 4) and pixels.shape[-1] in (1, 3, 4):
        raise DataError(f"an image of shape {pixels.shape} has its channels last; expected (channels, height, width)")
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(f"pixels of type {pixels.dtype}; expected uint8 in 0..255 or floating point in 0..1")
    if not np.isfinite(pixels).all():
        raise DataError(f"{int((~np.isfinite(pixels)).sum())} pixels are NaN or infinite")
    if pixels.min() < 0 or pixels.max() > 1:
        raise DataError(f"pixels from {pixels.min():g} to {pixels.max():g}; expected 0..1 (divide 8-bit values by 255)")
    return pixels.astype(np.float32)


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
