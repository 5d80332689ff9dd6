"""Sentiment: one label per text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from suite.kinds.base import Admitted, Array, Rationale
from suite.kinds.classification import Classification, label
from suite.kinds.texts import text, vocabulary
from suite.models.text import TorchText
from suite.registry import register
from suite.types import Sample

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
    like = ("classification",)
    adapter = TorchText
    presets = PRESETS

    def admit(self, sample: Sample, classes: Sequence[str] | None) -> Admitted:
        """Return code points, int32 (length,), the class name or index, and what was cut."""
        points, remarks = text(sample.input)
        return Admitted(points, label(sample.target, classes), remarks)

    def words(self, inputs: Array) -> tuple[str, ...]:
        """Return the words of training texts, the most frequent first."""
        return vocabulary(inputs)

    def rationale(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Explain the logit of the predicted class by the tokens; follow its probability without some of them."""
        return explained_tokens(model, inputs, outputs.argmax(dim=1))


def explained_tokens(model: TorchText, inputs: Tensor, predicted: Tensor) -> Rationale:
    """Return what is explained about a class per text (n,): its logit, and its probability without some tokens."""
    reading = model.read(inputs)
    ids, mask = reading.ids, reading.mask
    unknown = torch.full_like(ids, model.tokenizer.unknown)

    def target(points: Tensor, rows: Tensor) -> Tensor:
        return model.answer(points, mask[rows]).gather(1, predicted[rows][:, None])[:, 0]

    def score(kept: Tensor, rows: Tensor) -> Tensor:
        shown = torch.where(kept, ids[rows], unknown[rows])
        logits = model.answer(model.embed(shown), mask[rows]).double()
        return logits.softmax(dim=1).gather(1, predicted[rows][:, None])[:, 0]

    names = [[model.tokenizer.vocabulary[int(token)] for token in row] for row in ids]
    return Rationale(
        mask, model.embed(ids).detach(), model.embed(unknown).detach(), target, score, names, "read as an unknown word"
    )


@register("kind")
def sentiment() -> Sentiment:
    """One label per text."""
    return Sentiment()
