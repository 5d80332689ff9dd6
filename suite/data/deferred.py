"""Samples whose inputs and targets are read later, in the order in which they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.decoding import in_order
from suite.errors import DataError
from suite.types import ClassNames, Deferred, Rejected, Remark, Sample


def resolved(sample: Sample) -> Sample | Rejected:
    """Return a sample with its deferred input and target read, or why they cannot be read."""
    try:
        values = {name: getattr(sample, name) for name in ("target", "input")}
        parts = {name: value.read() for name, value in values.items() if isinstance(value, Deferred)}
    except (DataError, OSError) as error:
        return Rejected(sample.id, str(error))
    return replace(sample, **parts) if parts else sample


def split_deferred(samples: Iterable[Any]) -> tuple[Iterable[Any], bool]:
    """Return the samples, and whether all of them have inputs in files; they are then a list."""
    iterator, first = iter(samples), []
    for sample in iterator:
        first.append(sample)
        if not isinstance(sample, Rejected | Remark | ClassNames) and not _is_listed(sample):
            return chain(first, iterator), False
    return first, True


def _is_listed(sample: Any) -> bool:
    return isinstance(sample, Sample) and isinstance(sample.input, Deferred) and bool(sample.input.files)


def resolved_ahead(samples: Iterable[Sample]) -> Iterator[tuple[Sample, Sample | Rejected]]:
    """Yield each sample as it is given and as it is read; some are read ahead in threads."""
    iterator = iter(samples)
    first = next(iterator, None)
    if first is not None:
        is_deferred = isinstance(first.input, Deferred)
        yield from in_order(lambda sample: (sample, resolved(sample)), chain([first], iterator), threads=is_deferred)


def readable_again(sample: Sample, complete: Sample, value: npt.NDArray[Any]) -> Deferred | None:
    """Return the deferred input if what it returns is the validated input, but for its shape and type."""
    if not isinstance(sample.input, Deferred):
        return None
    raw = np.asarray(complete.input)
    is_equal = raw.size == value.size and np.array_equal(value, raw.reshape(value.shape).astype(value.dtype))
    return sample.input if is_equal else None
