"""Language modeling: the next character of a text, scored in bits."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.data.text import codes
from suite.decorators import kind
from suite.errors import DataError, ModelError
from suite.kinds.base import Array, Kind, Logits, NotApplicable, Outcome, Outcomes, ValidatedSample
from suite.kinds.defaults import Graded, KindDefaults, softmax
from suite.kinds.language import calibration, losses
from suite.kinds.language.attribution import ExplainedCharacters
from suite.kinds.language.generated_text import gallery
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats import Statistic, sums_ratio
from suite.metrics.table import Measured
from suite.models.adapters.language import TorchLanguage
from suite.models.adapters.tokens import Alphabet
from suite.models.base import TorchModel
from suite.types import WINDOW, Display, DisplayType, Sample

BITS_PER_CHARACTER = Metric(
    "bits_per_character",
    "bits per character",
    "mean surprisal of the next character of real text under the model: 0 is a certain prediction, 1 a choice between "
    "two equally likely characters",
    unit="bits",
    higher_is_better=False,
    columns=(BoardColumn("bits per character"),),
    is_headline=True,
    tally=("bits", "characters"),
)

NEXT_CHARACTER_ACCURACY = Metric(
    "next_character_accuracy",
    "accuracy of the next character",
    "share of characters that the model predicts correctly",
)

PRESETS = MappingProxyType(
    {
        "clean": ("clean",),
        "robustness": (
            "robustness(attack=hotflip(edits=[1, 2, 4, 8], unit=character))",
            "robustness(attack=typos(edits=[1, 2, 4, 8]))",
            "robustness(attack=trigger(edits=[2, 4]))",
            "robustness(attack=fgsm(eps=[0.05, 0.1, 0.2, 0.5]), space=embedding)",
            "robustness(attack=pgd(eps=[0.05, 0.1, 0.2, 0.5], steps=10, restarts=1), space=embedding)",
        ),
        "calibration": ("calibration(members=1)",),
        "attribution": ("rationale",),
    }
)

UNAFFECTED = (NEXT_CHARACTER_ACCURACY.name,)
"""Metrics that ask for the largest logit alone."""

UNKNOWN = "<unk>"
"""The class of characters outside the alphabet."""


class Window(NamedTuple):
    """A piece of text and the number of its first characters that are context, read but not scored."""

    text: str
    context: int


class Language(Graded, KindDefaults):
    """The next character of a text; the output is one logit per class and character, except for the first character.

    The first characters of a window are context, and the others are scored. The damage to a window is its bits per
    character relative to a uniform guess, at most 1.

    Attributes:
        scored: number of scored characters per window; None until the kind is fitted.
    """

    adapter: type[TorchModel] = TorchLanguage
    headline = BITS_PER_CHARACTER
    outcome = Outcome("graded", "fraction of a uniform guess's bits that are saved")
    method = "softmax"
    truth: DisplayType = "class"
    attack_loss = staticmethod(losses.attack_loss)
    damage = staticmethod(losses.damage)
    gallery = staticmethod(gallery)
    rescaling = staticmethod(calibration.rescaling)

    def __init__(self, scored: int | None = None) -> None:
        self.scored = scored

    def kind(self) -> Kind:
        """Return the kind: windows of text, explained by the characters of their context."""
        unfitted = NotApplicable("the number of scored characters is unknown; call fit_to_model first")
        return Kind(
            "language",
            WINDOW,
            samples=self,
            models=self,
            scoring=self,
            showing=self,
            fitting=self,
            training=self,
            attacks=self,
            probabilities=self,
            maps=NotApplicable("a text is explained by its characters; use the axis rationale"),
            features=unfitted if self.scored is None else ExplainedCharacters(self.scored),
            presets=PRESETS,
            logits=Logits(_logits_by_character, in_headline=True, unaffected=UNAFFECTED),
        )

    # samples

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return code points, int32 (length,), the window, and a remark on characters outside a declared alphabet."""
        points, context = codes(sample.input), sample.target
        if isinstance(context, bool) or not isinstance(context, int | np.integer):
            raise DataError(f"the target {context!r:.40}; expected the number of characters of the context")
        if not 1 <= context < len(points):
            raise DataError(
                f"a context of {context} characters in a text of {len(points)}; expected at least 1, since the first "
                "character has no context, and fewer than the text has"
            )
        unknown = 0 if classes is None else int((_alphabet(classes).ids(points) == 0).sum())
        remarks = (f"{unknown} characters outside the alphabet, read as {UNKNOWN}",) if unknown else ()
        return ValidatedSample(points, Window(sample.input, int(context)), remarks)

    def class_names(self, targets: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
        """Return `UNKNOWN` and the characters of training windows, or of all if there are none, by code point."""
        windows = targets.get("train") or [target for split in targets.values() for target in split]
        return (UNKNOWN, *sorted(set().union(*(target.text for target in windows))))

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return the classes of the scored characters, int64 (n, scored).

        Raises:
            DataError: windows or contexts differ in length.
        """
        shapes = sorted({(len(target.text), target.context) for target in targets})
        if len(shapes) > 1:
            listed = ", ".join(f"{length} with a context of {context}" for length, context in shapes[:4])
            raise DataError(
                f"Windows of {len(shapes)} shapes, in characters: {listed}. Cut the text into equal windows."
            )
        alphabet = _alphabet(classes)
        scored = [alphabet.ids(codes(target.text))[target.context :] for target in targets]
        return np.stack(scored) if scored else np.zeros((0, 1), np.int64)

    # models

    def fit_to_model(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind with the number of scored characters, which is the same for all windows of a task."""
        return self if data is None else type(self)(data.test.targets.shape[1])

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class and position."""
        if output.ndim != 3 or output.shape[2] != len(classes):
            raise ModelError(
                f"The model returns {tuple(output.shape)}; expected logits (texts, positions, {len(classes)}), one for "
                "each character of the task's alphabet. Build it for this task."
            )

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of all characters but the first, context included, and the logits."""
        output = model(pixels)
        ids = model.read(pixels).ids  # type: ignore[attr-defined]  # models of this kind tokenize
        return losses.all_positions(output, ids), output

    # attacks

    def editable(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Return the context: to change a scored character would change the target."""
        context = codes.shape[1] - targets.shape[1]
        return (codes != 0) & (torch.arange(codes.shape[1], device=codes.device) < context)

    # scores

    def tally(self, output: Array, targets: Array) -> Array:
        """Return the bits of all scored characters of each window and their number, (n, 2)."""
        bits = losses.bits(torch.from_numpy(output), torch.from_numpy(targets)).sum(dim=1).numpy()
        return np.stack([bits, np.full(len(bits), targets.shape[1], np.float64)], axis=1)

    def statistic(self, tally: Array) -> Statistic:
        """Return the bits per character as a function of resampling counts."""
        return sums_ratio(tally[:, 0], tally[:, 1])

    def measured(self, outcomes: Outcomes) -> Measured:
        """Return bits and number of the scored characters of each window, and how many are correct or unknown.

        The facts are the alphabet, the layout of windows, and the bits of a uniform guess.
        """
        tally, targets = self.tally(outcomes.output, outcomes.targets), outcomes.targets
        correct = outcomes.output[:, -targets.shape[1] :].argmax(axis=2) == targets  # ties go to the first class
        columns = {
            "bits": tally[:, 0],
            "characters": tally[:, 1],
            "correct_characters": correct.sum(axis=1),
            "unknown_characters": (targets == 0).sum(axis=1),
        }
        facts = {
            "classes": list(outcomes.classes),
            "context": outcomes.output.shape[1] + 1 - targets.shape[1],
            "scored": targets.shape[1],
            "state": "reset before each window",
            "uniform_bits": float(np.log2(outcomes.output.shape[2])),
        }
        return Measured(columns, facts)

    # galleries

    def output_arrays(self, output: Array) -> dict[str, Display]:
        """Return the most probable class at each position but the first, and its probability."""
        probabilities = self.probabilities(output)
        return {
            "prediction": Display(probabilities.argmax(axis=2).astype(np.int32), "class"),
            "confidence": Display(probabilities.max(axis=2).clip(0, 1).astype(np.float32), "probability"),
        }

    # uncertainty

    def probabilities(self, output: Array) -> Array:
        """Return the softmax over the alphabet at each position, (n, positions, classes), in float64."""
        return softmax(output, axis=2)


def _logits_by_character(output: Array) -> Array:
    """Return outputs (n, positions, classes) as (n * positions, classes)."""
    return output.reshape(-1, output.shape[-1])


def _alphabet(classes: Sequence[str]) -> Alphabet:
    try:
        return Alphabet(classes)
    except ModelError as error:
        raise DataError(f"the declared classes are not an alphabet: {error}") from error


@kind()
def language() -> Kind:
    """Language modeling: the next character of a text, scored in bits."""
    return Language().kind()
