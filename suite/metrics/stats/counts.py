"""How often each sample is drawn in each of many resamples; the last few draws are kept, since measures share them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from suite.errors import MeasureError

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
CountArray = NDArray[np.uint8]

CHUNK_BYTES = 4 * 2**20
"""Size of one chunk of indices; a statistic that holds ten arrays of that size stays near 64 MiB."""

GROUP_BYTES = 16 * 2**20
"""Size of one group of counts, and of all counts that are kept."""


def chunk_rows(n: int) -> int:
    """Return the number of resamples of n samples that are processed at once."""
    return max(1, CHUNK_BYTES // (8 * n))


def drawn_indices(n: int, seed: int, replicates: int) -> Iterator[IndexArray]:
    """Yield the indices (r, n) of resamples with replacement, in chunks; the same for the same seed on every machine.

    Raises:
        MeasureError: `n` or `replicates` is not positive.
    """
    _check(n, replicates)
    generator = np.random.default_rng(seed)
    for part in chunks(replicates, chunk_rows(n)):
        yield generator.integers(0, n, size=(part.stop - part.start, n))


def _check(n: int, replicates: int) -> None:
    if n < 1 or replicates < 1:
        raise MeasureError(f"got n={n}, replicates={replicates}; expected both to be at least 1.")


def chunks(total: int, size: int) -> Iterator[slice]:
    """Yield slices of `size` that cover `total`; the last one may be shorter."""
    for start in range(0, total, size):
        yield slice(start, min(total, start + size))


def resample_counts(indices: IndexArray) -> FloatArray:
    """Return how often each sample was drawn, (n, r), from the indices (r, n) of r resamples."""
    rows, n = indices.shape
    keys = indices * rows + np.arange(rows)[:, None]
    return np.bincount(keys.ravel(), minlength=n * rows).reshape(n, rows).astype(np.float64)


class _Kept:
    """The counts of the last draws, at most `GROUP_BYTES` in all."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[int, int, int], CountArray] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[int, int, int], draw: Callable[[], CountArray]) -> CountArray:
        """Return the counts under a key, drawn if they are not kept."""
        with self._lock:
            if key in self._counts:
                self._counts.move_to_end(key)
                return self._counts[key]
        counts = draw()
        counts.setflags(write=False)
        with self._lock:
            self._counts[key] = counts
            while sum(kept.nbytes for kept in self._counts.values()) > GROUP_BYTES:
                self._counts.popitem(last=False)
        return counts


_KEPT = _Kept()


def drawn_counts(n: int, seed: int, replicates: int) -> Iterator[CountArray]:
    """Yield how often each sample was drawn, (n, r), in groups of resamples of at most `GROUP_BYTES` or one chunk.

    The draws are those of `drawn_indices`. A single group is kept for the next call.

    Raises:
        MeasureError: `n` or `replicates` is not positive.
    """
    _check(n, replicates)
    rows = chunk_rows(n)
    size = rows * max(1, GROUP_BYTES // (rows * n))  # whole chunks, so that chunks are the same in every group
    if replicates > size:
        yield from _groups(n, seed, replicates, size)
    else:
        yield _KEPT.get((n, seed, replicates), lambda: next(_groups(n, seed, replicates, size)))


def _groups(n: int, seed: int, replicates: int, size: int) -> Iterator[CountArray]:
    draws = drawn_indices(n, seed, replicates)
    for group in chunks(replicates, size):
        # A count is at most n, and for n > 255 a count above 255 has a probability below 1e-500.
        counts = np.empty((n, group.stop - group.start), np.uint8)
        for part in chunks(counts.shape[1], chunk_rows(n)):
            counts[:, part] = resample_counts(next(draws))
        yield counts
