"""The code length of an image: that of its pixels given the code, plus that of the code, in bits per dimension.

Pixels whose target is NaN are ignored. The decoder is evaluated at the mean of the code, so that outputs are
deterministic; the code length can then be below -log p, and is no bound of the likelihood. A plain autoencoder's codes
are points of length 0.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from scipy.special import xlogy
from torch import Tensor, nn

from suite.kinds.base import Array
from suite.kinds.defaults import find_loss
from suite.metrics.catalogue import BoardColumn, Metric
from suite.models.adapters.autoencoder import AutoencoderOutput, split_output
from suite.models.adapters.evidence import divergences

CODE_LENGTH = Metric(
    "code_length",
    "code length",
    "cost of an image in bits per pixel: its code, plus the pixels given the mean of the code, so that attacks can be "
    "compared; 1 is the cost of an uncompressed black-and-white image; not a bound, unlike ELBO and NLL",
    unit="bit per dimension",
    higher_is_better=False,
    columns=(BoardColumn("code length"),),
    is_headline=True,
    tally=("reconstruction", "divergence"),
)

DIVERGENCE = Metric(
    "divergence", "divergence", "the part of the cost due to the code", unit="nat", higher_is_better=None
)

INDEPENDENT_PIXELS = Metric(
    "independent_pixels_nll",
    "NLL of independent pixels",
    "cost of an image if pixels were independent: the baseline to beat",
    unit="nat",
    higher_is_better=None,
)

ACTIVE_UNITS = Metric(
    "active_units",
    "active units",
    "number of latent dimensions that the model uses",
    unit="number of the code",
    higher_is_better=None,
)


def output_parts(output: Tensor, targets: Tensor) -> AutoencoderOutput:
    """Return the parts of outputs (n, pixels + 2 * latent) for images of the shape of targets (n, c, h, w)."""
    return split_output(output, math.prod(targets.shape[1:]))


def reconstruction(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of valid pixels, in bits, (n,); 0 where none is valid."""
    truth, valid = targets.to(output).flatten(1), ~targets.isnan().flatten(1)
    per_pixel = nn.functional.binary_cross_entropy_with_logits(
        output_parts(output, targets).logits, torch.where(valid, truth, 0.0), reduction="none"
    )
    return (per_pixel * valid).sum(dim=1) / (valid.sum(dim=1).clamp_min(1) * math.log(2))


def divergence(output: Tensor, targets: Tensor) -> Tensor:
    """Return KL(q(z | x) || p(z)) in bits per dimension of the whole image, (n,); 0 where codes are points."""
    nats = code_divergences(output_parts(output, targets)).sum(dim=1)
    return nats / (math.prod(targets.shape[1:]) * math.log(2))


def code_divergences(output: AutoencoderOutput) -> Tensor:
    """Return the divergence from the prior of each latent dimension, in nats, (n, latent); 0 where codes are points."""
    return torch.where(output.is_gaussian, divergences(output.mean, output.log_variance), 0.0)


def shift(before: AutoencoderOutput, after: AutoencoderOutput) -> Tensor:
    """Return KL(p || q) + KL(q || p) between the distributions of two codes of each image, in nats, (n,).

    In closed form for normal distributions with diagonal covariance; used for attacks by Kuzina et al. 2022.
    """
    first, second = before.log_variance.double(), after.log_variance.double()
    distance = (before.mean.double() - after.mean.double()).square()
    both = (first - second).exp() + (second - first).exp() + distance * ((-first).exp() + (-second).exp())
    return (both / 2 - 1).sum(dim=1)


def code_length(output: Tensor, targets: Tensor) -> Tensor:
    """Return `reconstruction` + `divergence`, in bits per dimension, (n,).

    It differs from the negative evidence lower bound in that the decoder is evaluated at the mean of the code: random
    draws would make the outcome of an attack random.
    """
    return reconstruction(output, targets) + divergence(output, targets)


def damage(output: Tensor, targets: Tensor, reference: float = 1.0) -> Tensor:
    """Return 1 - 2^-(code length / reference), (n,) in [0, 1).

    It is one half where the code length equals the reference. With a reference of one bit, the length of a raw binary
    pixel, it is 1 minus the geometric mean probability of a pixel, to which each pixel's share of the code is added.
    """
    return -torch.expm1(-code_length(output, targets) * (math.log(2) / reference))


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "ce": code_length,
        "code_length": code_length,
        "reconstruction": reconstruction,
        "kl": divergence,
        "damage": damage,
    }
)
"""The losses by name; ``ce`` exists in all kinds. Damage and code length rank images alike."""


def independent(train: Array) -> Array:
    """Return the mean of each pixel of training images (n, c, h, w), float64 (c * h * w,), with add-one smoothing."""
    flat = train.reshape(len(train), -1).astype(np.float64)
    return np.asarray((flat.sum(axis=0) + 1) / (len(flat) + 2))


def independent_nats(images: Array, means: Array) -> Array:
    """Return -log p of images (n, c, h, w) under independent pixels with these means, in nats, (n,)."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    return np.asarray(-(xlogy(flat, means) + xlogy(1 - flat, 1 - means)).sum(axis=1))


def attack_loss(output: Tensor, targets: Tensor, name: str, target_classes: Tensor | None = None) -> Tensor:
    """Return a loss per image (n,) in float64.

    Raises:
        SpecError: the loss is unknown.
        AttackError: target classes are given.
    """
    return find_loss(LOSSES, "Autoencoding", name, target_classes)(output.double(), targets)
