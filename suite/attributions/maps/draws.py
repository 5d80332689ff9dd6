"""Random numbers that depend on the seed of a sample alone."""

import numpy as np
import torch


def generator(seed: int, stream: str) -> torch.Generator:
    """Return the generator of one sample for one purpose, on the CPU so that no device changes its numbers."""
    state = np.random.SeedSequence([seed, *stream.encode()]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)
