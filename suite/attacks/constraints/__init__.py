"""Constraints: what limits a perturbation, and how an attack moves inside it."""

from suite.attacks.constraints.base import Constraint
from suite.attacks.constraints.l0 import L0
from suite.attacks.constraints.l1 import L1
from suite.attacks.constraints.l2 import L2
from suite.attacks.constraints.linf import Linf
from suite.attacks.constraints.region import Region, random_corners, square_masks, square_side
from suite.errors import SpecError

__all__ = [
    "L0",
    "L1",
    "L2",
    "NORMS",
    "Constraint",
    "Linf",
    "Region",
    "constraint",
    "random_corners",
    "square_masks",
    "square_side",
]

_BALLS: dict[str, type[Linf] | type[L2] | type[L1] | type[L0]] = {"linf": Linf, "l2": L2, "l1": L1, "l0": L0}

NORMS = tuple(_BALLS)
"""The norms whose ball has a radius eps. A region has none; build a `Region` from its mask."""


def constraint(norm: str, bounds: tuple[float, float] = (0.0, 1.0)) -> Constraint:
    """Return the ball of a norm, intersected with the bounds of a pixel.

    Raises:
        SpecError: the norm is not one of `NORMS`, or the bounds are not two finite numbers in ascending order.
    """
    if norm not in _BALLS:
        advice = " A region is built from its mask: Region(mask=mask)." if norm == "region" else ""
        raise SpecError(f"norm={norm!r}; expected one of {', '.join(NORMS)}.{advice}")
    return _BALLS[norm](bounds)
