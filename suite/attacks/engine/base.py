"""The base class of every attack."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints import norm_of
from suite.attacks.engine.ascent import Search
from suite.attacks.engine.problem import Problem
from suite.data.cohorts import cohort_size
from suite.errors import SpecError
from suite.kinds.base import Array
from suite.metrics.catalogue import Metric

Control = Callable[[Tensor, float, Tensor], Tensor]
"""A perturbation that ignores the model: maps (pixels, size, one seed per sample (n,)) to perturbed pixels."""

Training = Callable[[], tuple[Tensor, Tensor]]
"""Returns the training pixels and targets; a function, because most attacks never need them."""


class Attack(ABC):
    """An attack: a value that holds the configuration; the data is passed to its methods.

    Everything that the suite reads of an attack is declared here. A subclass, usually a frozen dataclass, overrides a
    declaration by a field with a default, a class attribute or a property.

    Attributes:
        supports_graded_outcomes: whether it also works where predictions are better or worse instead of right or wrong.
        changes_text: whether it changes the characters of texts, not numbers.
        changed_metrics: declarations of the measures that `changes` returns.
        trained: whether `fit` trains something, so that its seed moves the results: a universal patch, a surrogate.
        fixed_cohort: number of samples that are attacked together whatever their size; None for the rule of `cohort`.
    """

    supports_graded_outcomes: ClassVar[bool] = False
    changes_text: ClassVar[bool] = False
    changed_metrics: ClassVar[tuple[Metric, ...]] = ()
    trained: ClassVar[bool] = False
    fixed_cohort: ClassVar[int | None] = None

    @property
    def norm(self) -> str:
        """Name of the limit of a perturbation, see `suite.attacks.constraints.norm_of`; ``none`` for no norm."""
        return "none"

    @property
    @abstractmethod
    def sizes(self) -> tuple[float, ...]:
        """Perturbation sizes to attack with, ascending.

        They are eps of a norm, the share of the image area of a patch, or the number of edits of a text.
        """

    @property
    def size_name(self) -> str:
        """The name of the size in results: ``eps``, ``area`` or ``edits``."""
        return norm_of(self.norm).size_name

    @property
    def loss(self) -> str | None:
        """Name of the loss whose gradient is followed; None for a gradient-free attack."""
        return None

    @property
    def goal(self) -> int | None:
        """Index of the target class; None for an untargeted attack."""
        return None

    @property
    def workarounds(self) -> Mapping[str, str]:
        """Failed probes of the model that the attack handles, by name, each with its workaround."""
        return {}

    def fit(self, problem: Problem, training: Training, *, seed: int) -> Self:
        """Return the attack fitted to training samples; most attacks return themselves."""
        return self

    def state(self) -> dict[str, Any]:
        """Return what `fit` has set: numpy arrays, numbers, strings, None, and lists and dicts of these.

        It can be pickled or stored, contains neither the model nor the training samples' problem, and is empty if
        nothing was fitted.
        """
        return {}

    def with_state(self, state: Mapping[str, Any], problem: Problem) -> Self:
        """Return the attack as `fit` returned it, with the tensors on the device of the problem's model.

        Args:
            state: what `state` of the fitted attack returned.
            problem: the problem that it was fitted to.
        """
        return self

    def cohort(self, inputs_shape: tuple[int, ...]) -> int:
        """Return the number of samples that are attacked together.

        An attack may divide its budget among the samples of a cohort, so results may depend on the cohort of a sample.
        The number is `suite.data.cohorts.cohort_size`, unless the attack declares `fixed_cohort`.

        Args:
            inputs_shape: the shape of one input.
        """
        if self.fixed_cohort is not None:
            return self.fixed_cohort
        return cohort_size(inputs_shape)

    @abstractmethod
    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return adversarial pixels of the same shape; all randomness comes from one seed per sample (n,)."""

    @abstractmethod
    def controls(self) -> Mapping[str, Control]:
        """Return perturbations of equal size that do not use the model; ``random`` is always among them."""

    @abstractmethod
    def violation(self, clean: Tensor, adversarial: Tensor, size: float) -> Tensor:
        """Return by how much each sample exceeds the constraint, (n,) in float64; 0 or less if it does not."""

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the steps, or None if it has no steps."""
        return None

    def explored(
        self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor
    ) -> tuple[Search, Sequence[str]] | None:
        """Return the search of `perturb` and the names of its stages, or None if the attack has no stages."""
        return None

    def smallest(
        self, problem: Problem, pixels: Tensor, targets: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """Return the nearest misclassified points and their distances, or None if the attack does not minimize them.

        The points (n, ...) are the clean ones where none was found; there the distances (n,), in float64, are infinite.
        """
        return None

    def succeeded(self, problem: Problem, pixels: Tensor, targets: Tensor) -> Tensor | None:
        """Return which samples are wrongly predicted as the target class, (n,), bool or a share of draws.

        It is None if the attack has no target class.
        """
        return None

    def changes(self, clean: Tensor, adversarial: Tensor) -> Mapping[str, Array] | None:
        """Return measures of how texts changed by the names in `changed_metrics`, (n,); None if it changes no texts."""
        return None

    def patches(self) -> Mapping[float, Tensor]:
        """Return the fitted patches (channels, side, side) by size; empty if none were fitted."""
        return {}


def stored(tensor: Tensor | None) -> Array | None:
    """Return a tensor as a numpy array, for a state."""
    return None if tensor is None else tensor.detach().cpu().numpy()


def restored(array: Array | None, problem: Problem) -> Tensor | None:
    """Return an array of a state as a tensor on the device of the problem's model."""
    return None if array is None else torch.from_numpy(np.array(array)).to(problem.device)


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
