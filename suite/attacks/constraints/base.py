"""What every constraint can do, and what the balls of the norms share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from suite.attacks.rng import as_seeds, integers, uniform
from suite.errors import SpecError

CONTROL = 0x0C07
"""Stream of the random control, apart from the small streams of the attacks."""

CHECK_EVERY = 8
"""Iterations between two looks at whether an iteration has converged on an accelerator, where looking is waiting."""


class Constraint(Protocol):
    """Which perturbations are allowed: a set around each clean sample, intersected with the bounds of a pixel.

    Clean samples lie within the bounds; points and gradients are finite, and have the shape (n, channels, ...) of the
    clean samples. `eps` is a tensor (n,): each sample has its own, and 0 allows the clean sample only. Nothing
    depends on who else is in the batch.

    Attributes:
        norm: ``linf``, ``l2``, ``l1``, ``l0`` or ``region``.
        bounds: the range of a pixel.
    """

    @property
    def norm(self) -> str:
        """What measures the perturbation."""
        ...

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of a pixel."""
        ...

    def size(self, delta: Tensor) -> Tensor:
        """Return the size of each perturbation, (n,) in float64."""
        ...

    def project(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return the nearest allowed point by Euclidean distance; an allowed point is returned unchanged."""
        ...

    def clip(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return an allowed point nearby, cheaply enough for every step of an attack."""
        ...

    def direction(self, gradient: Tensor, point: Tensor) -> Tensor:
        """Return the step of unit size that raises a linear loss most; zero where the gradient is zero."""
        ...

    def start(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor, stream: int | Tensor) -> Tensor:
        """Return a random allowed point, from one seed per sample."""
        ...

    def control(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return clean samples with a random perturbation of full size, then clipped to the bounds."""
        ...

    def excess(self, clean: Tensor, adversarial: Tensor, eps: Tensor) -> Tensor:
        """Return by how much each perturbation is too large, (n,) in float64; 0 or less where it is allowed.

        A perturbation that is not a number exceeds by infinity. The bounds are not looked at.
        """
        ...

    def rows(self, index: Tensor) -> Self:
        """Return the constraint of some of the samples, in the order of an index or a mask."""
        ...


@dataclass(frozen=True)
class Bounded:
    """A set within the bounds of a pixel.

    Attributes:
        bounds: the range of a pixel.
    """

    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        low, high = self.bounds
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise SpecError(f"bounds={self.bounds!r}; expected two finite numbers in ascending order, like (0, 1).")


class Ball(Bounded, ABC):
    """What the balls of Linf, L2 and L1 share."""

    order: ClassVar[float]

    def size(self, delta: Tensor) -> Tensor:
        """Return the norm of each perturbation, (n,) in float64."""
        norms: Tensor = torch.linalg.vector_norm(delta.detach().double().flatten(1), ord=self.order, dim=1)
        return norms

    @abstractmethod
    def clip(self, point: Tensor, clean: Tensor, eps: Tensor) -> Tensor:
        """Return an allowed point nearby."""

    @abstractmethod
    def noise(self, clean: Tensor, seeds: Tensor, stream: int | Tensor) -> Tensor:
        """Return a random perturbation of norm one."""

    def start(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor, stream: int | Tensor) -> Tensor:
        """Return a random point of the ball: its distance from the clean sample is uniform before clipping."""
        own = integers(as_seeds(seeds, clean.device), stream, 2)
        share = uniform(own[:, 0].contiguous(), 0)
        delta = self.noise(clean, own[:, 1].contiguous(), 0)
        return self.clip(clean + delta * per_sample(eps * share.to(eps), clean), clean, eps)

    def control(self, clean: Tensor, eps: Tensor, seeds: Sequence[int] | Tensor) -> Tensor:
        """Return clean samples with a random perturbation of norm eps, then clipped to the bounds."""
        delta = self.noise(clean, as_seeds(seeds, clean.device), CONTROL)
        return (clean + delta * per_sample(self.reach(clean, eps), clean)).clamp_(*self.bounds)

    def excess(self, clean: Tensor, adversarial: Tensor, eps: Tensor) -> Tensor:
        """Return by how much each perturbation exceeds eps, (n,) in float64; float32 rounding is allowed for."""
        return limited(self.size(adversarial.double() - clean.double()), eps.double() * (1 + 1e-5) + 1e-6)

    def reach(self, clean: Tensor, eps: Tensor) -> Tensor:
        """Return eps less what rounding the sum of pixels and perturbation can add to the norm, float64 (n,).

        One pixel adds half a unit in its last place. A smooth perturbation of a flat image can be rounded the same
        way everywhere, and over many pixels that would be more than the gate forgives.
        """
        rounding = torch.finfo(clean.dtype).eps / 2 * max(abs(bound) for bound in self.bounds)
        lost: float = rounding * math.prod(clean.shape[1:]) ** (1 / self.order)
        return (eps.double() - lost).clamp_min_(0)

    def rows(self, index: Tensor) -> Self:
        """Return the ball itself; it is the same for all samples."""
        return self


def limited(sizes: Tensor, limit: Tensor) -> Tensor:
    """Return by how much sizes exceed their limits, (n,); infinity where that is not a number."""
    over: Tensor = torch.nan_to_num(sizes - limit, nan=math.inf, posinf=math.inf)
    return over


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per sample (n,), to be broadcast over samples (n, ...)."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Return one value per sample (n,) in the type of, and to be broadcast over, samples (n, ...)."""
    return spread(values.to(like), like)


def room(delta: Tensor, clean: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return how far each pixel may move in the direction of its perturbation before it meets a bound."""
    sign = delta.sign()
    return torch.maximum(sign * (bounds[1] - clean), sign * (bounds[0] - clean)).clamp_min_(0)


def usable(gradient: Tensor, point: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Return the gradient without the entries that push out of the bounds, its largest entry scaled to one.

    After scaling no norm of a tiny or a huge gradient under- or overflows. Clamping stands for comparisons and masks,
    which take several times as long on a processor: an entry with any room at all is free to be as large as it is.
    """
    inside, huge = point.clamp(*bounds), torch.finfo(gradient.dtype).max
    free = torch.clamp(gradient, (bounds[0] - inside).mul_(huge), (bounds[1] - inside).mul_(huge))
    largest = per_sample(free.abs().flatten(1).amax(dim=1), free)
    return free.div_(torch.where(largest > 0, largest, torch.ones_like(largest)))


def settled(done: Tensor, iteration: int) -> bool:
    """Return whether all samples have converged; an accelerator is asked every few iterations only."""
    asked = done.device.type == "cpu" or iteration % CHECK_EVERY == CHECK_EVERY - 1
    return asked and bool(done.all())
