"""Random numbers per sample, sixteen bits each: enough for images of eight bits, and as fast as the arithmetic.

A sample's numbers come from a generator of its own that starts from `suite.attacks.rng`'s mix of seed and
stream,
so that they follow from its seed alone, in any company. The generator runs on the processor, where it takes half the
time of counting, and the numbers travel to the device of the seeds: every device sees the same ones.
"""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from suite.attacks.rng import integers

LEVELS = 2**16
"""How many different numbers are drawn."""


def bits(seeds: Tensor, stream: int, shape: Sequence[int]) -> Tensor:
    """Return whole numbers, uniform in -32768..32767, as int16 (n, *shape); `stream` tells apart what they are for."""
    count = math.prod(shape)
    words = torch.empty((len(seeds), -(-count // 4)), dtype=torch.int64)
    for row, start in zip(words, integers(seeds, stream, 1)[:, 0].tolist(), strict=True):
        row.random_(-(2**63), None, generator=torch.Generator().manual_seed(start))
    return words.view(torch.int16)[:, :count].reshape(len(seeds), *shape).to(seeds.device)


def uniform(seeds: Tensor, stream: int, shape: Sequence[int]) -> Tensor:
    """Return numbers uniform in (0, 1), float32 (n, *shape)."""
    return bits(seeds, stream, shape).float().add_(LEVELS / 2 + 0.5).mul_(1 / LEVELS)


def normal(seeds: Tensor, stream: int, shape: Sequence[int]) -> Tensor:
    """Return standard normal numbers, cut at 4.3 on both sides, float32 (n, *shape)."""
    places = bits(seeds, stream, shape).int().add_(LEVELS // 2)
    return _normal_quantiles(seeds.device).index_select(0, places.flatten()).reshape(places.shape)


@functools.lru_cache(maxsize=4)
def _normal_quantiles(device: torch.device) -> Tensor:
    """Return the quantiles of the normal distribution in the middle of equal shares, (65536,)."""
    shares = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles.float().to(device)
