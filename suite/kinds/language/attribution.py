"""What attribution explains of a language model: the character it expects, by those it has read."""

import numpy as np
import torch
from torch import Tensor

from suite.data.text import texts_of
from suite.errors import NotApplicableError
from suite.kinds.base import Rationale
from suite.models.adapters.language import TorchLanguage

BLANK = " "
"""What stands in the place of a deleted character: a character itself, so that what is left is still a text."""


def explained_characters(model: TorchLanguage, inputs: Tensor, outputs: Tensor, scored: int) -> Rationale:
    """Return what is explained about the first scored character of windows: the one that the model expects most.

    The target is its log-probability and the score its probability; the features are the characters of the context.
    Those that are blank already cannot be deleted and are none.

    Args:
        model: reads the context.
        inputs: code points (n, length).
        outputs: the logits for them, (n, length - 1, classes).
        scored: characters of a window that are scored.
    """
    context = inputs[:, : inputs.shape[1] - scored]
    expected = outputs[:, -scored].argmax(dim=1)
    blank = torch.full_like(context, ord(BLANK))

    def chance(logits: Tensor, rows: Tensor) -> Tensor:
        return logits[:, -1].double().log_softmax(dim=1).gather(1, expected[rows][:, None])[:, 0]

    def score(kept: Tensor, rows: Tensor) -> Tensor:
        shown = torch.where(kept, context[rows], blank[rows])
        return chance(model.raw(_asked(shown)), rows).exp()

    def target(points: Tensor, rows: Tensor) -> Tensor:
        asked = torch.cat([points, points[:, -1:].detach()], dim=1)
        return chance(model.answer(asked, torch.ones_like(asked[..., 0], dtype=torch.bool)), rows)

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
        arrays={"codes": inputs.cpu().numpy(), "spans": spans},
    )


def _asked(context: Tensor) -> Tensor:
    """Return texts with one more character, which is not read: the logits behind the context are those of its place."""
    return torch.cat([context, context[:, -1:]], dim=1)
