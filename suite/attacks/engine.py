"""What every attack is given, and what it must be able to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from suite.errors import AttackError, SpecError
from suite.kinds.base import Kind

Control = Callable[[Tensor, float, Sequence[int]], Tensor]
"""A harmless perturbation of the same size: (pixels, size, one seed per sample) to pixels."""


Training = Callable[[], tuple[Tensor, Tensor]]
"""Returns the training pixels and targets; a function, because most attacks never ask for them."""


@dataclass(frozen=True)
class Problem:
    """A model under attack.

    Attributes:
        forward: pixels (n, ...) in `bounds` to the model's output; raises where the output is not finite.
        loss: (output, targets, loss name) to the loss per sample (n,).
        fooled: (output, targets) to which samples the model is wrong about, bool (n,).
        bounds: the range of a pixel.
    """

    forward: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor, str], Tensor]
    fooled: Callable[[Tensor, Tensor], Tensor]
    bounds: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, kind: Kind, model: Callable[[Tensor], Tensor]) -> Self:
        """Return the kind's questions about a model."""
        return cls(model, lambda output, targets, name: kind.attack_loss(output, targets, name=name), kind.fooled)

    def gradient(self, pixels: Tensor, targets: Tensor, loss: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradient of the summed loss at some pixels, the loss per sample, and who is fooled already.

        Samples are summed, never averaged, so that no sample's gradient depends on its company.

        Raises:
            AttackError: there is no gradient, or it is not finite; such a model is neither robust nor broken.
        """
        point = pixels.detach().requires_grad_(True)
        with torch.enable_grad():
            output = self.forward(point)
            losses = self.loss(output, targets, loss)
            gradient = differentiated(losses.sum(), point)
        bad = ~torch.isfinite(gradient).flatten(1).all(dim=1)
        if bad.any():
            raise AttackError(
                f"The gradient of {int(bad.sum())} of {len(pixels)} samples is NaN or infinite; a model that hides its "
                "gradient is neither robust nor broken. Check its backward pass."
            )
        return gradient, losses.detach(), self.fooled(output.detach(), targets)

    def outcome(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return which samples the model is wrong about, by a clean forward pass without gradients."""
        with torch.no_grad():
            return self.fooled(self.forward(pixels.detach().clone()), targets)


class Attack(Protocol):
    """An attack is a value: configuration in its fields, data in the call.

    Attributes:
        norm: what limits it: ``linf``, ``l2``, ``patch`` or ``none``.
        sizes: the sizes of perturbation to attack with, ascending: eps of a norm, share of the area of a patch.
        size_name: how a size is called in results: ``eps`` or ``area``.
        loss: name of the loss whose gradient it follows, or None for an attack without gradients.
    """

    @property
    def norm(self) -> str:
        """What limits the perturbation."""
        ...

    @property
    def sizes(self) -> tuple[float, ...]:
        """The sizes to attack with, ascending."""
        ...

    @property
    def size_name(self) -> str:
        """How a size is called in results."""
        ...

    @property
    def loss(self) -> str | None:
        """The loss whose gradient is followed."""
        ...

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack fitted to training samples; most attacks return themselves."""
        ...

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Sequence[int]) -> Tensor:
        """Return adversarial pixels of the same shape; all randomness comes from one seed per sample."""
        ...

    def longer(self) -> Self | None:
        """Return the attack with twice the steps, or None where that means nothing."""
        ...

    def controls(self) -> Mapping[str, Control]:
        """Return perturbations of equal size without any knowledge of the model; ``random`` is always among them."""
        ...

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how much each sample exceeds the constraint, (n,) in float64; 0 or less where it keeps to it."""
        ...


def differentiated(total: Tensor, point: Tensor) -> Tensor:
    """Return the gradient of a sum of losses at a point.

    Raises:
        AttackError: the sum does not depend on the point by any differentiable path.
    """
    gradient = torch.autograd.grad(total, point, allow_unused=True)[0] if total.requires_grad else None
    if gradient is None:
        raise AttackError(
            "The output does not depend on the pixels by any differentiable path; no gradient exists. "
            "Use an attack without gradients, such as torchattacks:Square."
        )
    return gradient


def ascending(sizes: object, what: str) -> tuple[float, ...]:
    """Return sizes as a tuple of ascending positive numbers.

    Raises:
        SpecError: they are something else.
    """
    values = sizes if isinstance(sizes, tuple | list) else (sizes,)
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if not values or len(numbers) != len(values) or min(numbers) <= 0 or sorted(set(numbers)) != list(numbers):
        raise SpecError(
            f"{what}={list(values)!r}; expected positive numbers in ascending order, like {what}=[0.1, 0.2]."
        )
    return tuple(numbers)


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return one generator per sample, on the processor so that every device draws the same numbers."""
    return [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]


def uniform(pixels: Tensor, sources: Sequence[torch.Generator]) -> Tensor:
    """Return numbers in [0, 1) in the shape of the pixels, each sample's from its own generator."""
    drawn = torch.stack([torch.rand(pixels.shape[1:], generator=source) for source in sources])
    return drawn.to(pixels)


def gaussian(pixels: Tensor, sources: Sequence[torch.Generator]) -> Tensor:
    """Return standard normal numbers in the shape of the pixels, each sample's from its own generator."""
    drawn = torch.stack([torch.randn(pixels.shape[1:], generator=source) for source in sources])
    return drawn.to(pixels)
