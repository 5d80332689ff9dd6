"""The L2 ball: the Euclidean length of the perturbation is at most eps."""

import torch
from torch import Tensor

from suite.attacks.constraints.base import Ball, per_sample, room, settled, spread, usable
from suite.attacks.rng import gaussian

ITERATIONS = 200
"""Newton steps at most; about five are usual, and only entries of very different sizes need dozens."""


class L2(Ball):
    """Perturbations of Euclidean length at most eps."""

    norm = "l2"
    order = 2.0

    def project(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the nearest allowed point, computed in float64.

        By the conditions of Karush, Kuhn and Tucker it is the perturbation times a factor of at most one, clamped to
        the bounds.
        """
        inside = point.clamp(*self.bounds)
        origin = clean.double()
        allowed = self.size(inside.double() - origin) <= eps
        delta = point.double() - origin
        limits = room(delta, origin, self.bounds).flatten(1)
        magnitude = _scaled(delta.abs().flatten(1), limits, self.reach(clean, eps)).view_as(delta)
        moved = (origin + magnitude * delta.sign()).to(clean.dtype).clamp_(*self.bounds)
        return torch.where(spread(allowed, clean), inside, moved)

    def clip(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the point clamped to the bounds, and then drawn towards the clean one until it is in the ball.

        In this order what the bounds take away does not use up any of eps.
        """
        inside = point.clamp(*self.bounds)
        length = torch.linalg.vector_norm((inside - clean).flatten(1), dim=1).double()
        share = torch.where(length <= eps, 1.0, self.reach(clean, eps) / length)
        return torch.lerp(clean, inside, per_sample(share, clean)).clamp_(*self.bounds)

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return the gradient of length one, without the entries that push out of the bounds."""
        step = usable(gradient, point, self.bounds)
        length = torch.linalg.vector_norm(step.flatten(1), dim=1)
        return step.div_(per_sample(length.clamp_min(torch.finfo(step.dtype).tiny), step))

    def noise(self, clean: Tensor, seeds: Tensor, stream: int | Tensor) -> Tensor:
        """Return a direction drawn uniformly from the sphere."""
        drawn = gaussian(seeds, stream, clean.shape[1:]).to(clean)
        length = torch.linalg.vector_norm(drawn.flatten(1), dim=1)
        return drawn / per_sample(length, drawn)


def _scaled(magnitude: Tensor, limits: Tensor, radius: Tensor) -> Tensor:
    """Return min(factor * magnitude, limits) for the largest factor of at most one with length at most the radius.

    The squared length, sum of min(f * magnitude^2, limits^2), is concave in f, the square of the factor. So Newton's
    method from zero never overshoots: each iterate is allowed already, and the last linear piece ends it exactly.
    Scaling by the largest magnitude keeps squares from overflowing.
    """
    tiny = torch.finfo(magnitude.dtype).tiny
    largest = magnitude.amax(dim=1, keepdim=True).clamp_min_(tiny)
    squares, caps, target = (magnitude / largest).square_(), limits.square(), radius.square()[:, None]
    factor, most, length = torch.zeros_like(largest), largest.square(), torch.empty_like(magnitude)
    done = torch.zeros_like(largest, dtype=torch.bool)
    for iteration in range(ITERATIONS):
        torch.minimum(torch.mul(squares, factor, out=length), caps, out=length)
        missing = target - length.sum(dim=1, keepdim=True)
        slope = torch.sub(caps, length, out=length).sign_().mul_(squares).sum(dim=1, keepdim=True)
        done |= (missing <= 1e-14 * target) | (factor >= most) | (slope <= 0)
        if settled(done, iteration):
            break
        further = torch.minimum(factor + missing / slope.clamp_min_(tiny), most)
        factor = torch.where(done, factor, further)
    return squares.sqrt_().mul_(factor.sqrt()).minimum(limits)
