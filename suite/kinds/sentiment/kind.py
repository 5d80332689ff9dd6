"""Sentiment: one label per text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.data.text import texts_of
from suite.decorators import kind
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Kind, NotApplicable, Rationale, ValidatedSample
from suite.kinds.classification.kind import Classification
from suite.kinds.defaults import check_class_logits
from suite.kinds.inputs import label, text
from suite.models.adapters.text import Reading, TorchText
from suite.models.base import TorchModel
from suite.types import TEXT, Display, Sample

PRESETS = MappingProxyType(
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


class Sentiment(Classification):
    """One label per text; the output is one logit per class."""

    adapter: type[TorchModel] = TorchText

    def kind(self) -> Kind:
        """Return the kind: texts with one label each, explained by their tokens."""
        return replace(
            super().kind(),
            name="sentiment",
            input=TEXT,
            maps=NotApplicable("a text is explained by its words; use the axis rationale"),
            features=ExplainedTokens(),
            presets=PRESETS,
            inherits=("classification",),
        )

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> ValidatedSample:
        """Return code points, int32 (length,), the class name or index, and a remark if the text was truncated."""
        points, remarks = text(sample.input)
        return ValidatedSample(points, label(sample.target, classes), remarks)

    def check_output(self, output: Tensor, classes: Sequence[str]) -> None:
        """Raise ModelError unless there is one logit per class."""
        check_class_logits(output, classes, "text")


class ExplainedTokens:
    """The tokens of a text as the features that explain the predicted class."""

    def explainable(self, output: Array) -> Array:
        """Return that every text can be explained."""
        return np.ones(len(output), dtype=bool)

    def explained(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Explain the logit of the predicted class by the tokens; score by its probability without some of them."""
        return explained_tokens(model, inputs, outputs.argmax(dim=1))


def explained_tokens(model: TorchText, inputs: Tensor, predicted: Tensor) -> Rationale:
    """Return what explains a class per text (n,): its logit, and its probability without some tokens.

    Special tokens, which stand for no characters of the text, are never deleted. For a model without embeddings the
    characters of deleted tokens are removed from the text, and there are no gradients.
    """
    tokens = _Tokens(model, inputs, predicted, model.read(inputs))
    arrays = {
        "codes": Display(inputs.cpu().numpy(), "text", "input"),
        "spans": Display(tokens.reading.spans.cpu().numpy(), "spans", "features"),
    }
    present, names = tokens.present, tokens.names()
    try:
        point, blank = (model.embed(ids).detach() for ids in (tokens.reading.ids, tokens.unknown))
    except NotApplicableError:
        deletion = "taken out of the text"
        return Rationale(present, None, None, None, tokens.score_without, names, deletion, arrays=arrays)
    deletion = "read as an unknown word"
    return Rationale(present, point, blank, tokens.target, tokens.score, names, deletion, arrays=arrays)


@dataclass(frozen=True, eq=False)
class _Tokens:
    """The functions that attribution needs of the tokens of texts."""

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
        """Return the tokens as they appear in the texts; special tokens as in the vocabulary."""
        spelling, texts = self.model.tokenizer.vocabulary, texts_of(self.inputs.cpu().numpy())
        return [
            [text[start:end] or spelling[token] for token, (start, end) in zip(ids, spans, strict=True)]
            for text, ids, spans in zip(texts, self.reading.ids.tolist(), self.reading.spans.tolist(), strict=True)
        ]

    def target(self, points: Tensor, rows: Tensor) -> Tensor:
        return self._chosen(self.model.forward_embedded(points, self.reading.mask[rows]), rows)

    def score(self, kept: Tensor, rows: Tensor) -> Tensor:
        ids = torch.where(kept, self.reading.ids[rows], self.unknown[rows])
        logits = self.model.forward_embedded(self.model.embed(ids), self.reading.mask[rows])
        return self._chosen(logits.double().softmax(dim=1), rows)

    def score_without(self, kept: Tensor, rows: Tensor) -> Tensor:
        texts = without(self.inputs[rows], self.reading.spans[rows], self.present[rows] & ~kept)
        return self._chosen(self.model(texts).double().softmax(dim=1), rows)

    def _chosen(self, values: Tensor, rows: Tensor) -> Tensor:
        return values.gather(1, self.predicted[rows][:, None])[:, 0]


def without(codes: Tensor, spans: Tensor, dropped: Tensor) -> Tensor:
    """Return texts (n, length) without the characters of dropped tokens (n, tokens) whose spans are (n, tokens, 2)."""
    edges = torch.zeros(len(codes), codes.shape[1] + 1, dtype=torch.int64, device=codes.device)
    for side, step in ((0, 1), (1, -1)):
        edges.scatter_add_(1, spans[..., side], dropped.long() * step)
    removed = (edges.cumsum(dim=1)[:, :-1] > 0) | (codes == 0)
    order = removed.int().argsort(dim=1, stable=True)
    return codes.masked_fill(removed, 0).gather(1, order)


@kind()
def sentiment() -> Kind:
    """One label per text."""
    return Sentiment().kind()
