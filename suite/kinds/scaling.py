"""The scaling of logits in attack losses: a factor on all logits cannot mask the gradient."""

import torch
from torch import Tensor

from suite.kinds.defaults import SPREAD, TINY


def nonzero(ranges: Tensor) -> Tensor:
    """Return differences between logits as divisors: 1 where they are equal, as a network without biases has them.

    Attacks follow the direction of a gradient only, and a tiny divisor would let its length overflow.
    """
    return torch.where(ranges > TINY, ranges, 1.0)


def to_spread(ranges: Tensor) -> Tensor:
    """Return the factors that scale ranges of logits to `SPREAD`; `SPREAD` where all logits are equal."""
    return SPREAD / nonzero(ranges)
