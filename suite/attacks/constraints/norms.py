"""The declaration of a norm: what limits a perturbation, and what its size is called.

A norm is declared once, in its own module of this package, or in a plug-in. Its JSON form is stored with every record
of an attack, so that boards and reports need no table of norms. `suite.verify.sizes` measures sizes again with code of
its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from suite.attacks.constraints.base import Constraint
from suite.errors import SpecError
from suite.kinds.base import Array

Edits = Callable[[Tensor, Tensor], Array]
"""Maps clean and changed texts (n, width) to numbers of edits, float64 (n,); infinity where a row is not a text."""


@dataclass(frozen=True)
class Norm:
    """A norm, or another limit of perturbations.

    Attributes:
        name: as in ``norm=...``, such as ``linf``.
        size_name: what a size is called in specs and results: ``eps``, ``area`` or ``edits``.
        unit: what is counted, in the singular, such as ``word``; ``%`` for a fraction; empty for a number.
        quantity: what a size says, for the axis of a figure; empty for the radius of a ball.
        ball: the ball of the norm; None if it has none.
        edits: counts the edits between texts; None for a limit of numbers, or if only the attack can count them.
        covers: whether a perturbation hides what is below it, so that covered targets need not be predicted.
        has_zero: whether there is a perturbation of size zero.
    """

    name: str
    size_name: str = "eps"
    unit: str = ""
    quantity: str = ""
    ball: type[Constraint] | None = None
    edits: Edits | None = None
    covers: bool = False
    has_zero: bool = True

    def to_json(self) -> dict[str, str]:
        """Return what a record stores of the norm: ``norm``, ``size_name``, ``unit`` and ``quantity``."""
        return {"norm": self.name, "size_name": self.size_name, "unit": self.unit, "quantity": self.quantity}


_NORMS: dict[str, Norm] = {}


def register_norm(norm: Norm) -> Norm:
    """Register a norm under its name and return it; the same name again replaces it."""
    _NORMS[norm.name] = norm
    return norm


def norm_of(name: str) -> Norm:
    """Return the declaration of a norm; an unknown one is a number that only its attack can measure."""
    return _NORMS.get(name, Norm(name))


def ball_norms() -> tuple[str, ...]:
    """Return the names of the norms that have a ball; eps is its radius."""
    return tuple(norm.name for norm in _NORMS.values() if norm.ball is not None)


def constraint(norm: str, bounds: tuple[float, float] = (0.0, 1.0)) -> Constraint:
    """Return the ball of a norm, intersected with the range of pixel values.

    Raises:
        SpecError: the norm has no ball, or the bounds are not two finite numbers in ascending order.
    """
    ball = norm_of(norm).ball
    if ball is None:
        raise SpecError(f"norm={norm!r}; expected one of {', '.join(ball_norms())}.")
    return ball(bounds)
