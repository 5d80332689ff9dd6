"""How large a stored perturbation is, and how large it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from suite.kinds.base import Array

ROUNDING = (1e-5, 1e-6)
"""By which share of a size, and by how much beside, a norm may exceed it: what rounding to float32 can add."""


def limit(norm: str, sizes: Array, shape: tuple[int, ...]) -> Array:
    """Return what `SIZES` may be at most for perturbations of some sizes, (n,) in float64.

    Args:
        norm: a key of `SIZES`.
        sizes: eps of a norm; for a patch the share of the area that it covers.
        shape: (height, width) of the images.
    """
    if norm == "l0":  # a count; 0.29 of 100 pixels is 29 of them, not 28.999
        return np.asarray(np.floor(sizes + 1e-9))
    if norm == "patch":  # the side of the largest square of whole pixels
        pixels = np.floor(sizes * shape[0] * shape[1] * (1 + 1e-9))
        return np.asarray(np.minimum(np.floor(np.sqrt(pixels)), min(shape)))
    return np.asarray(sizes * (1 + ROUNDING[0]) + ROUNDING[1])


def _box(moved: Array) -> Array:
    """Return the side of the smallest square that holds all pixels that changed, (n,); 0 where none did."""
    changed = (moved != 0).any(axis=1)
    return np.maximum(_extent(changed.any(axis=2)), _extent(changed.any(axis=1)))


def _extent(changed: Array) -> Array:
    """Return how far it is from the first to the last true entry of each row, both counted, (n,)."""
    first, last = changed.argmax(axis=1), changed.shape[1] - 1 - changed[:, ::-1].argmax(axis=1)
    return np.where(changed.any(axis=1), last - first + 1, 0)


SIZES: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "linf": lambda moved: np.abs(moved).max(axis=(1, 2, 3)),
        "l2": lambda moved: np.sqrt((moved**2).sum(axis=(1, 2, 3))),
        "l1": lambda moved: np.abs(moved).sum(axis=(1, 2, 3)),
        "l0": lambda moved: (moved != 0).any(axis=1).sum(axis=(1, 2)),
        "patch": _box,
    }
)
"""By norm: perturbations (n, channels, height, width) in float64 to what is limited of each, (n,).

For ``l0`` all channels of a pixel count as one; for ``patch`` it is the side of the square box round all that changed.
"""
