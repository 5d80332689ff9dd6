"""What prepares images for a module: its range of pixels, its normalization and its size."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from suite.errors import ModelError


def check_preparation(bounds: Any, mean: Any, std: Any, input_size: Any) -> None:
    """Check the arguments of an adapter that say how images are prepared; see `suite.models.base.TorchModel`.

    Raises:
        ModelError: the bounds are no range, the normalization is not finite or divides by zero, or the size is none.
    """
    if not (_are_numbers(bounds, 2) and bounds[0] < bounds[1]):
        raise ModelError(f"bounds={bounds!r} is not a range; expected (low, high) such as (0, 1) or (0, 255).")
    for name, value in (("mean", mean), ("std", std)):
        if value is not None and not _are_numbers(value):
            raise ModelError(f"{name}={value!r}; expected finite numbers, one per channel or one for all, as a list.")
    if std is not None and min(std) <= 0:
        raise ModelError(f"std={std!r}; expected positive numbers, since pixels are divided by them.")
    if input_size is not None and not (_are_numbers(input_size, 2) and all(_is_size(side) for side in input_size)):
        raise ModelError(f"input_size={input_size!r}; expected (height, width) in pixels, such as (224, 224).")


def _are_numbers(values: Any, count: int | None = None) -> bool:
    """Return whether these are finite numbers, at least one, and as many as asked for."""
    listed = values.tolist() if isinstance(values, np.ndarray | Tensor) else values
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes) or len(listed) != (count or len(listed)):
        return False
    return bool(listed) and all(isinstance(one, int | float | np.floating) and math.isfinite(one) for one in listed)


def _is_size(side: Any) -> bool:
    return isinstance(side, int | np.integer) and bool(side >= 1)
