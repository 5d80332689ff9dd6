"""The L2 ball: the Euclidean norm of the perturbation is at most eps."""

import torch
from torch import Tensor

from suite.attacks.constraints.base import Ball, per_sample, usable
from suite.attacks.constraints.norms import Norm, register_norm
from suite.attacks.rng import gaussian


class L2(Ball):
    """Perturbations of Euclidean norm at most eps."""

    order = 2.0

    def clip(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the point clamped to the bounds, then moved towards the clean sample until it is in the ball.

        In this order, what the bounds cut off does not use up any of eps.
        """
        inside = point.clamp(*self.bounds)
        length = torch.linalg.vector_norm((inside - clean).flatten(1), dim=1).double()
        share = torch.where(length <= eps, 1.0, self.radius(clean, eps) / length)
        return torch.lerp(clean, inside, per_sample(share, clean)).clamp_(*self.bounds)

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return the normalized gradient, without the entries that push out of the bounds."""
        step = usable(gradient, point, self.bounds)
        length = torch.linalg.vector_norm(step.flatten(1), dim=1)
        return step.div_(per_sample(length.clamp_min(torch.finfo(step.dtype).tiny), step))

    def noise(self, clean: Tensor, seeds: Tensor, stream: int | Tensor) -> Tensor:
        """Return a direction drawn uniformly from the unit sphere."""
        drawn = gaussian(seeds, stream, clean.shape[1:]).to(clean)
        length = torch.linalg.vector_norm(drawn.flatten(1), dim=1)
        return drawn / per_sample(length, drawn)


register_norm(Norm("l2", ball=L2))
