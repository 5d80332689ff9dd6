"""Noise: Gaussian, shot and impulse.

Constants by severity are those of ImageNet-C (Hendrycks and Dietterich, "Benchmarking neural network robustness to
common corruptions and perturbations", ICLR 2019). Here and in the sibling modules, a corruption takes levels
(n, c, h, w) in 0..255, a severity from 1 to 5 and one seed per sample, int64 (n,). It returns levels of the same shape
that may lie outside 0..255; `suite.corruptions.catalogue.corrupt` truncates them to whole levels.
"""

import functools

import torch
from torch import Tensor

from suite.corruptions import draws

DEVIATIONS = (0.08, 0.12, 0.18, 0.26, 0.38)
"""Standard deviation of Gaussian noise, as a share of white."""

PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)
"""Mean number of photons of a white pixel."""

COLUMNS = 128
"""Columns of the alias tables, an upper bound of the photon counts."""

SHARES = 512
"""Resolution of the probability that a column yields its own count."""

AMOUNTS = (0.03, 0.06, 0.09, 0.17, 0.27)
"""Share of the values that are replaced by impulses."""


def gaussian_noise(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Add Gaussian noise to every value, like a sensor in low light."""
    noise = draws.normal(seeds, 0, levels.shape[1:])
    return noise.mul_(255 * DEVIATIONS[severity - 1]).add_(levels)


def shot_noise(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Replace every value by a Poisson count with that mean, because light arrives in photons.

    The mean is rounded to 8 bits, which changes nothing for an 8-bit image. Counts are drawn by the alias method
    (Walker 1977): seven bits choose one of 128 columns, and nine bits choose between its own count and its alias.
    """
    photons = PHOTONS[severity - 1]
    random = draws.bits(seeds, 0, levels.shape[1:]).int()
    column = random & (COLUMNS - 1)
    index = levels.round().clamp_(0, 255).int().mul_(COLUMNS).add_(column)
    packed = _aliases(photons, levels.device).index_select(0, index.flatten()).reshape(index.shape)
    own = random.bitwise_right_shift_(7).bitwise_and_(SHARES - 1) < (packed & (2 * SHARES - 1))
    counts = torch.where(own, column, packed.bitwise_right_shift_(10))
    return counts.to(levels.dtype).mul_(255 / photons)


@functools.lru_cache(maxsize=2 * len(PHOTONS))
def _aliases(photons: float, device: torch.device) -> Tensor:
    """Return, for every level and column, alias * 1024 + the probability of the column's own count in 512ths, int32."""
    means = torch.arange(256, dtype=torch.float64)[:, None] * (photons / 255)
    counts = torch.arange(COLUMNS, dtype=torch.float64)
    left = (torch.special.xlogy(counts, means) - means - torch.lgamma(counts + 1)).exp() * COLUMNS
    left *= COLUMNS / left.sum(dim=1, keepdim=True)
    share, alias = torch.ones_like(left), torch.arange(COLUMNS).repeat(256, 1)
    full = torch.zeros_like(left, dtype=torch.bool)
    for _ in range(COLUMNS - 1):
        # Fill the emptiest open column from the fullest one, which may drop below average.
        poor = left.masked_fill(full, torch.inf).argmin(dim=1, keepdim=True)
        rich = left.masked_fill(full, -torch.inf).argmax(dim=1, keepdim=True)
        own = left.gather(1, poor).clamp(max=1.0)
        share.scatter_(1, poor, own)
        alias.scatter_(1, poor, rich)
        full.scatter_(1, poor, True)
        left.scatter_add_(1, rich, own - 1)
    return (alias * 2 * SHARES + (share * SHARES).round().long()).int().flatten().to(device)


def impulse_noise(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Replace some values by black or white with equal probability, like flipped bits."""
    half = round(AMOUNTS[severity - 1] / 2 * draws.LEVELS)
    numbers = draws.bits(seeds, 0, levels.shape[1:])
    # Steep ramps are faster than masks: far above white beyond one threshold, far below black beyond the other, and
    # without effect in between. The caller clips values outside 0..255.
    ramp = numbers.to(levels.dtype).mul_(512)
    white = ramp.sub(512 * (draws.LEVELS // 2 - half) - 256)
    return torch.minimum(torch.maximum(levels, white), ramp.add_(512 * (draws.LEVELS // 2 - half) + 256))
