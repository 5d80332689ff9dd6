"""Maps that ask no model: the middle of the image, and its edges.

Both look like explanations, and pass for them by eye: objects are photographed in the middle, and an edge detector
draws their outline. Adebayo et al. (2018, Sanity Checks for Saliency Maps) showed that some methods give nearly the
same map for a trained and a randomised model, which an edge detector does too. A method that does not do better than
these baselines may have found the image, and not what the model makes of it.
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
    """Point at the middle of the image, the same for all samples: a baseline that knows nothing of the model.

    Attributes:
        sd: standard deviation of the Gaussian, as a part of each side of the image.
    """

    sd: float = 0.25
    magnitude: ClassVar[bool] = True
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return a Gaussian around the middle, 1 at most, shared out evenly over the channels, (n, c, h, w)."""
        if not self.sd > 0:
            raise ModelError(f"got sd={self.sd} for the prior of the centre; expected a number above 0, such as 0.25.")
        channels, height, width = explained.inputs.shape[1:]
        bump = self._profile(height)[:, None] * self._profile(width)
        return (bump / channels).to(explained.inputs).expand_as(explained.inputs)

    def _profile(self, side: int) -> Tensor:
        place = (torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5
        return torch.exp(-((place / self.sd) ** 2) / 2)


@attribution(name="edges")
@dataclass(frozen=True)
class Edges:
    """Point at the edges of the image: a baseline that sees the image and knows nothing of the model.

    The test of Adebayo et al. 2018: an edge detector passes for an explanation, because people see the object in it.
    """

    magnitude: ClassVar[bool] = True
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return the length of the Sobel gradient in each channel, (n, c, h, w); borders repeat their last pixel."""
        inputs = explained.inputs.detach()
        padded = functional.pad(inputs, (1, 1, 1, 1), mode="replicate")
        across = _smooth(padded, 2)[..., 2:] - _smooth(padded, 2)[..., :-2]
        down = _smooth(padded, 3)[..., 2:, :] - _smooth(padded, 3)[..., :-2, :]
        return (across**2 + down**2).sqrt()


def _smooth(padded: Tensor, axis: int) -> Tensor:
    """Weigh each pixel 2 and its two neighbours along an axis 1, which shortens the axis by two."""
    size = padded.shape[axis] - 2
    before, here, after = (padded.narrow(axis, start, size) for start in range(3))
    return before + 2 * here + after
