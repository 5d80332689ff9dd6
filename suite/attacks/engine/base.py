"""The interface of every attack."""

import math
from collections.abc import Callable, Mapping
from typing import Protocol, Self

from torch import Tensor

from suite.attacks.engine.problem import Problem
from suite.errors import SpecError

Control = Callable[[Tensor, float, Tensor], Tensor]
"""A perturbation that ignores the model: maps (pixels, size, one seed per sample (n,)) to perturbed pixels."""

Training = Callable[[], tuple[Tensor, Tensor]]
"""Returns the training pixels and targets; a function, because most attacks never need them."""


class Attack(Protocol):
    """An attack: a value that holds the configuration; the data is passed to its methods.

    Optional attributes that the suite looks up include `supports_graded_outcomes` (true if the attack also works where
    predictions are better or worse instead of right or wrong) and `texts` (true if it changes the characters of texts).
    """

    @property
    def norm(self) -> str:
        """What limits the perturbation.

        One of ``linf``, ``l2``, ``l1``, ``l0``, ``patch`` and ``none``; for texts ``words``, ``characters`` or
        ``trigger``.
        """

    @property
    def sizes(self) -> tuple[float, ...]:
        """Perturbation sizes to attack with, ascending.

        They are eps of a norm, the share of the image area of a patch, or the number of edits of a text.
        """

    @property
    def size_name(self) -> str:
        """The name of the size in results: ``eps``, ``area`` or ``edits``."""

    @property
    def loss(self) -> str | None:
        """Name of the loss whose gradient is followed; None for a gradient-free attack."""

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack fitted to training samples; most attacks return themselves."""

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return adversarial pixels of the same shape; all randomness comes from one seed per sample (n,)."""

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the steps, or None if it has no steps."""

    def controls(self) -> Mapping[str, Control]:
        """Return perturbations of equal size that do not use the model; ``random`` is always among them."""

    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how much each sample exceeds the constraint, (n,) in float64; 0 or less if it does not."""


def ascending(sizes: object, what: str) -> tuple[float, ...]:
    """Return sizes as a tuple.

    Args:
        sizes: one size or a list of sizes.
        what: the name of the option, for the error message.

    Raises:
        SpecError: the sizes are not positive numbers in ascending order.
    """
    values = sizes if isinstance(sizes, tuple | list) else (sizes,)
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if not values or len(numbers) != len(values) or min(numbers) <= 0 or sorted(set(numbers)) != list(numbers):
        raise SpecError(
            f"{what}={list(values)!r}; expected positive numbers in ascending order, like {what}=[0.1, 0.2]."
        )
    return tuple(numbers)
