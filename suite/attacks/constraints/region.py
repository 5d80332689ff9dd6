"""A region: anything goes inside a mask, and nothing outside; squares at random or given places."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from suite.attacks.constraints.base import CONTROL, Bounded, limited
from suite.attacks.rng import as_seeds, uniform
from suite.errors import AttackError, SpecError


@dataclass(frozen=True, eq=False, kw_only=True)
class Region(Bounded):
    """Perturbations of the places inside a mask, by any amount. There is no radius: eps is ignored, also where it is 0.

    Attributes:
        mask: bool (n, 1, height, width), or (1, 1, height, width) for all samples.
    """

    mask: Tensor

    norm = "region"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask.dtype != torch.bool or self.mask.ndim != 4 or self.mask.shape[1] != 1:
            got = f"{self.mask.dtype} {tuple(self.mask.shape)}"
            raise SpecError(f"mask={got}; expected torch.bool (n, 1, height, width), true where pixels may change.")

    def size(self, delta: Tensor) -> Tensor:
        """Return how many places outside the mask change, (n,) in float64."""
        changed = (delta.detach() != 0).any(dim=1, keepdim=True)
        return (changed & ~self._mask(delta)).flatten(1).sum(dim=1).double()

    def project(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the point inside the mask, clamped to the bounds, and the clean sample outside."""
        return torch.where(self._mask(clean), point.clamp(*self.bounds), clean)

    clip = project

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return the sign of the gradient inside the mask."""
        return gradient.sign().mul_(self._mask(gradient))

    def start(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor, stream: int | Tensor) -> Tensor:
        """Return clean samples with uniformly random pixels inside the mask."""
        low, high = self.bounds
        drawn = uniform(as_seeds(seeds, clean.device), stream, clean.shape[1:]).to(clean)
        return self.project(low + (high - low) * drawn, clean, eps)

    def control(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return clean samples with uniformly random pixels inside the mask."""
        return self.start(clean, eps, seeds, CONTROL)

    def excess(self, clean: Tensor, adversarial: Tensor, eps: Tensor) -> Tensor:
        """Return how many places outside the mask change, (n,) in float64."""
        sizes = self.size(adversarial.double() - clean.double())
        return limited(sizes, torch.zeros_like(sizes))

    def rows(self, index: Tensor) -> Self:
        """Return the regions of some of the samples; one mask for all samples stays as it is."""
        return self if len(self.mask) == 1 else replace(self, mask=self.mask[index.to(self.mask.device)])

    def _mask(self, pixels: Tensor) -> Tensor:
        if len(self.mask) not in (1, len(pixels)) or self.mask.shape[2:] != pixels.shape[2:]:
            raise AttackError(
                f"A mask of shape {tuple(self.mask.shape)} does not fit samples of shape {tuple(pixels.shape)}; "
                "give one mask per sample, or a single one, of the same height and width."
            )
        return self.mask.to(pixels.device)


def square_side(height: int, width: int, area_share: float) -> int:
    """Return the side of the largest square of whole pixels that covers no more than a share of the area.

    Raises:
        AttackError: not even one pixel fits.
    """
    allowed = int(area_share * height * width * (1 + 1e-9))  # 25/144 of 144 pixels is 25 pixels, not 24.999
    if allowed < 1:
        raise AttackError(f"A square of area {area_share:g} covers less than one pixel of {height}x{width}; give more.")
    return min(height, width, math.isqrt(allowed))


def random_corners(seeds: Tensor, stream: int, free: tuple[int, int]) -> Tensor:
    """Return an upper left corner (row, column) per sample, int64 (n, 2), uniform over the free rows and columns."""
    shares = uniform(seeds, stream, (2,)).double()
    return (shares * torch.tensor(free, dtype=torch.float64, device=seeds.device)).long()


def square_masks(
    clean: Tensor,
    area_share: float,
    seeds: Sequence[int] | Tensor | None = None,
    corner: tuple[int, int] | Tensor | None = None,
) -> Tensor:
    """Return masks of one square, bool (n, 1, height, width): at a random place by seed, or at a given corner.

    Args:
        clean: samples (n, channels, height, width).
        area_share: share of the image that the square covers at most.
        seeds: one per sample, for random places.
        corner: upper left corner (row, column), of all samples or of each (n, 2).

    Raises:
        SpecError: seeds and corner are both given or both missing, or the square does not lie inside the image.
        AttackError: not even one pixel fits.
    """
    if (seeds is None) == (corner is None):
        raise SpecError("square_masks needs either seeds, for random places, or a corner; got both or neither.")
    height, width = clean.shape[-2:]
    side = square_side(height, width, area_share)
    free = (height - side + 1, width - side + 1)
    if seeds is not None:
        corners = random_corners(as_seeds(seeds, clean.device), CONTROL + 1, free)
    else:
        corners = torch.as_tensor(corner, device=clean.device).reshape(-1, 2).expand(len(clean), 2)
        if bool(((corners < 0) | (corners >= torch.tensor(free, device=clean.device))).any()):
            raise SpecError(f"A square of side {side} at corner {corner} leaves an image of {height}x{width}.")
    rows = torch.arange(height, device=clean.device) - corners[:, :1]
    columns = torch.arange(width, device=clean.device) - corners[:, 1:]
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    return inside[:, None]
