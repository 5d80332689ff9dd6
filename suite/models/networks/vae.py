"""A small convolutional autoencoder, variational or deterministic."""

import math

from torch import Tensor, nn

from suite.models.adapters.autoencoder import TorchAutoencoder
from suite.models.recipe import Recipe


class ConvAutoencoder(nn.Module):
    """Two strided convolutions to a code and two transposed convolutions back.

    It has no batch norm, so no statistics leak between images. The decoder returns one logit per pixel: given the code,
    pixels are independent and 1 with probability sigmoid(logit).

    Args:
        shape: (channels, height, width) of the images.
        latent: size of a code.
        width: channels of the outer convolution; the inner one has twice as many.
        hidden: units between the maps and the code.
        variational: whether codes are Gaussian; otherwise they are deterministic.
        dropout: dropout rate of the hidden units.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        latent: int = 16,
        width: int = 32,
        hidden: int = 256,
        variational: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, self.height, self.across = shape
        self.variational = variational
        grid = (2 * width, math.ceil(self.height / 4), math.ceil(self.across / 4))
        inner = math.prod(grid)
        self.encoder = nn.Sequential(
            nn.ZeroPad2d((0, 4 * grid[2] - self.across, 0, 4 * grid[1] - self.height)),
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(inner, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, 2 * latent if variational else latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, inner),
            nn.SiLU(),
            nn.Unflatten(1, grid),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
        )

    @property
    def last_map(self) -> nn.Module:
        """The encoder's last convolution, for Grad-CAM."""
        return self.encoder[3]

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and log variance of the codes of images, (n, latent) each; None for deterministic codes."""
        code = self.encoder(pixels)
        return tuple(code.chunk(2, dim=1)) if self.variational else (code, None)

    def decode(self, codes: Tensor) -> Tensor:
        """Return logits of pixels (n, channels, height, width) for codes (n, latent)."""
        maps: Tensor = self.decoder(codes)
        return maps[:, :, : self.height, : self.across]


def autoencoder(
    shape: tuple[int, ...],
    *,
    latent: int = 16,
    width: int = 32,
    variational: bool = True,
    full: bool = False,
    weights: str | None = None,
) -> TorchAutoencoder:
    """Return the autoencoder with a recipe to train it; `full` trains four times as long."""
    net = ConvAutoencoder(shape, latent=latent, width=width, variational=variational)
    recipe = None if weights else Recipe(epochs=40 if full else 10, learning_rate=2e-3 if full else 3e-3)
    return TorchAutoencoder(
        net, shape=shape, variational=variational, weights=weights, recipe=recipe, layer=net.last_map
    )
