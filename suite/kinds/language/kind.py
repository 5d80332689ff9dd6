"""Language: the next character of a text, scored in bits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from suite.data import TaskData
from suite.data.text import codes
from suite.errors import DataError, ModelError, NotApplicableError
from suite.kinds.base import Array, AttributionTarget, Calibrated, Outcomes, Rationale, Rescaling, ValidatedSample
from suite.kinds.defaults import Graded, KindDefaults
from suite.kinds.language import losses
from suite.kinds.language.attribution import explained_characters
from suite.kinds.language.calibration import calibrated, entropy_gap, rescaling
from suite.kinds.language.generated_text import exhibits
from suite.metrics.stats import Statistic, sums_ratio
from suite.models.adapters.alphabet import Alphabet
from suite.models.adapters.language import TorchLanguage
from suite.models.base import TorchModel
from suite.registry import register
from suite.types import Measure, Sample

UNKNOWN = "<unk>"
"""The class of whatever is not in the alphabet."""

PRESETS: Mapping[str, Sequence[str]] = MappingProxyType(
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
"""What a plain run measures; a task may say otherwise."""


class Window(NamedTuple):
    """A piece of text, the first characters of which are read and not scored."""

    text: str
    context: int


@dataclass(frozen=True)
class Language(Graded, KindDefaults):
    """The next character of a text; the output is a logit per class and character but the first.

    Of a window the first characters are context, and the others are scored. The damage to a window is its bits per
    character over those of a uniform guess, at most 1: what is left of the gain over guessing is 1 - that.

    Attributes:
        scored: characters of a window that are scored; known once the kind has settled.
    """

    scored: int | None = None

    name = "language"
    open_classes = True
    fixed_length = True
    adapter = TorchLanguage
    headline = "bits_per_character"
    unit = "bits"
    higher_is_better = False
    quality = "share of a blind guess's bits that are saved"
    default_uncertainty = "softmax"
    calibration_metric = "token_ece"
    presets = PRESETS

    # samples

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return code points, int32 (length,), the window, and how many characters are not in a declared alphabet."""
        points, context = codes(sample.input), sample.target
        if isinstance(context, bool) or not isinstance(context, int | np.integer):
            raise DataError(f"the target {context!r:.40}; expected how many characters at the beginning are not scored")
        if not 1 <= context < len(points):
            raise DataError(
                f"a context of {context} characters in a text of {len(points)}; expected at least 1, since the first "
                "character has no past, and fewer than the text has"
            )
        strange = 0 if classes is None else int((_alphabet(classes).ids(points) == 0).sum())
        remarks = (f"{strange} characters outside the alphabet, read as {UNKNOWN}",) if strange else ()
        return ValidatedSample(points, Window(sample.input, int(context)), remarks)

    def class_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Return `UNKNOWN` and the characters of training windows, in the order of their code points."""
        return (UNKNOWN, *sorted(set().union(*(target.text for target in targets))))

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> Array:
        """Return the classes of the scored characters, int64 (n, scored).

        Raises:
            DataError: windows of several lengths, or with contexts of several lengths.
        """
        shapes = sorted({(len(target.text), target.context) for target in targets})
        if len(shapes) > 1:
            listed = ", ".join(f"{length} with a context of {context}" for length, context in shapes[:4])
            raise DataError(
                f"Windows of {len(shapes)} forms, in characters: {listed}. Cut the text into equal windows."
            )
        alphabet = _alphabet(classes)
        scored = [alphabet.ids(codes(target.text))[target.context :] for target in targets]
        return np.stack(scored) if scored else np.zeros((0, 1), np.int64)

    # models

    def fitted_on_validation(self, validation: Callable[[], tuple[Array, Array]], data: TaskData | None = None) -> Self:
        """Return the kind with the number of scored characters, which is one for all windows of a task."""
        return self if data is None else replace(self, scored=data.test.targets.shape[1])

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class and position."""
        if output.ndim != 3 or output.shape[2] != len(classes):
            raise ModelError(
                f"The model returns {tuple(output.shape)}; expected logits (texts, positions, {len(classes)}), one for "
                "each character of the task's alphabet. Build it for this task."
            )

    def training_loss(self, model: TorchModel, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of all characters but the first, context and scored ones, and the logits."""
        output = model(pixels)
        ids = model.read(pixels).ids  # type: ignore[attr-defined]  # models of this kind read
        return losses.all_positions(output, ids), output

    # attacks

    def attack_loss(
        self, output: Tensor, targets: Tensor, *, name: str, target_classes: Tensor | None = None
    ) -> Tensor:
        """Return one of `language_losses.LOSSES` per window, in float64."""
        return losses.attack_loss(output, targets, name, target_classes)

    def damage(self, output: Tensor, targets: Tensor) -> Tensor:
        """Return the bits per character over those of a uniform guess, cut at 1, (n,)."""
        return losses.damage(output, targets)

    def editable(self, codes: Tensor, targets: Tensor) -> Tensor:
        """Return the context: a scored character that is changed would be another question."""
        context = codes.shape[1] - targets.shape[1]
        return (codes != 0) & (torch.arange(codes.shape[1], device=codes.device) < context)

    def hidden(self, targets: Tensor, covered: Tensor) -> Tensor:
        """Return the targets as they are: a text has no pixels to cover."""
        return targets

    # scores

    def tally(self, output: Array, targets: Array) -> Array:
        """Return the bits of all scored characters of each window and their number, (n, 2)."""
        spent = losses.bits(torch.from_numpy(output), torch.from_numpy(targets)).sum(dim=1).numpy()
        return np.stack([spent, np.full(len(spent), targets.shape[1], np.float64)], axis=1)

    def statistic(self, tally: Array) -> Statistic:
        """Return all bits over all characters."""
        return sums_ratio(tally[:, 0], tally[:, 1])

    # readers

    def columns(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return each window's bits per character and share of characters that were the first choice."""
        tally = self.tally(outcomes.output, outcomes.targets)
        right = first_choice(outcomes.output, outcomes.targets)
        return {"bits_per_character": tally[:, 0] / tally[:, 1], "right_characters": right.mean(axis=1)}

    def details(self, outcomes: Outcomes) -> dict[str, Any]:
        """Return the alphabet, how windows are cut and read, and the mean bits at each scored position."""
        spent = losses.bits(torch.from_numpy(outcomes.output), torch.from_numpy(outcomes.targets))
        scored = outcomes.targets.shape[1]
        return {
            "classes": list(outcomes.classes),
            "context": outcomes.output.shape[1] + 1 - scored,
            "scored": scored,
            "state": "reset before each window",
            "uniform_bits": float(np.log2(len(outcomes.classes))),
            "unknown_characters": int((outcomes.targets == 0).sum()),
            "bits_by_position": spent.mean(dim=0).tolist(),
        }

    def output_arrays(self, output: Array) -> dict[str, Array]:
        """Return the class that is most probable at each position but the first, and its probability."""
        likely = self.probabilities(output)
        return {
            "prediction": likely.argmax(axis=2).astype(np.int32),
            "confidence": likely.max(axis=2).clip(0, 1).astype(np.float32),
        }

    def gallery(self, outcomes: Outcomes) -> dict[str, Array]:
        """Return texts that the model made up, see `language_samples.exhibits`."""
        return exhibits(outcomes)

    # uncertainty

    def probabilities(self, output: Array) -> Array:
        """Return the softmax over the alphabet at each position, (n, positions, classes), in float64."""
        return torch.from_numpy(np.asarray(output, np.float64)).softmax(dim=2).numpy()

    def calibrated(self, predicted: Array, output: Array | None, targets: Array, **options: Any) -> Calibrated:
        """Return how well the distributions of the scored characters are calibrated."""
        return calibrated(predicted, targets, **options)

    def rescaling(self, output: Array, targets: Array) -> Rescaling:
        """Return the temperature that fits validation characters."""
        return rescaling(output, targets)

    def uncertainty(self, outcomes: Outcomes) -> list[Measure]:
        """Return whether what the model makes up is as surprising to it as the text is."""
        return entropy_gap(outcomes)

    # attribution

    def explained(self, model: Any, pixels: Tensor, outputs: Tensor) -> AttributionTarget:
        """Refuse: there are no pixels."""
        raise NotApplicableError("a text is explained by its characters; ask for the axis rationale")

    def rationale(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Explain the first scored character that the model expects, by the context."""
        if self.scored is None:
            raise NotApplicableError("how many characters are scored is not known before the kind has settled")
        return explained_characters(model, inputs, outputs, self.scored)


def first_choice(output: Array, targets: Array) -> Array:
    """Return which scored characters are the most probable ones, bool (n, scored); of equal ones the first counts."""
    return np.asarray(output[:, -targets.shape[1] :].argmax(axis=2) == targets)


def _alphabet(classes: Sequence[str]) -> Alphabet:
    try:
        return Alphabet(classes)
    except ModelError as error:
        raise DataError(f"the declared classes are no alphabet: {error}") from error


@register("kind")
def language() -> Language:
    """The next character of a text, scored in bits."""
    return Language()
