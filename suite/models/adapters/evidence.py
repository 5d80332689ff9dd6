"""Likelihood bounds of an autoencoder: the evidence lower bound and its importance-weighted version."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

DRAWS = 100
"""Codes drawn at once. Constant, so that more draws start with those of fewer."""

Decode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evidence:
    """Bounds and estimates of -log p(x) of each image, in nats, float64 (n,).

    Attributes:
        reconstruction: mean of -log p(x | z) over codes z drawn from q(z | x).
        divergence: KL(q(z | x) || p(z)), in closed form.
        importance: -log of the mean of p(x, z) / q(z | x) over the draws: in expectation an upper bound, tighter with
            more draws (Burda et al. 2016).
    """

    reconstruction: Tensor
    divergence: Tensor
    importance: Tensor

    @property
    def negative_elbo(self) -> Tensor:
        """The negative evidence lower bound, in expectation an upper bound of -log p(x) (Kingma and Welling 2014)."""
        return self.reconstruction + self.divergence


def bernoulli(logits: Tensor, pixels: Tensor) -> Tensor:
    """Return -log p(pixels) under Bernoulli logits, summed over each image, float64 (n,), in nats."""
    each = nn.functional.binary_cross_entropy_with_logits(logits, pixels.expand_as(logits), reduction="none")
    return each.flatten(1).sum(dim=1, dtype=torch.float64)


def divergences(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) || N(0, 1)) per component of a code, (n, latent), in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def estimate_evidence(
    decode: Decode, pixels: Tensor, mean: Tensor, log_variance: Tensor, draws: int, seed: int
) -> Evidence:
    """Return the evidence for one image, each field 0-dimensional.

    Args:
        decode: codes (k, latent) to logits (k, channels, height, width).
        pixels: the image (channels, height, width), each pixel 0 or 1.
        mean: mean of its code, (latent,).
        log_variance: log variance of its code, (latent,).
        draws: number of codes.
        seed: seed of the draws; more draws start with those of fewer.
    """
    noise = torch.cat(draw_noise(draws, len(mean), seed, like=mean))[:draws]
    codes = mean + (log_variance / 2).exp() * noise
    errors = bernoulli(decode(codes), pixels[None])
    prior = codes.double().square().sum(dim=1)
    posterior = (noise.double().square() + log_variance.double()).sum(dim=1)
    weights = (posterior - prior) / 2 - errors
    return Evidence(
        errors.mean(),
        divergences(mean.double(), log_variance.double()).sum(),
        math.log(draws) - weights.logsumexp(dim=0),
    )


def draw_noise(draws: int, latent: int, seed: int, *, like: Tensor) -> list[Tensor]:
    """Return standard normal noise for at least `draws` draws, in parts (`DRAWS`, latent).

    It is drawn on the CPU, so that it does not depend on the device.
    """
    source = torch.Generator().manual_seed(seed)
    return [torch.randn(DRAWS, latent, generator=source).to(like) for _ in range(math.ceil(draws / DRAWS))]
