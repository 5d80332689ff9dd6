"""A task of as many generated images as wanted, for measurements of memory; see `tests.benchmarks.memory`."""

from __future__ import annotations

from collections.abc import Iterator

from suite import Sample, task

SIDE = 224

OTHERS = 64
"""Images for training and validation each."""


@task(kind="classification", classes=("dark", "bright"), source="generated")
def generated_images(split: str, seed: int, *, count: int = 200) -> Iterator[Sample]:
    """Images of noise around a level that their class has; count= images in the test split, 224x224 in three colors."""
    import numpy as np

    size = count if split == "test" else OTHERS
    rng = np.random.default_rng([seed, len(split)])
    noise = rng.integers(0, 64, (3, SIDE, SIDE), dtype=np.uint8)
    for number in range(size):
        bright = number % 2
        image = np.roll(noise, int(rng.integers(SIDE)), axis=2) + np.uint8(60 + 40 * bright)
        image[:, rng.integers(SIDE), :] = rng.integers(0, 256, SIDE, dtype=np.uint8)
        yield Sample(f"{split}-{number}", image, bright)
