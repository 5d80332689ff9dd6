"""Sentiment: one label per text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from suite.data.text import texts_of
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Outcomes, Rationale, ValidatedSample
from suite.kinds.classification.kind import Classification, label
from suite.kinds.defaults import one_logit_per_class
from suite.kinds.texts import text, vocabulary
from suite.metrics.calibration.agreement import agreement_measures
from suite.models.adapters.text import Reading, TorchText
from suite.registry import register
from suite.types import Measure, Sample

PRESETS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "clean": ("clean",),
        "robustness": (
            "robustness(attack=hotflip(edits=[1, 2, 4]))",
            "robustness(attack=hotflip(edits=[1, 2, 4], unit=character))",
            "robustness(attack=typos(edits=[1, 2, 4]))",
            "robustness(attack=trigger(edits=[1, 3]))",
            "robustness(attack=fgsm(eps=[0.05, 0.1, 0.25, 0.5]), space=embedding)",
            "robustness(attack=pgd(eps=[0.05, 0.1, 0.25, 0.5]), space=embedding)",
        ),
        "calibration": ("calibration",),
        "attribution": ("rationale",),
    }
)
"""What a plain run measures; a task may say otherwise."""


class Sentiment(Classification):
    """One label per text; the output is a logit per class."""

    name = "sentiment"
    inherits_metrics_from = ("classification",)
    adapter = TorchText
    presets = PRESETS

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return code points, int32 (length,), the class name or index, and what was cut."""
        points, remarks = text(sample.input)
        return ValidatedSample(points, label(sample.target, classes), remarks)

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class."""
        one_logit_per_class(output, classes, "text")

    def words(self, inputs: Array) -> tuple[str, ...]:
        """Return the words of training texts, the most frequent first."""
        return vocabulary(inputs)

    def uncertainty(self, outcomes: Outcomes) -> list[Measure]:
        """Return how the predicted distributions compare with the shares of human raters, where there are any."""
        test = outcomes.data.test
        if test.shares is None:
            return []
        place = {name: position for position, name in enumerate(test.ids)}
        shares = test.shares[[place[name] for name in outcomes.ids]]
        predicted = self.probabilities(outcomes.output)
        return agreement_measures(predicted, shares, outcomes.targets, seed=outcomes.seed)

    def rationale(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Explain the logit of the predicted class by the tokens; follow its probability without some of them."""
        return explained_tokens(model, inputs, outputs.argmax(dim=1))


def explained_tokens(model: TorchText, inputs: Tensor, predicted: Tensor) -> Rationale:
    """Return what is explained about a class per text (n,): its logit, and its probability without some tokens.

    Tokens that stand for no characters, as those that begin and end a text, are never deleted. A model without
    embeddings is shown the text without the characters of its deleted tokens, and has no gradients.
    """
    asked = _Tokens(model, inputs, predicted, model.read(inputs))
    about = (asked.names(), "read as an unknown word")
    arrays = {"codes": inputs.cpu().numpy(), "spans": asked.reading.spans.cpu().numpy()}
    try:
        _ = model.table
    except NotApplicableError:
        about = (about[0], "taken out of the text")
        return Rationale(asked.present, None, None, None, asked.score_without, *about, arrays=arrays)
    point, blank = (model.embed(ids).detach() for ids in (asked.reading.ids, asked.unknown))
    return Rationale(asked.present, point, blank, asked.target, asked.score, *about, arrays=arrays)


@dataclass(frozen=True, eq=False)
class _Tokens:
    """The answers to what attribution asks of the tokens of texts."""

    model: TorchText
    inputs: Tensor
    predicted: Tensor
    reading: Reading

    @property
    def present(self) -> Tensor:
        return self.reading.mask & (self.reading.spans[..., 1] > self.reading.spans[..., 0])

    @property
    def unknown(self) -> Tensor:
        return torch.where(self.present, self.model.tokenizer.unknown, self.reading.ids)

    def names(self) -> list[list[str]]:
        """Return the tokens as they stand in the texts; those that stand for no characters as they are spelt."""
        spelt, texts = self.model.tokenizer.vocabulary, texts_of(self.inputs.cpu().numpy())
        return [
            [text[start:end] or spelt[token] for token, (start, end) in zip(ids, spans, strict=True)]
            for text, ids, spans in zip(texts, self.reading.ids.tolist(), self.reading.spans.tolist(), strict=True)
        ]

    def target(self, points: Tensor, rows: Tensor) -> Tensor:
        return self._chosen(self.model.answer(points, self.reading.mask[rows]), rows)

    def score(self, kept: Tensor, rows: Tensor) -> Tensor:
        shown = torch.where(kept, self.reading.ids[rows], self.unknown[rows])
        logits = self.model.answer(self.model.embed(shown), self.reading.mask[rows])
        return self._chosen(logits.double().softmax(dim=1), rows)

    def score_without(self, kept: Tensor, rows: Tensor) -> Tensor:
        shown = without(self.inputs[rows], self.reading.spans[rows], self.present[rows] & ~kept)
        return self._chosen(self.model(shown).double().softmax(dim=1), rows)

    def _chosen(self, values: Tensor, rows: Tensor) -> Tensor:
        return values.gather(1, self.predicted[rows][:, None])[:, 0]


def without(codes: Tensor, spans: Tensor, dropped: Tensor) -> Tensor:
    """Return texts (n, length) without the characters of dropped tokens (n, tokens) whose spans are (n, tokens, 2)."""
    edges = torch.zeros(len(codes), codes.shape[1] + 1, dtype=torch.int64, device=codes.device)
    for side, step in ((0, 1), (1, -1)):
        edges.scatter_add_(1, spans[..., side], dropped.long() * step)
    gone = (edges.cumsum(dim=1)[:, :-1] > 0) | (codes == 0)
    order = gone.int().argsort(dim=1, stable=True)
    return codes.masked_fill(gone, 0).gather(1, order)


@register("kind")
def sentiment() -> Sentiment:
    """One label per text."""
    return Sentiment()
