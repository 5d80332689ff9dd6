"""Sampling texts from a language model, one character at a time."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite.errors import ModelError
from suite.models.base import WIDTH

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""(ids (n,), state or None) to logits (n, classes) of the next character, and the new state."""


class Sampled(NamedTuple):
    """Texts sampled from a model.

    Attributes:
        ids: (n, length), never 0, the unknown character.
        bits: surprisal of each character under the model at temperature 1, (n, length), float64.
    """

    ids: Tensor
    bits: Tensor


def continue_texts(
    step: Step, prompts: Tensor, length: int, *, seeds: Sequence[int], temperature: float = 1.0, width: int = WIDTH
) -> Sampled:
    """Sample `length` characters after each prompt (n, characters); a text depends on its own seed only.

    The step function is called with exactly `width` texts at a time, and the last batch is padded.

    Raises:
        ModelError: an empty prompt, another number of seeds, a temperature that is not above 0, or non-finite logits.
    """
    if prompts.ndim != 2 or not prompts.numel() or len(seeds) != len(prompts):
        raise ModelError(
            f"got prompts of shape {tuple(prompts.shape)} and {len(seeds)} seeds; expected (n, characters), at least "
            "one character, and one seed per prompt."
        )
    if not 0 < temperature < float("inf"):
        raise ModelError(f"temperature={temperature}; expected a finite number above 0.")
    uniforms = torch.stack([_uniforms(seed, length) for seed in seeds])
    parts = []
    for start in range(0, len(prompts), width):
        rows = torch.arange(start, start + width).clamp_max(len(prompts) - 1)
        parts.append(_sample_batch(step, prompts[rows.to(prompts.device)], uniforms[rows], temperature))
    return Sampled(*(torch.cat(column)[: len(prompts)] for column in zip(*parts, strict=True)))


def _uniforms(seed: int, length: int) -> Tensor:
    """Return numbers in [0, 1) from the CPU, where they are the same on every machine."""
    return torch.rand(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _sample_batch(step: Step, prompts: Tensor, uniforms: Tensor, temperature: float) -> Sampled:
    state: Any = None
    for position in range(prompts.shape[1]):
        logits, state = step(prompts[:, position], state)
    ids, bits = [], []
    for position in range(uniforms.shape[1]):
        wide = logits.double().cpu()
        if not torch.isfinite(wide).all():
            raise ModelError(f"The model returned NaN or infinite logits at character {position}. Check the weights.")
        drawn = _inverse_cdf(wide / temperature, uniforms[:, position])
        bits.append(-wide.log_softmax(dim=1).gather(1, drawn[:, None])[:, 0] / torch.log(torch.tensor(2.0)).double())
        ids.append(drawn)
        logits, state = step(drawn.to(prompts.device), state)
    if not ids:
        return Sampled(prompts.new_zeros(len(prompts), 0), torch.zeros(len(prompts), 0, dtype=torch.float64))
    return Sampled(torch.stack(ids, dim=1).to(prompts.device), torch.stack(bits, dim=1))


def _inverse_cdf(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Return the class of each row by inverse transform sampling from uniform numbers in [0, 1), never class 0."""
    cumulative = logits[:, 1:].softmax(dim=1).cumsum(dim=1)
    index = torch.searchsorted(cumulative, (uniforms * cumulative[:, -1])[:, None], right=True)[:, 0]
    return index.clamp_max(cumulative.shape[1] - 1) + 1
