"""The losses that generators and critics are trained by, per image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import softplus

Critic = Callable[[Tensor], Tensor]
"""Images (n, c, h, w) to scores (n,), the higher the more real."""

Penalty = Callable[[Critic, Tensor, Tensor, torch.Generator], Tensor]
"""(critic, real images, generated images, random numbers) to what is added to the critic's loss, per image (n,)."""


@dataclass(frozen=True)
class Objective:
    """What the two contestants lower.

    Attributes:
        critic: scores of as many real and generated images to the critic's loss, (n,).
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
"""Deviation of the noise round real images, in units of that of their pixels."""


def slope_penalty(critic: Critic, points: Tensor) -> Tensor:
    """Return the squared difference of the critic's slope from one, (n,), differentiable in its weights."""
    at = points.detach().requires_grad_(True)
    with torch.enable_grad():
        gradient = torch.autograd.grad(critic(at).sum(), at, create_graph=True)[0]
    # The norm of a gradient of exactly 0 has no derivative.
    slopes = (gradient.flatten(1).square().sum(dim=1) + 1e-12).sqrt()
    return (slopes - 1).square()


def between(critic: Critic, real: Tensor, generated: Tensor, numbers: torch.Generator) -> Tensor:
    """Penalise slopes at random places between real and generated images (Gulrajani et al. 2017)."""
    share = torch.rand(len(real), 1, 1, 1, generator=numbers).to(real)
    return slope_penalty(critic, share * real + (1 - share) * generated)


def around(critic: Critic, real: Tensor, generated: Tensor, numbers: torch.Generator) -> Tensor:
    """Penalise slopes at real images with normal noise (DRAGAN, Kodali et al. 2017)."""
    noise = torch.randn(real.shape, generator=numbers).to(real)
    return slope_penalty(critic, real + NOISE * real.std() * noise)


PENALTIES: Mapping[str, Penalty | None] = MappingProxyType({"none": None, "between": between, "around": around})
"""Penalties on the critic's gradient by name."""
