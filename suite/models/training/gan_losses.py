"""Losses of generators and critics, per image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import softplus

Critic = Callable[[Tensor], Tensor]
"""Images (n, c, h, w) to scores (n,), higher for real images."""

Penalty = Callable[[Critic, Tensor, Tensor, torch.Generator], Tensor]
"""(critic, real images, generated images, random generator) to a term of the critic's loss, (n,)."""


@dataclass(frozen=True)
class Objective:
    """The losses that critic and generator minimize.

    Attributes:
        critic: scores of real images and of equally many generated ones to the critic's loss, (n,).
        generator: scores of generated images to the generator's loss, (n,).
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "bce": Objective(lambda real, fake: softplus(-real) + softplus(fake), lambda fake: softplus(-fake)),
        "hinge": Objective(lambda real, fake: (1 - real).relu() + (1 + fake).relu(), lambda fake: -fake),
        "wasserstein": Objective(lambda real, fake: fake - real, lambda fake: -fake),
    }
)
"""``bce``: cross-entropy, non-saturating for the generator (Goodfellow et al. 2014); ``hinge``: Lim and Ye 2017;
``wasserstein``: Arjovsky et al. 2017."""

NOISE = 0.5
"""Standard deviation of the noise added to real images, relative to that of their pixels."""


def gradient_penalty(critic: Critic, points: Tensor) -> Tensor:
    """Return the squared difference of the critic's gradient norm from one, (n,), differentiable in its weights."""
    inputs = points.detach().requires_grad_(True)
    with torch.enable_grad():
        gradient = torch.autograd.grad(critic(inputs).sum(), inputs, create_graph=True)[0]
    norms = (gradient.flatten(1).square().sum(dim=1) + 1e-12).sqrt()  # sqrt is not differentiable at 0
    return (norms - 1).square()


def between(critic: Critic, real: Tensor, generated: Tensor, rng: torch.Generator) -> Tensor:
    """Return the gradient penalty at random points between real and generated images (Gulrajani et al. 2017)."""
    share = torch.rand(len(real), 1, 1, 1, generator=rng).to(real)
    return gradient_penalty(critic, share * real + (1 - share) * generated)


def around(critic: Critic, real: Tensor, generated: Tensor, rng: torch.Generator) -> Tensor:
    """Return the gradient penalty at real images with Gaussian noise (DRAGAN, Kodali et al. 2017)."""
    noise = torch.randn(real.shape, generator=rng).to(real)
    return gradient_penalty(critic, real + NOISE * real.std() * noise)


PENALTIES: Mapping[str, Penalty | None] = MappingProxyType({"none": None, "between": between, "around": around})
"""Penalties on the critic's gradient by name."""
