"""Random numbers by counting: every sample's stream follows from its seed alone, for a whole batch at once.

A generator per sample gives each sample numbers of its own too, but one after the other; attacks that draw at every
step need them side by side, on the device, and the same whoever else is in the batch. So each number is a mix of
(seed, stream, place): SplitMix64 (Steele, Lea and Flood 2014) applied to a counter.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - 2**64
"""The odd number nearest to 2^64 over the golden ratio, as a signed 64-bit integer."""

FIRST, SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
"""The multipliers of SplitMix64."""


def as_seeds(seeds: Sequence[int] | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Return seeds as a tensor of 64-bit integers (n,); integers out of range wrap around."""
    if isinstance(seeds, Tensor):
        return seeds.to(device=device, dtype=torch.int64)
    return torch.tensor([_wrapped(int(seed)) for seed in seeds], dtype=torch.int64, device=device)


def integers(seeds: Tensor, stream: int | Tensor, count: int) -> Tensor:
    """Return `count` integers of 64 random bits for each seed, (n, count).

    Args:
        seeds: int64 (n,).
        stream: tells apart what the numbers are for: one number, or one per sample (n,); other streams are
            independent.
        count: how many.
    """
    offset = stream * GOLDEN if isinstance(stream, Tensor) else _wrapped(stream * GOLDEN)
    state = _mixed(_mixed(seeds) + offset)
    places = torch.arange(1, count + 1, device=seeds.device, dtype=torch.int64)
    return _mixed(state[:, None] + places * GOLDEN)


def uniform(seeds: Tensor, stream: int | Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Return numbers in [0, 1), float32 (n, *shape), each a multiple of 2^-24."""
    bits = integers(seeds, stream, math.prod(shape))
    return (((bits >> 40) & 0xFFFFFF).float() * 2.0**-24).view(len(seeds), *shape)


def gaussian(seeds: Tensor, stream: int | Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Return standard normal numbers, float32 (n, *shape) (Box and Muller 1958)."""
    bits = integers(seeds, stream, math.prod(shape))
    radius = (((bits >> 40) & 0xFFFFFF).double() + 1) * 2.0**-24  # in (0, 1]: its logarithm is finite
    angle = ((bits >> 8) & 0xFFFFFF).double() * (2 * math.pi * 2.0**-24)
    return ((-2 * radius.log()).sqrt() * angle.cos()).float().view(len(seeds), *shape)


def _wrapped(number: int) -> int:
    """Return an integer as the signed 64-bit one with the same low bits."""
    return (number + 2**63) % 2**64 - 2**63


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _right(state, 30)) * FIRST
    state = (state ^ _right(state, 27)) * SECOND
    return state ^ _right(state, 31)


def _right(state: Tensor, places: int) -> Tensor:
    """Shift right and fill with zeros; the shift of signed integers repeats the sign."""
    return (state >> places) & ((1 << (64 - places)) - 1)
