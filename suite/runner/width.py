"""The number of samples of a forward pass."""

import math
from collections.abc import Sequence

import torch

ACCELERATOR, LARGEST, LEAST = 64, 64, 8
"""Rows of a forward pass on an accelerator, and most and fewest rows on a CPU."""

MOST_BYTES = 64 * 2**10
"""Most bytes of the inputs of a forward pass of more than `LEAST` rows on a CPU. There, networks for larger inputs are
no faster with more rows, and attacks on few samples would have to pad them."""


def default_width(shape: Sequence[int], device: torch.device) -> int:
    """Return the number of rows of a forward pass for inputs of a shape, a power of two."""
    if device.type != "cpu":
        return ACCELERATOR
    fitting = MOST_BYTES / (4 * max(1, math.prod(shape)))
    return int(min(LARGEST, max(LEAST, 2 ** math.floor(math.log2(max(1.0, fitting))))))
