"""The L1 ball: the absolute values of the perturbation sum to at most eps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from suite.attacks.constraints.base import Ball, per_sample, usable
from suite.attacks.constraints.norms import Norm, register_norm
from suite.attacks.rng import uniform
from suite.errors import SpecError

ITERATIONS = 120
"""Maximum number of steps when searching for the threshold; four to ten are usual, the most seen was thirty."""

TOLERANCE = 100
"""How close the sum must come to the radius, in units of the radius' last place; sums of many entries round."""

CHECK_EVERY = 8
"""Iterations between two checks for convergence on an accelerator, where a check forces a synchronization."""


@dataclass(frozen=True)
class L1(Ball):
    """Perturbations whose absolute values sum to at most eps.

    Attributes:
        share: share of the entries, counting all channels, that one step moves.
    """

    share: float = 0.01

    order = 1.0
    first_step = 1.0  # Croce and Hein 2021

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise SpecError(f"share={self.share!r}; expected the share of entries a step moves, above 0 and at most 1.")

    def clip(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the nearest allowed point up to rounding, computed in the precision of the pixels.

        Each entry moves by its magnitude minus the sample's threshold, as far as the bounds allow. A projection onto
        the ball alone would be cheaper, but leaves most of eps unused once the bounds have clamped it (Croce and Hein
        2021).
        """
        delta = point - clean
        sign = delta.sign()
        room = torch.maximum(sign * (self.bounds[1] - clean), sign * (self.bounds[0] - clean)).clamp_min_(0)
        radius = self.radius(clean, eps).to(clean.dtype)[:, None]
        kept = _soft_threshold(delta.abs().flatten(1), room.flatten(1), radius)
        return (clean + kept.view_as(delta) * sign).clamp_(*self.bounds)

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return equal moves of the entries with the largest gradient that do not push out of the bounds.

        A step of L1 norm one increases a linear loss most if it moves a single entry; but one pixel has room for a
        fraction of eps only, so the step is spread over a share of the entries (Tramer and Boneh 2019; Croce and Hein
        2021). It is the best step of norm one in which no entry moves by more than one over their number.
        """
        step = usable(gradient, point, self.bounds).flatten(1)
        count = max(1, int(self.share * step.shape[1]))
        places = step.abs().topk(count, dim=1, sorted=False).indices
        signs = step.gather(1, places).sign_()
        signs /= signs.abs().sum(dim=1, keepdim=True).clamp_min_(1)
        return torch.zeros_like(step).scatter_(1, places, signs).view_as(gradient)

    def noise(self, clean: Tensor, seeds: Tensor, stream: int | Tensor) -> Tensor:
        """Return a direction drawn uniformly from the surface: normalized Laplace variates."""
        drawn = uniform(seeds, stream, clean.shape[1:]).double() * 2 - 1 + 2.0**-24  # never 1, -1 or 0
        laplace = drawn.sign() * torch.log1p(-drawn.abs())
        return (laplace / per_sample(laplace.abs().flatten(1).sum(dim=1), laplace)).to(clean)


register_norm(Norm("l1", ball=L1))


def _soft_threshold(magnitude: Tensor, limits: Tensor, radius: Tensor) -> Tensor:
    """Return min(max(magnitude - threshold, 0), limits) for the smallest threshold whose sum is at most the radius.

    The sum is a decreasing, piecewise linear function of the threshold (Croce and Hein 2021 sort its breakpoints).
    Newton's method finds the right piece in a few steps. Where it would leave the bracket, the Illinois variant of the
    secant method (Dowell and Jarratt 1971) continues; every fourth step, and any from a flat piece, bisects.
    """
    kept, free = torch.minimum(magnitude, limits), torch.empty_like(magnitude)
    above, below = kept.sum(dim=1, keepdim=True) - radius, -radius
    threshold = low = torch.zeros_like(radius)
    high = magnitude.amax(dim=1, keepdim=True)
    done, before = (above <= 0) | (radius <= 0), torch.zeros_like(above, dtype=torch.bool)
    for iteration in range(ITERATIONS):
        over = _moved(magnitude, threshold, limits, kept).sum(dim=1, keepdim=True) - radius
        slope = torch.sub(limits, kept, out=free).sign_().mul_(kept.sign_()).sum(dim=1, keepdim=True)
        left = over > 0
        same = torch.where(left == before, 0.5, 1.0)
        above, below = torch.where(left, over, above * same), torch.where(left, below * same, over)
        low, high, before = torch.where(left, threshold, low), torch.where(left, high, threshold), left
        newton, halve = threshold + over / slope, (slope < 1) | (iteration % 4 == 3)
        other = low + (high - low) * torch.where(halve, 0.5, above / (above - below))
        following = torch.where(halve | (newton <= low) | (newton >= high), other, newton)
        done |= (over.abs() <= TOLERANCE * torch.finfo(radius.dtype).eps * radius) | (following == threshold)
        check = done.device.type == "cpu" or iteration % CHECK_EVERY == CHECK_EVERY - 1
        if check and bool(done.all()):
            break
        threshold = torch.where(done, threshold, following)
    total = _moved(magnitude, threshold, limits, kept).sum(dim=1, keepdim=True)
    return kept.mul_((radius / total.clamp_min_(torch.finfo(radius.dtype).tiny)).clamp_(max=1))


def _moved(magnitude: Tensor, threshold: Tensor, limits: Tensor, kept: Tensor) -> Tensor:
    """Write the moves that a threshold leaves into `kept` and return it; allocation costs more than arithmetic."""
    torch.sub(magnitude, threshold, out=kept).clamp_(min=0)
    return torch.minimum(kept, limits, out=kept)
