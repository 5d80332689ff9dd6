"""Random weights of samples in many resamples; the last few draws are kept, since measures share them.

In a resample of the Bayesian bootstrap (Rubin 1981) the weights of the samples are independent and exponential. Unlike
the counts of draws with replacement they are never 0, so that no resample lacks a rare class, and their skewness suits
the intervals of rates and losses that few samples dominate.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from suite.errors import MeasureError

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
WeightArray = NDArray[np.float32]

CHUNK_BYTES = 4 * 2**20
"""Size of one chunk of float64 weights; a statistic that holds ten arrays of that size stays near 64 MiB."""

GROUP_BYTES = 32 * 2**20
"""Size of one group of weights, and of all weights that are kept."""


def chunk_rows(n: int) -> int:
    """Return the number of resamples of n samples that are processed at once."""
    return max(1, CHUNK_BYTES // (8 * n))


def chunks(total: int, size: int) -> Iterator[slice]:
    """Yield slices of `size` that cover `total`; the last one may be shorter."""
    for start in range(0, total, size):
        yield slice(start, min(total, start + size))


class _Kept:
    """The weights of the last draws, at most `GROUP_BYTES` in all."""

    def __init__(self) -> None:
        self._weights: OrderedDict[tuple[int, int, int], WeightArray] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[int, int, int], draw: Callable[[], WeightArray]) -> WeightArray:
        """Return the weights under a key, drawn if they are not kept."""
        with self._lock:
            if key in self._weights:
                self._weights.move_to_end(key)
                return self._weights[key]
        weights = draw()
        weights.setflags(write=False)
        with self._lock:
            self._weights[key] = weights
            while sum(kept.nbytes for kept in self._weights.values()) > GROUP_BYTES:
                self._weights.popitem(last=False)
        return weights


_KEPT = _Kept()


def drawn_weights(n: int, seed: int, replicates: int) -> Iterator[WeightArray]:
    """Yield exponential weights of n samples with mean 1, (n, r), in groups of resamples of at most `GROUP_BYTES`.

    The weights are the same for the same seed on every machine. A single group is kept for the next call.

    Raises:
        MeasureError: `n` or `replicates` is not positive.
    """
    if n < 1 or replicates < 1:
        raise MeasureError(f"got n={n}, replicates={replicates}; expected both to be at least 1.")
    size = max(1, GROUP_BYTES // (4 * n))
    if replicates > size:
        yield from _groups(n, seed, replicates, size)
    else:
        yield _KEPT.get((n, seed, replicates), lambda: next(_groups(n, seed, replicates, size)))


def _groups(n: int, seed: int, replicates: int, size: int) -> Iterator[WeightArray]:
    generator = np.random.default_rng(seed)
    for group in chunks(replicates, size):
        weights = np.empty((n, group.stop - group.start), np.float32)
        for part in chunks(weights.shape[1], chunk_rows(n)):
            drawn = generator.standard_exponential((part.stop - part.start, n), np.float32)
            weights[:, part] = drawn.T
        yield weights
