"""Attribution for language models: the predicted character is explained by the characters of the context."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.data.text import texts_of
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Rationale
from suite.models.adapters.language import TorchLanguage
from suite.types import Display

BLANK = " "
"""Replaces a deleted character; it is a character itself, so that the result is still a text."""


@dataclass(frozen=True)
class ExplainedCharacters:
    """The characters of the context as the features that explain the character after it.

    Attributes:
        scored: scored characters per window.
    """

    scored: int

    def explainable(self, output: Array) -> Array:
        """Return that every window can be explained."""
        return np.ones(len(output), dtype=bool)

    def explained(self, model: Any, inputs: Tensor, outputs: Tensor) -> Rationale:
        """Explain the prediction of the first scored character by the context."""
        return explained_characters(model, inputs, outputs, self.scored)


def explained_characters(model: TorchLanguage, inputs: Tensor, outputs: Tensor, scored: int) -> Rationale:
    """Return what explains the most probable class of the first scored character of each window.

    The target is its log-probability and the score its probability; the features are the characters of the context.
    Spaces cannot be deleted, and are no features.

    Args:
        model: reads the context.
        inputs: code points (n, length).
        outputs: their logits, (n, length - 1, classes).
        scored: characters of a window that are scored.
    """
    context = inputs[:, : inputs.shape[1] - scored]
    predicted = outputs[:, -scored].argmax(dim=1)
    blank = torch.full_like(context, ord(BLANK))

    # Inputs get one more character, which is not read: the logits after the context are those of its position.
    def log_probability(logits: Tensor, rows: Tensor) -> Tensor:
        return logits[:, -1].double().log_softmax(dim=1).gather(1, predicted[rows][:, None])[:, 0]

    def score(kept: Tensor, rows: Tensor) -> Tensor:
        partial = torch.where(kept, context[rows], blank[rows])
        return log_probability(model.raw(torch.cat([partial, partial[:, -1:]], dim=1)), rows).exp()

    def target(points: Tensor, rows: Tensor) -> Tensor:
        extended = torch.cat([points, points[:, -1:].detach()], dim=1)
        mask = torch.ones_like(extended[..., 0], dtype=torch.bool)
        return log_probability(model.forward_embedded(extended, mask), rows)

    def embedded(codes: Tensor) -> Tensor | None:
        try:
            return model.embed(model.read(codes).ids).detach()
        except NotApplicableError:
            return None

    point = embedded(context)
    places = torch.arange(context.shape[1])
    spans = torch.stack([places, places + 1], dim=1).expand(len(context), -1, -1).numpy()
    return Rationale(
        (context != 0) & (context != ord(BLANK)),
        point,
        embedded(blank),
        None if point is None else target,
        score,
        [list(text) for text in texts_of(context.cpu().numpy())],
        "replaced by a space" if model.alphabet.ids(np.array([ord(BLANK)]))[0] else "read as an unknown character",
        ends_matter=True,
        arrays={
            "codes": Display(inputs.cpu().numpy(), "text", "input"),
            "spans": Display(spans, "spans", "features"),
        },
    )
