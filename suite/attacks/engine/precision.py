"""Faster gradients from lower precision or compilation; outcomes are still computed at full precision."""

from dataclasses import replace

import torch
from torch import Tensor

from suite.attacks.engine.problem import Problem
from suite.errors import SpecError

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
"""Data types in which gradients may be computed."""


def faster(problem: Problem, *, precision: str = "float32", compiled: bool = False) -> Problem:
    """Return the problem with gradients from lower precision, a compiled model, or both.

    Outcomes come from the model itself in its own precision, so neither option can create a false adversarial example.

    Args:
        problem: the model.
        precision: ``float32``, or ``bfloat16`` by automatic mixed precision.
        compiled: compile the model with `torch.compile`; this needs a C++ compiler on a CPU, and makes the first batch
            slow.

    Raises:
        SpecError: the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise SpecError(f"precision={precision!r}; expected one of {', '.join(PRECISIONS)}.")
    dtype = PRECISIONS[precision]
    if dtype is None and not compiled:
        return problem
    model = torch.compile(problem.model, dynamic=True) if compiled else problem.model

    def guide(pixels: Tensor) -> Tensor:
        if dtype is None:
            return model(pixels)
        with torch.autocast(pixels.device.type, dtype):
            return model(pixels).float()

    return replace(problem, guide=guide)
