"""Drawing texts from a language model, a character at a time."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from suite.errors import ModelError

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""(ids (n,), state or None) to the logits (n, classes) of what comes next, and the new state."""

GROUP = 32
"""Texts are drawn in groups of this many, the last one filled up: kernels for fewer rows add in another order."""


class Sampled(NamedTuple):
    """Texts that a model has drawn.

    Attributes:
        ids: (n, length), never 0: what is unknown cannot be spelt.
        bits: how surprising the model itself finds each character, at temperature 1, (n, length) in float64.
    """

    ids: Tensor
    bits: Tensor


def continued(step: Step, prompts: Tensor, length: int, *, seeds: Sequence[int], temperature: float = 1.0) -> Sampled:
    """Draw `length` characters behind each prompt (n, characters); a text depends on its own seed alone.

    Raises:
        ModelError: no prompt, another number of seeds, a temperature that is not above 0, or logits not finite.
    """
    if prompts.ndim != 2 or not prompts.numel() or len(seeds) != len(prompts):
        raise ModelError(
            f"got prompts of shape {tuple(prompts.shape)} and {len(seeds)} seeds; expected (n, characters), at least "
            "one character, and a seed for each."
        )
    if not 0 < temperature < float("inf"):
        raise ModelError(f"temperature={temperature}; expected a number above 0: the lower, the safer the guesses.")
    numbers = torch.stack([_numbers(seed, length) for seed in seeds])
    parts = []
    for start in range(0, len(prompts), GROUP):
        rows = torch.arange(start, start + GROUP).clamp_max(len(prompts) - 1)
        found = _group(step, prompts[rows.to(prompts.device)], numbers[rows], temperature)
        kept = min(GROUP, len(prompts) - start)
        parts.append([part[:kept] for part in found])
    return Sampled(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _numbers(seed: int, length: int) -> Tensor:
    """Return numbers in [0, 1) on the processor, where they are the same on every machine."""
    return torch.rand(length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _group(step: Step, prompts: Tensor, numbers: Tensor, temperature: float) -> Sampled:
    state: Any = None
    for place in range(prompts.shape[1]):
        logits, state = step(prompts[:, place], state)
    ids, bits = [], []
    for place in range(numbers.shape[1]):
        wide = logits.double().cpu()
        if not torch.isfinite(wide).all():
            raise ModelError(f"The model returned NaN or infinite logits at character {place}. Check the weights.")
        drawn = _drawn(wide / temperature, numbers[:, place])
        bits.append(-wide.log_softmax(dim=1).gather(1, drawn[:, None])[:, 0] / torch.log(torch.tensor(2.0)).double())
        ids.append(drawn)
        logits, state = step(drawn.to(prompts.device), state)
    if not ids:
        return Sampled(prompts.new_zeros(len(prompts), 0), torch.zeros(len(prompts), 0, dtype=torch.float64))
    return Sampled(torch.stack(ids, dim=1).to(prompts.device), torch.stack(bits, dim=1))


def _drawn(logits: Tensor, numbers: Tensor) -> Tensor:
    """Return the class of each row at which the distribution function passes a number in [0, 1), never 0."""
    heights = logits[:, 1:].softmax(dim=1).cumsum(dim=1)
    places = torch.searchsorted(heights, (numbers * heights[:, -1])[:, None], right=True)[:, 0]
    return places.clamp_max(heights.shape[1] - 1) + 1
