"""The L0 ball: at most eps places of the image change, each by any amount."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from suite.attacks.constraints.base import CONTROL, Bounded, limited, per_sample, usable
from suite.attacks.rng import as_seeds, integers, uniform


class L0(Bounded):
    """Perturbations of at most eps places: all channels of one place count as one, and eps is a count.

    Of samples without places, (n, features), every feature is one.
    """

    norm = "l0"

    def size(self, delta: Tensor) -> Tensor:
        """Return the number of places that change, (n,) in float64."""
        return (places(delta.detach()) != 0).any(dim=1).sum(dim=1).double()

    def project(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the nearest allowed point: the places are kept where going back would cost the most distance."""
        inside = point.clamp(*self.bounds)
        delta, shift = point.double() - clean.double(), inside.double() - clean.double()
        gain = places(shift * (2 * delta - shift)).sum(dim=1)  # delta^2 - (delta - shift)^2, without cancellation
        return self._only(largest(gain, _count(eps)), inside, clean)

    clip = project

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return the gradient, without the entries that push out of the bounds, with absolute values adding up to one.

        It is dense; the projection picks the places (Croce and Hein 2019). A step of length eps moves as much in all
        as eps pixels that go from one end of [0, 1] to the other.
        """
        step = usable(gradient, point, self.bounds)
        total = step.abs().flatten(1).sum(dim=1)
        return step.div_(per_sample(total.clamp_min(torch.finfo(step.dtype).tiny), step))

    def start(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor, stream: int | Tensor) -> Tensor:
        """Return clean samples with eps random places, each of a random colour."""
        own = integers(as_seeds(seeds, clean.device), stream, 2)
        keys = uniform(own[:, 0].contiguous(), 0, (places(clean).shape[2],))
        colours = uniform(own[:, 1].contiguous(), 0, clean.shape[1:]).to(clean)
        low, high = self.bounds
        return self._only(largest(keys, _count(eps)), (low + (high - low) * colours).clamp_(low, high), clean)

    def control(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return clean samples with eps random places, each of a random colour."""
        return self.start(clean, eps, seeds, CONTROL)

    def excess(self, clean: Tensor, adversarial: Tensor, eps: Tensor) -> Tensor:
        """Return how many places too many change, (n,) in float64; a count needs no allowance for rounding."""
        return limited(self.size(adversarial.double() - clean.double()), _count(eps))

    def rows(self, index: Tensor) -> Self:
        """Return the ball itself; it is the same for all samples."""
        return self

    def _only(self, chosen: Tensor, inside: Tensor, clean: Tensor) -> Tensor:
        """Return the one image at the chosen places (n, places) and the other elsewhere."""
        return torch.where(chosen[:, None], places(inside), places(clean)).view_as(clean)


def places(values: Tensor) -> Tensor:
    """Return samples as (n, channels, places)."""
    return values.flatten(2) if values.ndim > 2 else values[:, None]


def largest(scores: Tensor, counts: Tensor) -> Tensor:
    """Return which entries of each row are among its largest, bool (n, entries); of equal ones the first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = torch.arange(scores.shape[1], device=scores.device)
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, ranks < counts[:, None])


def _count(eps: Tensor) -> Tensor:
    """Return eps as a whole number; 0.29 of 100 pixels is 29 of them, not 28.999."""
    return (eps.double() + 1e-9).floor()
