"""Cohorts: fixed groups of samples that are read and measured together."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from suite.data.digests import in_digest_order

LARGEST = 1024
"""Most samples of a cohort."""

MOST_BYTES = 128 * 2**20
"""Most bytes of the inputs of a cohort as float32."""


def cohort_size(shape: Sequence[int]) -> int:
    """Return the number of samples of a cohort: the largest power of two whose inputs of this shape fit the limits."""
    room = MOST_BYTES // (4 * max(1, math.prod(shape)))
    return int(2 ** math.floor(math.log2(max(1, min(LARGEST, room)))))


def cohorts(ids: Sequence[str], rows: npt.ArrayLike, size: int, multiple: int = 1) -> list[npt.NDArray[np.int64]]:
    """Cut samples into cohorts of about equal size, in the order of the digests of their ids.

    A cohort depends on the ids of all samples and on nothing else. All but the last have a multiple of `multiple`
    samples if that fits, so that forward passes of this width are full.

    Args:
        ids: ids of all samples of a split.
        rows: the samples to cut, as positions in `ids`.
        size: most samples of a cohort.
        multiple: the width of a forward pass.

    Returns:
        The positions of each cohort, ascending.
    """
    chosen = np.asarray(rows, np.int64).reshape(-1)
    order = chosen[in_digest_order([ids[row] for row in chosen.tolist()])]
    count = -(-len(order) // max(1, size))
    each = -(-len(order) // max(1, count))
    each = min(-(-each // multiple) * multiple, size) if size >= multiple else each
    return [np.sort(order[start : start + each]) for start in range(0, len(order), max(1, each))]
