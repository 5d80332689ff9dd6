"""Constraints: which perturbations are allowed, and how an attack moves among them."""

from suite.attacks.constraints.base import Constraint
from suite.attacks.constraints.l0 import L0
from suite.attacks.constraints.l1 import L1
from suite.attacks.constraints.l2 import L2
from suite.attacks.constraints.linf import Linf
from suite.errors import SpecError

__all__ = ["NORMS", "Constraint", "constraint"]

_BALLS: dict[str, type[Linf] | type[L2] | type[L1] | type[L0]] = {"linf": Linf, "l2": L2, "l1": L1, "l0": L0}

NORMS = tuple(_BALLS)
"""The norms whose balls limit a perturbation; eps is the radius."""


def constraint(norm: str, bounds: tuple[float, float] = (0.0, 1.0)) -> Constraint:
    """Return the ball of a norm, intersected with the range of pixel values.

    Raises:
        SpecError: the norm is not one of `NORMS`, or the bounds are not two finite numbers in ascending order.
    """
    if norm not in _BALLS:
        raise SpecError(f"norm={norm!r}; expected one of {', '.join(NORMS)}.")
    return _BALLS[norm](bounds)
