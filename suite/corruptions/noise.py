"""Noise: gaussian, shot and impulse.

Constants by severity are those of ImageNet-C (Hendrycks and Dietterich, "Benchmarking neural network robustness to
common corruptions and perturbations", ICLR 2019). Here and in the sibling modules a corruption takes levels
(n, c, h, w) in 0..255, a severity from 1 to 5 and one seed per sample, int64 (n,), and returns levels of the same
shape that may leave 0..255; `suite.corruptions.catalogue.corrupt` cuts them to whole levels.
"""

import functools

import torch
from torch import Tensor

from suite.corruptions import draws

DEVIATIONS = (0.08, 0.12, 0.18, 0.26, 0.38)
"""Standard deviation of gaussian noise, as a share of white."""

PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)
"""Photons that a white pixel counts on average."""

COLUMNS = 128
"""Columns of the alias tables: more photons than that reach no pixel."""

SHARES = 512
"""Resolution of the share that a column gives to its own count."""

AMOUNTS = (0.03, 0.06, 0.09, 0.17, 0.27)
"""Share of the values that impulses replace."""


def gaussian_noise(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Add normal noise to every value: a sensor in low light."""
    noise = draws.normal(seeds, 0, levels.shape[1:])
    return noise.mul_(255 * DEVIATIONS[severity - 1]).add_(levels)


def shot_noise(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Replace every value by a Poisson count of that mean: light arrives in photons.

    The mean is rounded to 8 bits, which an image of 8 bits does not notice. Counts are drawn by the alias method
    (Walker 1977): seven bits choose one of 128 columns, nine say whether its own count or its alias holds.
    """
    photons = PHOTONS[severity - 1]
    random = draws.bits(seeds, 0, levels.shape[1:]).int()
    column = random & (COLUMNS - 1)
    place = levels.round().clamp_(0, 255).int().mul_(COLUMNS).add_(column)
    packed = _aliases(photons, levels.device).index_select(0, place.flatten()).reshape(place.shape)
    own = random.bitwise_right_shift_(7).bitwise_and_(SHARES - 1) < (packed & (2 * SHARES - 1))
    counts = torch.where(own, column, packed.bitwise_right_shift_(10))
    return counts.to(levels.dtype).mul_(255 / photons)


@functools.lru_cache(maxsize=2 * len(PHOTONS))
def _aliases(photons: float, device: torch.device) -> Tensor:
    """Return for every shade and column the alias * 1024 + the share of the column's own count in 512ths, int32."""
    means = torch.arange(256, dtype=torch.float64)[:, None] * (photons / 255)
    counts = torch.arange(COLUMNS, dtype=torch.float64)
    left = (torch.special.xlogy(counts, means) - means - torch.lgamma(counts + 1)).exp() * COLUMNS
    left *= COLUMNS / left.sum(dim=1, keepdim=True)
    share, alias = torch.ones_like(left), torch.arange(COLUMNS).repeat(256, 1)
    full = torch.zeros_like(left, dtype=torch.bool)
    for _ in range(COLUMNS - 1):
        # The poorest open column is filled up by the richest, which may become poor by it.
        poor = left.masked_fill(full, torch.inf).argmin(dim=1, keepdim=True)
        rich = left.masked_fill(full, -torch.inf).argmax(dim=1, keepdim=True)
        own = left.gather(1, poor).clamp(max=1.0)
        share.scatter_(1, poor, own)
        alias.scatter_(1, poor, rich)
        full.scatter_(1, poor, True)
        left.scatter_add_(1, rich, own - 1)
    return (alias * 2 * SHARES + (share * SHARES).round().long()).int().flatten().to(device)


def impulse_noise(levels: Tensor, severity: int, seeds: Tensor) -> Tensor:
    """Replace some values by black or white, as likely one as the other: bits that flipped."""
    half = round(AMOUNTS[severity - 1] / 2 * draws.LEVELS)
    places = draws.bits(seeds, 0, levels.shape[1:])
    # Steep ramps instead of masks, which are slower: far above white from the one threshold on, far below black under
    # the other, and without effect in between. Values beyond 0..255 are cut by the caller.
    ramp = places.to(levels.dtype).mul_(512)
    white = ramp.sub(512 * (draws.LEVELS // 2 - half) - 256)
    return torch.minimum(torch.maximum(levels, white), ramp.add_(512 * (draws.LEVELS // 2 - half) + 256))
