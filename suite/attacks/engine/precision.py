"""Faster gradients: lower precision and compilation, for the search alone; what counts is judged at full precision."""

from dataclasses import replace

import torch
from torch import Tensor

from suite.attacks.engine.problem import Problem
from suite.errors import SpecError

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
"""What gradients may be computed in."""


def faster(problem: Problem, *, precision: str = "float32", compiled: bool = False) -> Problem:
    """Return the problem with gradients from a lower precision, a compiled model, or both.

    Outcomes come from the model itself in its own precision, so that neither can turn a wrong answer into a finding.

    Args:
        problem: the model.
        precision: ``float32``, or ``bfloat16`` by automatic casting.
        compiled: compile the model with `torch.compile`, which needs a C++ compiler on a processor and takes its time
            on the first batch.

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
