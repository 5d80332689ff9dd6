"""The L0 ball: at most eps pixel positions change, each by any amount."""

from collections.abc import Sequence

import torch
from torch import Tensor

from suite.attacks.constraints.base import CONTROL, Constraint, per_sample, usable
from suite.attacks.constraints.norms import Norm, register_norm
from suite.attacks.rng import as_seeds, integers, uniform
from suite.errors import SpecError


class L0(Constraint):
    """Perturbations of at most eps positions: all channels of one position count as one, and eps is a count.

    In samples without spatial positions, (n, features), every feature counts as one.
    """

    @classmethod
    def check_sizes(cls, sizes: Sequence[float]) -> None:
        """Raise SpecError if the smallest radius is below one position."""
        if sizes[0] < 1:
            raise SpecError(f"eps={list(sizes)} with norm=l0; expected numbers of pixels, like eps=[5, 10, 20].")

    def size(self, delta: Tensor) -> Tensor:
        """Return the number of positions that change, (n,) in float64."""
        return (places(delta.detach()) != 0).any(dim=1).sum(dim=1).double()

    def limit(self, eps: Tensor) -> Tensor:
        """Return eps as a whole number, (n,) in float64: 0.29 of 100 pixels is 29 of them, not 28.999."""
        return (eps.double() + 1e-9).floor()

    def clip(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the nearest allowed point: it keeps the positions whose reset would add the most distance."""
        inside = point.clamp(*self.bounds)
        delta, shift = point.double() - clean.double(), inside.double() - clean.double()
        gain = places(shift * (2 * delta - shift)).sum(dim=1)  # delta^2 - (delta - shift)^2, without cancellation
        return self._replace(largest(gain, self.limit(eps)), inside, clean)

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return the gradient without the entries that push out of the bounds, with absolute values that sum to one.

        The step is dense; `clip` picks the positions (Croce and Hein 2019). A step of length eps moves as much in total
        as eps pixels that go from one end of [0, 1] to the other.
        """
        step = usable(gradient, point, self.bounds)
        total = step.abs().flatten(1).sum(dim=1)
        return step.div_(per_sample(total.clamp_min(torch.finfo(step.dtype).tiny), step))

    def start(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor, stream: int | Tensor) -> Tensor:
        """Return the clean samples with random colors at eps random positions."""
        own = integers(as_seeds(seeds, clean.device), stream, 2)
        keys = uniform(own[:, 0].contiguous(), 0, (places(clean).shape[2],))
        colors = uniform(own[:, 1].contiguous(), 0, clean.shape[1:]).to(clean)
        low, high = self.bounds
        return self._replace(largest(keys, self.limit(eps)), (low + (high - low) * colors).clamp_(low, high), clean)

    def control(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return the clean samples with random colors at eps random positions."""
        return self.start(clean, eps, seeds, CONTROL)

    def _replace(self, chosen: Tensor, changed: Tensor, clean: Tensor) -> Tensor:
        """Return the changed image at the chosen positions (n, positions) and the clean one elsewhere."""
        return torch.where(chosen[:, None], places(changed), places(clean)).view_as(clean)


register_norm(Norm("l0", ball=L0))


def places(values: Tensor) -> Tensor:
    """Return samples as (n, channels, positions)."""
    return values.flatten(2) if values.ndim > 2 else values[:, None]


def largest(scores: Tensor, counts: Tensor) -> Tensor:
    """Return a mask of the largest entries of each row, bool (n, entries); of equal entries the first ones.

    Args:
        scores: (n, entries).
        counts: how many entries to select in each row, (n,).
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = torch.arange(scores.shape[1], device=scores.device)
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, ranks < counts[:, None])
