"""Counter-based random numbers: each sample's stream depends on its seed only and is drawn for a whole batch at once.

One generator per sample would have to draw for one sample after the other. Attacks draw at every step, on the device,
and need numbers that do not depend on the rest of the batch. So each number is a hash of (seed, stream, counter):
SplitMix64 (Steele, Lea and Flood 2014) applied to a counter.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - 2**64
"""The odd number closest to 2^64 divided by the golden ratio, as a signed 64-bit integer."""

MULTIPLIERS = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
"""The multipliers of SplitMix64."""


def as_seeds(seeds: Sequence[int] | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Return seeds as an int64 tensor (n,); integers out of range wrap around."""
    if isinstance(seeds, Tensor):
        return seeds.to(device=device, dtype=torch.int64)
    return torch.tensor([_to_int64(int(seed)) for seed in seeds], dtype=torch.int64, device=device)


def integers(seeds: Tensor, stream: int | Tensor, count: int) -> Tensor:
    """Return `count` integers of 64 random bits for each seed, (n, count).

    Args:
        seeds: int64 (n,).
        stream: number of the stream, for all samples or one per sample (n,); streams are independent.
        count: how many integers to draw per seed.
    """
    offset = stream * GOLDEN if isinstance(stream, Tensor) else _to_int64(stream * GOLDEN)
    state = _mix(_mix(seeds) + offset)
    counters = torch.arange(1, count + 1, device=seeds.device, dtype=torch.int64)
    return _mix(state[:, None] + counters * GOLDEN)


def uniform(seeds: Tensor, stream: int | Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Return uniform numbers in [0, 1), float32 (n, *shape); each is a multiple of 2^-24."""
    bits = integers(seeds, stream, math.prod(shape))
    return (((bits >> 40) & 0xFFFFFF).float() * 2.0**-24).view(len(seeds), *shape)


def gaussian(seeds: Tensor, stream: int | Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Return standard normal numbers, float32 (n, *shape) (Box and Muller 1958)."""
    bits = integers(seeds, stream, math.prod(shape))
    radius = (((bits >> 40) & 0xFFFFFF).double() + 1) * 2.0**-24  # in (0, 1], so that the logarithm is finite
    angle = ((bits >> 8) & 0xFFFFFF).double() * (2 * math.pi * 2.0**-24)
    return ((-2 * radius.log()).sqrt() * angle.cos()).float().view(len(seeds), *shape)


def _to_int64(number: int) -> int:
    """Return the signed 64-bit integer with the same low 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _mix(state: Tensor) -> Tensor:
    """Return the output function of SplitMix64."""
    state = (state ^ _shift_right(state, 30)) * MULTIPLIERS[0]
    state = (state ^ _shift_right(state, 27)) * MULTIPLIERS[1]
    return state ^ _shift_right(state, 31)


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """Return a logical right shift; torch's own shift of signed integers repeats the sign bit."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
