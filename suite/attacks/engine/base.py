"""What every attack must be able to do."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol, Self

from torch import Tensor

from suite.attacks.engine.problem import Problem
from suite.errors import SpecError

Control = Callable[[Tensor, float, Tensor], Tensor]
"""A harmless perturbation of the same size: (pixels, size, one seed per sample (n,)) to pixels."""

Training = Callable[[], tuple[Tensor, Tensor]]
"""Returns the training pixels and targets; a function, because most attacks never ask for them."""


class Attack(Protocol):
    """An attack is a value: configuration in its fields, data in the call.

    Attributes:
        norm: what limits it: ``linf``, ``l2``, ``l1``, ``l0``, ``patch`` or ``none``.
        sizes: the sizes of perturbation to attack with, ascending: eps of a norm, share of the area of a patch.
        size_name: how a size is called in results: ``eps`` or ``area``.
        loss: name of the loss whose gradient it follows, or None for an attack without gradients.
        graded: optional; true for an attack that also works where a sample is answered better or worse, and not right
            or wrong.
        texts: optional; true for an attack on the characters of texts, and not on numbers.
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

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return adversarial pixels of the same shape; all randomness comes from one seed per sample (n,)."""
        ...

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the steps, or None where that means nothing."""
        ...

    def controls(self) -> Mapping[str, Control]:
        """Return perturbations of equal size without any knowledge of the model; ``random`` is always among them."""
        ...

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how much each sample exceeds the constraint, (n,) in float64; 0 or less where it keeps to it."""
        ...


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
