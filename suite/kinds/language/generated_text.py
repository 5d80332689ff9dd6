"""What language models make up: drawn with seeds of its own, for measures and for readers."""

from collections.abc import Sequence

import numpy as np
import torch

from suite.data.digests import in_digest_order, seed_of
from suite.data.text import packed, texts_of
from suite.kinds.base import Array, Outcomes
from suite.models.adapters.language import TorchLanguage
from suite.models.adapters.sampling import Sampled

TEMPERATURES = (0.5, 0.8, 1.0)
"""At which texts are shown: the lower, the safer the guesses."""

SHOWN = 2
"""Texts of each temperature that are shown without a prompt, and behind a prompt."""

LENGTH = 200
"""Characters of a text that is made up."""

SAMPLES = 20
"""Texts that measures of what is made up rest on."""

CONTINUED = 64
"""Windows at most that the model continues in its own way, to be compared with how they go on."""


def invented(outcomes: Outcomes, count: int = SAMPLES, length: int = LENGTH, temperature: float = 1.0) -> list[str]:
    """Return texts that the model makes up without a prompt."""
    model: TorchLanguage = outcomes.model
    start = seed_of(str(outcomes.seed), "invented", "") >> 8
    return model.generate(count, length, start, temperature=temperature)


def continuations(outcomes: Outcomes, rows: Sequence[int], length: int, temperature: float = 1.0) -> Sampled:
    """Return how the model goes on behind the contexts of some windows, as often as they are scored."""
    model: TorchLanguage = outcomes.model
    chosen = torch.tensor(rows, device=outcomes.inputs.device)
    scored = outcomes.targets.shape[1]
    prompts = model.read(outcomes.inputs[chosen]).ids[:, :-scored]
    own = [seed_of(str(outcomes.seed), "continued", outcomes.ids[row]) for row in rows]
    return model.continued(prompts, length, seeds=own, temperature=temperature)


def exhibits(outcomes: Outcomes) -> dict[str, Array]:
    """Return made-up texts for readers: some without a prompt and some behind the context of a test window.

    Returns:
        ``generated`` int32 (k, length) and ``prompt`` int32 (k, characters) as code points, 0 where there is no prompt,
        and ``temperature`` (k,).
    """
    model: TorchLanguage = outcomes.model
    rows = in_digest_order(outcomes.ids)[:SHOWN]
    scored = outcomes.targets.shape[1]
    prompts = [text[:-scored] for text in texts_of(outcomes.inputs[rows].cpu().numpy())]
    texts, before, heat = [], [], []
    for temperature in TEMPERATURES:
        alone = invented(outcomes, SHOWN, temperature=temperature)
        behind = continuations(outcomes, rows, LENGTH, temperature).ids.cpu().numpy()
        texts += [*alone, *(model.alphabet.text(ids) for ids in behind)]
        before += [""] * len(alone) + prompts
        heat += [temperature] * (len(alone) + len(prompts))
    width = max(map(len, before))
    return {"generated": packed(texts, LENGTH), "prompt": packed(before, width), "temperature": np.array(heat)}
