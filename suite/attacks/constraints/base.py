"""Base classes of the norm balls: what each can do, and what the balls of Linf, L2 and L1 share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from suite.attacks.rng import as_seeds, integers, uniform
from suite.errors import SpecError

CONTROL = 0x0C07
"""Stream of the random control, far from the small stream numbers of the attacks."""


@dataclass(frozen=True)
class Constraint(ABC):
    """The perturbations allowed around each clean sample: a norm ball, intersected with the range of pixel values.

    Clean samples lie within the bounds; points and gradients are finite and have the shape (n, channels, ...) of the
    clean samples. `eps` is a tensor (n,): each sample has its own radius, and 0 allows the clean sample only. The
    result for a sample does not depend on the rest of the batch.

    Attributes:
        bounds: range of pixel values.
        first_step: length of the first step of Auto-PGD, as a share of eps.
    """

    first_step: ClassVar[float] = 2.0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        low, high = self.bounds
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise SpecError(f"bounds={self.bounds!r}; expected two finite numbers in ascending order, like (0, 1).")

    @classmethod
    @abstractmethod
    def check_sizes(cls, sizes: Sequence[float]) -> None:
        """Raise SpecError if positive radii, ascending, make no sense."""

    @abstractmethod
    def size(self, delta: Tensor) -> Tensor:
        """Return the norm of each perturbation, (n,) in float64."""

    @abstractmethod
    def limit(self, eps: Tensor) -> Tensor:
        """Return the largest norm that counts as allowed, (n,) in float64."""

    @abstractmethod
    def clip(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return an allowed point near the given one, cheaply enough for every step of an attack."""

    @abstractmethod
    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return the step of unit norm that increases a linear loss most; zero where the gradient is zero."""

    @abstractmethod
    def start(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor, stream: int | Tensor) -> Tensor:
        """Return a random allowed point, drawn from one seed per sample."""

    @abstractmethod
    def control(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return the clean samples with a random perturbation of full norm, then clipped to the bounds."""

    def excess(self, clean: Tensor, adversarial: Tensor, eps: Tensor) -> Tensor:
        """Return by how much each perturbation exceeds its limit, (n,) in float64; 0 or less where it is allowed.

        The excess of a perturbation that contains NaN is infinite. The bounds are not checked.
        """
        over = self.size(adversarial.double() - clean.double()) - self.limit(eps)
        return torch.nan_to_num(over, nan=math.inf, posinf=math.inf)


class Ball(Constraint):
    """What the balls of Linf, L2 and L1 share."""

    order: ClassVar[float]

    @classmethod
    def check_sizes(cls, sizes: Sequence[float]) -> None:
        """Accept any radii."""

    def size(self, delta: Tensor) -> Tensor:
        """Return the norm of each perturbation, (n,) in float64."""
        norms: Tensor = torch.linalg.vector_norm(delta.detach().double().flatten(1), ord=self.order, dim=1)
        return norms

    def limit(self, eps: Tensor) -> Tensor:
        """Return eps with an allowance for float32 rounding, (n,) in float64."""
        return eps.double() * (1 + 1e-5) + 1e-6

    @abstractmethod
    def noise(self, clean: Tensor, seeds: Tensor, stream: int | Tensor) -> Tensor:
        """Return a random perturbation of norm one."""

    def start(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor, stream: int | Tensor) -> Tensor:
        """Return a random point of the ball whose distance from the clean sample is uniform before clipping."""
        own = integers(as_seeds(seeds, clean.device), stream, 2)
        share = uniform(own[:, 0].contiguous(), 0)
        delta = self.noise(clean, own[:, 1].contiguous(), 0)
        return self.clip(clean + delta * per_sample(eps * share.to(eps), clean), clean, eps)

    def control(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return the clean samples with a random perturbation of norm eps, then clipped to the bounds."""
        delta = self.noise(clean, as_seeds(seeds, clean.device), CONTROL)
        return (clean + delta * per_sample(self.radius(clean, eps), clean)).clamp_(*self.bounds)

    def radius(self, clean: Tensor, eps: Tensor) -> Tensor:
        """Return eps minus what rounding the sum of pixels and perturbation can add to the norm, (n,) in float64.

        Rounding changes each pixel by up to half a unit in the last place. In a flat image with a smooth perturbation
        all pixels may be rounded the same way, and over many pixels that adds up to more than `limit` allows.
        """
        rounding = torch.finfo(clean.dtype).eps / 2 * max(abs(bound) for bound in self.bounds)
        lost: float = rounding * math.prod(clean.shape[1:]) ** (1 / self.order)
        return (eps.double() - lost).clamp_min_(0)


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per sample (n,), reshaped to broadcast over samples (n, ...)."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per sample (n,), reshaped to broadcast over samples (n, ...) and converted to their dtype."""
    return spread(values.to(like), like)


def usable(gradient: Tensor, point: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return the gradient without the entries that push out of the bounds, scaled so that the largest entry is one.

    After scaling no norm of a tiny or a huge gradient underflows or overflows. Clamping replaces comparisons and masks,
    which take several times as long on a CPU: an entry with any room left may be as large as it is.
    """
    inside, huge = point.clamp(*bounds), torch.finfo(gradient.dtype).max
    free = torch.clamp(gradient, (bounds[0] - inside).mul_(huge), (bounds[1] - inside).mul_(huge))
    largest = per_sample(free.abs().flatten(1).amax(dim=1), free)
    return free.div_(torch.where(largest > 0, largest, torch.ones_like(largest)))


def all_finite(values: Tensor) -> Tensor:
    """Return which samples (n, ...) contain neither NaN nor infinity, bool (n,)."""
    return torch.isfinite(values).flatten(1).all(dim=1)
