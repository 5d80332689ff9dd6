"""A small convolutional autoencoder whose code is a Gaussian, or a point."""

import math

from torch import Tensor, nn

from suite.models.adapters.autoencoder import TorchAutoencoder
from suite.models.recipe import Recipe


class ConvAutoencoder(nn.Module):
    """Two strided convolutions to a code and two transposed ones back.

    Nothing looks at more than one image, so that no statistic leaks between them. The decoder ends with one logit per
    pixel: the pixel is 1 with probability sigmoid(logit), independently of the others given the code.

    Args:
        shape: (channels, height, width) of the images.
        latent: numbers in a code.
        width: channels of the outer convolution; the inner one has twice as many.
        hidden: units between the maps and the code.
        variational: whether a code is a Gaussian; else it is a point.
        dropout: share of hidden units dropped in training.
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
        """The encoder's last convolution, the one that Grad-CAM reads."""
        return self.encoder[3]

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mean and log variance of the codes of images, each (n, latent); the latter is None for a point."""
        answer = self.encoder(pixels)
        if not self.variational:
            return answer, None
        mean, log_variance = answer.chunk(2, dim=1)
        return mean, log_variance

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
    """Return the network in its adapter with the recipe to train it; `full` for one that takes four times as long."""
    net = ConvAutoencoder(shape, latent=latent, width=width, variational=variational)
    recipe = None if weights else Recipe(epochs=40 if full else 10, learning_rate=2e-3 if full else 3e-3)
    return TorchAutoencoder(
        net, shape=shape, variational=variational, weights=weights, recipe=recipe, layer=net.last_map
    )
