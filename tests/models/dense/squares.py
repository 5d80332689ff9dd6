"""Bright squares on dark noise: scenes that a detector learns in seconds."""

import numpy as np
import torch


def squares(count, size=32, seed=0):
    """Return images (n, 3, size, size) and targets (n, 3, 6); class 0 is red, class 1 is green; the last row pads."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 0.2, (count, 3, size, size)).astype(np.float32)
    targets = np.tile(np.array([0, 0, 0, 0, -1, 0], np.float32), (count, 3, 1))
    for i in range(count):
        for row, column in enumerate(rng.permutation([0, 1])[: rng.integers(1, 3)]):
            side, kind = rng.integers(8, 14), rng.integers(0, 2)
            x = column * size // 2 + rng.integers(0, size // 2 - side + 1)
            y = rng.integers(0, size - side + 1)
            images[i, kind, y : y + side, x : x + side] = 1
            targets[i, row] = [x, y, x + side, y + side, kind, 0]
    return torch.from_numpy(images), torch.from_numpy(targets)
