"""Baseline maps that ignore the model: the center of the image, and its edges.

Both look plausible: objects are photographed in the center, and an edge detector draws their outline. Adebayo et al.
(2018, Sanity Checks for Saliency Maps) show that some methods give nearly the same map for a trained and a randomized
model, as an edge detector does. A method that is not better than these baselines may explain the image rather than the
model.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from suite.attributions.maps.explained import Explained
from suite.decorators import attribution
from suite.errors import ModelError


@attribution(name="centre")
@dataclass(frozen=True)
class Centre:
    """A Gaussian at the center of the image, the same for all samples: a baseline that ignores the model.

    Attributes:
        sd: standard deviation of the Gaussian, as a fraction of each side of the image.
    """

    sd: float = 0.25
    magnitude: ClassVar[bool] = True
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return a Gaussian of height 1 at the center, distributed evenly over the channels, (n, c, h, w)."""
        if not self.sd > 0:
            raise ModelError(f"got sd={self.sd} for the center prior; expected a number above 0, such as 0.25.")
        channels, height, width = explained.inputs.shape[1:]
        bump = self._profile(height)[:, None] * self._profile(width)
        return (bump / channels).to(explained.inputs).expand_as(explained.inputs)

    def _profile(self, side: int) -> Tensor:
        place = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
        return torch.exp(-((place / self.sd) ** 2) / 2)


@attribution(name="edges")
@dataclass(frozen=True)
class Edges:
    """The edges of the image: a baseline that uses the image but ignores the model (Adebayo et al. 2018)."""

    magnitude: ClassVar[bool] = True
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return the magnitude of the Sobel gradient in each channel, (n, c, h, w), with replicated borders."""
        inputs = explained.inputs.detach()
        padded = functional.pad(inputs, (1, 1, 1, 1), mode="replicate")
        across = _smooth(padded, 2)[..., 2:] - _smooth(padded, 2)[..., :-2]
        down = _smooth(padded, 3)[..., 2:, :] - _smooth(padded, 3)[..., :-2, :]
        return (across**2 + down**2).sqrt()


def _smooth(padded: Tensor, axis: int) -> Tensor:
    """Convolve with (1, 2, 1) along an axis, which shortens the axis by two."""
    size = padded.shape[axis] - 2
    before, here, after = (padded.narrow(axis, start, size) for start in range(3))
    return before + 2 * here + after
