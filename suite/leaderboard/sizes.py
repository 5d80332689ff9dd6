"""The size of an attack in words."""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

SIZE = "{size}"
"""Stands for the size in the title of a column."""


def size_label(params: Mapping[str, Any], attack: Mapping[str, Any], spec: str) -> str:
    """Return the size of an attack with its norm: ``linf 8/255``, ``5 % area``, ``2 words``.

    Args:
        params: those of a row; they hold the size under the name of the size.
        attack: what the record says about its attack: ``norm``, ``size_name``, and ``unit`` for what is counted.
        spec: the axis spec, in which the size may stand as a fraction.
    """
    size = params.get(str(attack.get("size_name")))
    if not isinstance(size, int | float):
        return ""
    unit = str(attack.get("unit") or "")
    if unit == "%":
        return f"{100 * size:.3g} % {attack['size_name']}"
    if unit:
        return f"{size:.0f} {unit}{'s' if size > 1 else ''}"
    return f"{attack.get('norm')} {as_typed(float(size), spec)}"


def as_typed(size: float, spec: str) -> str:
    """Return a size as its spec has it: 8/255 where that was typed, else rounded."""
    ratios = re.findall(r"\d+/0*[1-9]\d*", spec)
    return next((text for text in ratios if math.isclose(Fraction(text), size, rel_tol=1e-9)), f"{size:.3g}")
