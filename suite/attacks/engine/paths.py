"""Tensors with one entry per path of an ascent, and the rules for the length of its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor

from suite.attacks.constraints import Constraint
from suite.attacks.constraints.base import spread


@dataclass
class PerPath:
    """A dataclass whose tensors have one entry per path; those of nested dataclasses of this type do too.

    Attributes:
        shared: names of the tensors that are the same for all paths.
    """

    shared: ClassVar[frozenset[str]] = frozenset()

    def take(self, index: Tensor | slice) -> Self:
        """Return some of the paths; an index is on the CPU, since the steps of a path are counted there."""
        return replace(self, **{name: _taken(value, index) for name, value in self._parts().items()})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the paths of one or more parts in order."""
        if len(parts) == 1:
            return parts[0]
        columns = {name: [part._parts()[name] for part in parts] for name in parts[0]._parts()}
        return replace(parts[0], **{name: _joined(column) for name, column in columns.items()})

    def _parts(self) -> dict[str, Any]:
        named = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in self.shared}
        return {name: value for name, value in named.items() if isinstance(value, Tensor | PerPath)}


def _taken(value: Any, index: Tensor | slice) -> Any:
    if isinstance(value, PerPath):
        return value.take(index)
    return value[index if isinstance(index, slice) else index.to(value.device, non_blocking=True)]


def _joined(column: Sequence[Any]) -> Any:
    return column[0].joined(column) if isinstance(column[0], PerPath) else torch.cat(list(column))


class Budgeted(Protocol):
    """What a step rule reads of the budget: the first step as a share of eps, and the number of steps."""

    @property
    def first(self) -> float:
        """Length of the first step as a share of eps."""

    @property
    def steps(self) -> int:
        """Number of steps."""


@dataclass
class Steps(PerPath):
    """The base class of the rules for the length of each step, with the state of each path."""

    @classmethod
    def begin(cls, point: Tensor, eps: Tensor, budget: Budgeted) -> Self:
        """Return the rule for paths that begin at some points (n, ...)."""
        raise NotImplementedError

    def update(self, point: Tensor, gradient: Tensor, score: Callable[[], Tensor]) -> None:
        """Record the gradient at the current point, and the ranking loss there if the rule needs it."""

    def step_from(
        self, steps: Tensor, constraint: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor
    ) -> Tensor:
        """Return the next points; `steps` is the number of steps that each path has taken, int64 (n,) on the CPU."""
        raise NotImplementedError


@dataclass
class Cosine(Steps):
    """Steps whose length decays to zero along a cosine.

    Attributes:
        lengths: the length of each step as a share of eps, (steps,) on the CPU.
    """

    shared: ClassVar[frozenset[str]] = frozenset({"lengths"})
    lengths: Tensor = field(default_factory=lambda: torch.zeros(0))

    @classmethod
    def begin(cls, point: Tensor, eps: Tensor, budget: Budgeted) -> Self:
        """Return the rule for one ascent."""
        shares = [0.5 * (1 + math.cos(math.pi * step / budget.steps)) for step in range(budget.steps)]
        return cls(torch.tensor([budget.first * share for share in shares], dtype=torch.float64))

    def step_from(
        self, steps: Tensor, constraint: Constraint, point: Tensor, gradient: Tensor, clean: Tensor, eps: Tensor
    ) -> Tensor:
        """Return the points after one step along the gradient."""
        length = eps * self.lengths[steps].to(eps, non_blocking=True)
        return constraint.clip(point + spread(length, point) * constraint.direction(gradient, point), clean, eps)
