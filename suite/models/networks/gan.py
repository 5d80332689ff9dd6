"""Small networks of generators and critics of images."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from suite.errors import ModelError

SMALLEST, LARGEST = 4, 8
"""Side of the map that a generator begins with, and a critic ends with."""


class Pair(nn.Module):
    """A generator of images and its critic.

    Args:
        shape: (channels, height, width) of the images, square, with a side that halves to one of 4 to 8.
        latent: numbers that an image is made from.
        width: channels of the first map of the generator.
        spectral: hold the largest singular value of the critic's layers at one (Miyato et al. 2018).
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
    """A layer from latents to a small map, transposed convolutions that double its side, a logistic function.

    Between them stand batch norms, as in DCGAN (Radford et al. 2015): they look at a whole batch while training, and in
    evaluation at stored moments, so that then no image depends on its company.
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
        begun = self.first(latents).view(-1, *self.start)
        return torch.sigmoid(self.last(self.body(begun)))


class Critic(nn.Module):
    """Convolutions that halve the side, and one number at the end: the higher, the more real an image looks."""

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
    """Return how often a side of 4 to 8 is doubled to get that of the images."""
    side, doublings = shape[1], 0
    while side > LARGEST and side % 2 == 0:
        side, doublings = side // 2, doublings + 1
    if shape[1] != shape[2] or not SMALLEST <= side <= LARGEST or not doublings:
        raise ModelError(
            f"got images of {shape[1]} x {shape[2]} pixels; these networks make square ones whose side halves to "
            f"{SMALLEST} to {LARGEST}, such as 28, 32 or 64. Give the task size=32."
        )
    return doublings
