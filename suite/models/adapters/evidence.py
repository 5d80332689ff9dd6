"""What an autoencoder's likelihood is bounded by: the evidence lower bound and its importance-weighted sharpening."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

DRAWS = 100
"""Codes that are decoded at once. Fixed, so that neither batches nor the number of draws change a draw or its value."""

Decode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evidence:
    """What is known of -log p(x) of each image, in nats, float64 (n,).

    Attributes:
        reconstruction: mean of -log p(x | z) over codes z drawn from q(z | x).
        divergence: KL(q(z | x) || p(z)), in closed form.
        importance: -log of the mean of p(x, z) / q(z | x) over the draws: an upper bound on average, tighter with more
            draws (Burda et al. 2016).
    """

    reconstruction: Tensor
    divergence: Tensor
    importance: Tensor

    @property
    def negative_elbo(self) -> Tensor:
        """The negative evidence lower bound, an upper bound of -log p(x) on average (Kingma and Welling 2014)."""
        return self.reconstruction + self.divergence


def bernoulli(logits: Tensor, pixels: Tensor) -> Tensor:
    """Return -log p(pixels) of Bernoulli pixels with these logits, summed over each image, float64 (n,), in nats."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, pixels.expand_as(logits), reduction="none")
    return each.flatten(1).sum(dim=1, dtype=torch.float64)


def divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) || N(0, 1)) of every number of a code, (n, latent), in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def weighed(decode: Decode, pixels: Tensor, mean: Tensor, log_variance: Tensor, draws: int, seed: int) -> Evidence:
    """Return the evidence for one image, each field 0-dimensional.

    Args:
        decode: codes (k, latent) to logits (k, channels, height, width).
        pixels: the image (channels, height, width), each pixel 0 or 1.
        mean: of its code, (latent,).
        log_variance: of its code, (latent,).
        draws: codes that are drawn.
        seed: of the draws; the first draws of a longer list are those of a shorter one.
    """
    misses, ratios = [], []
    for noise in noises(draws, len(mean), seed, like=mean):
        codes = mean + (log_variance / 2).exp() * noise
        missed = bernoulli(decode(codes), pixels[None])
        prior, own = codes.double().square().sum(dim=1), (noise.double().square() + log_variance.double()).sum(dim=1)
        misses.append(missed)
        ratios.append((own - prior) / 2 - missed)
    weights = torch.cat(ratios)[:draws]
    importance = math.log(draws) - weights.logsumexp(dim=0)
    return Evidence(
        torch.cat(misses)[:draws].mean(),
        divergences(mean.double(), log_variance.double()).sum(),
        importance,
    )


def noises(draws: int, latent: int, seed: int, *, like: Tensor) -> list[Tensor]:
    """Return standard normal noise for some draws, in parts (`DRAWS`, latent) of which the last may be too long.

    It is drawn on the CPU, so that no device changes its numbers.
    """
    source = torch.Generator().manual_seed(seed)
    return [torch.randn(DRAWS, latent, generator=source).to(like) for _ in range(math.ceil(draws / DRAWS))]
