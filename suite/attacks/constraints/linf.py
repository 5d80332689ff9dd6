"""The Linf ball: every entry of the perturbation is at most eps in absolute value."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from suite.attacks.constraints.base import Ball, per_sample
from suite.attacks.constraints.norms import Norm, register_norm
from suite.attacks.rng import as_seeds, uniform


class Linf(Ball):
    """Perturbations whose largest entry is at most eps in absolute value."""

    order = math.inf

    def clip(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the nearest allowed point; entries are independent, so clamping each one is exact."""
        radius = per_sample(eps, clean)
        return torch.clamp(point, clean - radius, clean + radius).clamp_(*self.bounds)

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return the sign of the gradient; entries that push out of the bounds take nothing from the others."""
        return gradient.sign()

    def start(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor, stream: int | Tensor) -> Tensor:
        """Return a point drawn uniformly from the ball, then clipped to the bounds."""
        share = uniform(as_seeds(seeds, clean.device), stream, clean.shape[1:]).to(clean) * 2 - 1
        return self.clip(clean + share * per_sample(eps, clean), clean, eps)

    def noise(self, clean: Tensor, seeds: Tensor, stream: int | Tensor) -> Tensor:
        """Return a random sign for each entry."""
        return torch.where(uniform(seeds, stream, clean.shape[1:]) < 0.5, -1.0, 1.0).to(clean)


register_norm(Norm("linf", ball=Linf))
