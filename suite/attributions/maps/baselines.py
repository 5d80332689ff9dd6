"""Replacements of deleted pixels."""

from collections.abc import Callable

import torch
from torch import Tensor

BLUR = 0.125
"""Standard deviation of the blur as a fraction of the longer side of the image: it removes shapes."""


def channel_mean(inputs: Tensor) -> Tensor:
    """Return images (n, c, h, w) in which every pixel has the mean of its channel."""
    return inputs.double().mean((2, 3), keepdim=True).to(inputs).expand_as(inputs).contiguous()


def blur(inputs: Tensor) -> Tensor:
    """Blur images (n, c, h, w) by a Gaussian of `BLUR` times their longer side, renormalized at the edges."""
    height, width = inputs.shape[2:]
    sd = BLUR * max(height, width)
    down, across = _gaussian_rows(height, sd).to(inputs.device), _gaussian_rows(width, sd).to(inputs.device)
    return (down @ inputs.double() @ across.T).to(inputs)


def black(inputs: Tensor) -> Tensor:
    """Return black images of the same shape."""
    return torch.zeros_like(inputs[:1]).expand_as(inputs)


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {"mean": channel_mean, "blur": blur}
"""Replacements in curves, by name. Both are reported, since the choice changes the ranking of methods."""

BLACK = "black"
"""Name of the replacement of occlusion."""

REPLACEMENTS: dict[str, Callable[[Tensor], Tensor]] = {**BASELINES, BLACK: black}
"""All replacements, by name."""


def _gaussian_rows(side: int, sd: float) -> Tensor:
    place = torch.arange(side, dtype=torch.float64)
    weights = torch.exp(-((place[:, None] - place[None, :]) ** 2) / (2 * sd**2))
    return weights / weights.sum(1, keepdim=True)
