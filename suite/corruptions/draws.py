"""Random numbers per sample with 16 bits each: enough for 8-bit images, and as fast as the arithmetic.

Each sample has its own generator, seeded by `suite.attacks.rng` from its seed and the stream, so its numbers do not
depend on the batch. The generators run on the CPU, where they take half the time of a counter-based generator, and the
numbers are copied to the device of the seeds: they are the same on every device.
"""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from suite.attacks.rng import integers

LEVELS = 2**16
"""Number of different values."""


def bits(seeds: Tensor, stream: int, shape: Sequence[int]) -> Tensor:
    """Return integers, uniform in -32768..32767, as int16 (n, *shape); different streams are independent."""
    count = math.prod(shape)
    rows = torch.empty((len(seeds), -(-count // 4)), dtype=torch.int64)
    for row, start in zip(rows, integers(seeds, stream, 1)[:, 0].tolist(), strict=True):
        row.random_(-(2**63), None, generator=torch.Generator().manual_seed(start))
    return rows.view(torch.int16)[:, :count].reshape(len(seeds), *shape).to(seeds.device)


def uniform(seeds: Tensor, stream: int, shape: Sequence[int]) -> Tensor:
    """Return numbers uniform in (0, 1), float32 (n, *shape)."""
    return bits(seeds, stream, shape).float().add_(LEVELS / 2 + 0.5).mul_(1 / LEVELS)


def normal(seeds: Tensor, stream: int, shape: Sequence[int]) -> Tensor:
    """Return standard normal numbers, truncated at 4.3 standard deviations, float32 (n, *shape)."""
    indices = bits(seeds, stream, shape).int().add_(LEVELS // 2)
    return _normal_quantiles(seeds.device).index_select(0, indices.flatten()).reshape(indices.shape)


@functools.lru_cache(maxsize=4)
def _normal_quantiles(device: torch.device) -> Tensor:
    """Return the quantiles of the normal distribution at the centers of 65,536 equal shares, (65536,)."""
    shares = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    quantiles: Tensor = torch.special.ndtri(shares)
    return quantiles.float().to(device)
