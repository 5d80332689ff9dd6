"""Small generators and critics of images, and the recipes to train them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from suite.errors import ModelError
from suite.models.adapters.generator import TorchGenerator
from suite.models.training.gan import GanRecipe

SMALLEST, LARGEST = 4, 8
"""Range of the side of a generator's first and a critic's last map."""

SLOW_CRITIC = GanRecipe(critic_rate=1e-3)
"""Critics without spectral norm have the learning rate of their generators."""

RECIPES: Mapping[str, GanRecipe] = MappingProxyType(
    {
        "dcgan": replace(SLOW_CRITIC, objective="bce", steps=900, momentum=(0.5, 0.99)),
        "wgan_gp": replace(SLOW_CRITIC, objective="wasserstein", penalty="between", critic_steps=2, steps=450),
        "dragan": replace(SLOW_CRITIC, objective="bce", penalty="around", steps=650),
        "sn_hinge": GanRecipe(objective="hinge", steps=1000),
    }
)
"""The quick recipes by name; each takes about half a minute for digits on one CPU core."""

LONGER, CHECKPOINTS, INERTIA = 5, 20, 0.999
"""Factor of the steps, number of checkpoints and decay of the weight average in the full recipes."""

WIDTH = 64
"""Channels of the generator's first map."""


def preset(name: str, shape: tuple[int, ...], *, latent: int, full: bool, weights: str | Path | None) -> TorchGenerator:
    """Return a generator with its critic and its recipe.

    Args:
        name: key of `RECIPES`.
        shape: shape of the task's images.
        latent: size of a latent.
        full: train longer.
        weights: a file of weights; None to train.
    """
    recipe = RECIPES[name]
    if full:
        recipe = replace(recipe, steps=LONGER * recipe.steps, checkpoints=CHECKPOINTS, inertia=INERTIA)
    return TorchGenerator(
        Pair(shape, latent=latent, width=WIDTH, spectral=name == "sn_hinge"), weights=weights, recipe=recipe
    )


class Pair(nn.Module):
    """A generator of images and its critic.

    Args:
        shape: (channels, height, width) of the images, square, with a side that is 4 to 8 times a power of two.
        latent: size of a latent.
        width: channels of the first map of the generator.
        spectral: spectral normalization of the critic (Miyato et al. 2018).
    """

    def __init__(self, shape: tuple[int, ...], *, latent: int = 32, width: int = 128, spectral: bool = False) -> None:
        super().__init__()
        doublings = _doublings(shape)
        self.latent = latent
        self.generator = Generator(shape, latent, width, doublings)
        self.critic = Critic(shape, width // 2, doublings, spectral)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (n, c, h, w) in [0, 1] for latents (n, latent)."""
        images: Tensor = self.generator(latents)
        return images


class Generator(nn.Module):
    """A DCGAN generator (Radford et al. 2015): a linear layer, transposed convolutions that double the side, a sigmoid.

    Its batch norms use stored statistics in evaluation mode, where no image depends on the others of its batch.
    """

    def __init__(self, shape: tuple[int, ...], latent: int, width: int, doublings: int) -> None:
        super().__init__()
        channels, side = shape[0], shape[1] >> doublings
        self.start = (width, side, side)
        self.first = nn.Linear(latent, width * side * side)
        layers: list[nn.Module] = [nn.BatchNorm2d(width), nn.ReLU()]
        for _ in range(doublings - 1):
            narrow = max(width // 2, 16)
            layers += [nn.ConvTranspose2d(width, narrow, 4, stride=2, padding=1), nn.BatchNorm2d(narrow), nn.ReLU()]
            width = narrow
        self.body = nn.Sequential(*layers)
        self.last = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images (n, c, h, w) in [0, 1]."""
        return torch.sigmoid(self.last(self.body(self.first(latents).view(-1, *self.start))))


class Critic(nn.Module):
    """Convolutions that halve the side, and a linear layer to one score, higher for real images."""

    def __init__(self, shape: tuple[int, ...], width: int, doublings: int, spectral: bool) -> None:
        super().__init__()
        channels, side = shape[0], shape[1] >> doublings
        normed = spectral_norm if spectral else _unchanged
        layers: list[nn.Module] = []
        for _ in range(doublings):
            layers += [normed(nn.Conv2d(channels, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.1)]
            channels, width = width, 2 * width
        layers += [normed(nn.Conv2d(channels, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.1), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.last = normed(nn.Linear(width * (side // 2) ** 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (n,) of images (n, c, h, w) in [0, 1]."""
        scores: Tensor = self.last(self.body(2 * images - 1))
        return scores[:, 0]


def _unchanged(module: nn.Module) -> nn.Module:
    return module


def _doublings(shape: tuple[int, ...]) -> int:
    """Return how often a side of 4 to 8 is doubled to reach that of the images."""
    side, doublings = shape[1], 0
    while side > LARGEST and side % 2 == 0:
        side, doublings = side // 2, doublings + 1
    if shape[1] != shape[2] or not SMALLEST <= side <= LARGEST or not doublings:
        raise ModelError(
            f"got images of {shape[1]} x {shape[2]} pixels; expected square images whose side is {SMALLEST} to "
            f"{LARGEST} times a power of two, such as 28, 32 or 64. Set size=32 for the task."
        )
    return doublings
