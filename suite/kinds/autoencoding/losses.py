"""What an autoencoder's answer costs: the pixels of the clean image given the code, and the code itself.

All of it in bits per dimension of the image. Pixels whose target is NaN do not count. The decoder is asked at the mean
of a code, so that answers are not random; what it costs then can lie below -log p, and bounds no likelihood. A plain
autoencoder's codes are points that cost nothing.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
from scipy.special import xlogy
from torch import Tensor, nn

from suite.errors import AttackError, SpecError, did_you_mean
from suite.kinds.base import Array
from suite.models.adapters.autoencoder import Answer, parts
from suite.models.adapters.evidence import divergences


def answer(output: Tensor, targets: Tensor) -> Answer:
    """Return the parts of outputs (n, pixels + 2 * latent), whose images are targets (n, c, h, w)."""
    return parts(output, math.prod(targets.shape[1:]))


def reconstruction(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of the pixels that count, in bits, (n,); 0 where none does."""
    truth, counted = targets.to(output).flatten(1), ~targets.isnan().flatten(1)
    each = nn.functional.binary_cross_entropy_with_logits(
        answer(output, targets).logits, torch.where(counted, truth, 0.0), reduction="none"
    )
    return (each * counted).sum(dim=1) / (counted.sum(dim=1).clamp_min(1) * math.log(2))


def divergence(output: Tensor, targets: Tensor) -> Tensor:
    """Return KL(q(z | x) || p(z)) in bits per dimension of the whole image, (n,); 0 where codes are points."""
    known = answer(output, targets)
    each = torch.where(known.spread, divergences(known.mean, known.log_variance), 0.0)
    return each.sum(dim=1) / (math.prod(targets.shape[1:]) * math.log(2))


def shift(before: Answer, after: Answer) -> Tensor:
    """Return KL(p || q) + KL(q || p) between the distributions of two codes of each image, in nats, (n,).

    In closed form for normal distributions with independent numbers; used of attacks by Kuzina et al. 2022.
    """
    first, second = (known.log_variance.double() for known in (before, after))
    apart = (before.mean.double() - after.mean.double()).square()
    both = (first - second).exp() + (second - first).exp() + apart * ((-first).exp() + (-second).exp())
    return (both / 2 - 1).sum(dim=1)


def code_length(output: Tensor, targets: Tensor) -> Tensor:
    """Return `reconstruction` + `divergence`, in bits per dimension, (n,).

    The decoder is asked at the mean of the code: it is the negative evidence lower bound but for that, and random
    draws would make the answer to an attack random.
    """
    return reconstruction(output, targets) + divergence(output, targets)


def damage(output: Tensor, targets: Tensor, reference: float = 1.0) -> Tensor:
    """Return 1 - 2^-(code length / reference), (n,) in [0, 1).

    With a reference of one bit, which is what pixels cost that are sent as they are, it is 1 minus the geometric mean
    probability that a pixel is given; a pixel bears its share of the code. Half is reached at the reference.
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
"""The losses by name; ``ce`` is what presets of all kinds can ask for. What ranks by damage ranks by code length."""


def independent(train: Array) -> Array:
    """Return the mean of each pixel of training images (n, c, h, w), as float64 (c * h * w,).

    One image of each value is added to them, so that no pixel is impossible.
    """
    flat = train.reshape(len(train), -1).astype(np.float64)
    return np.asarray((flat.sum(axis=0) + 1) / (len(flat) + 2))


def independent_nats(images: Array, chance: Array) -> Array:
    """Return -log p of images (n, c, h, w) under independent pixels with these means, in nats, (n,)."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    return np.asarray(-(xlogy(flat, chance) + xlogy(1 - flat, 1 - chance)).sum(axis=1))


def attack_loss(output: Tensor, targets: Tensor, name: str, target_classes: Tensor | None = None) -> Tensor:
    """Return a loss per image (n,) in float64.

    Raises:
        SpecError: the loss is unknown.
        AttackError: target classes are given.
    """
    loss = LOSSES.get(name)
    if loss is None:
        raise SpecError(f"Autoencoding has no attack loss {name!r}.{did_you_mean(name, LOSSES)}")
    if target_classes is not None:
        raise AttackError("An attack on an autoencoder has no class as its goal; leave the goal out.")
    return loss(output.double(), targets)
