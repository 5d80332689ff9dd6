"""Settings of a run."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass
from typing import Any

import numpy as np

from suite.axes.rounds import Executor, Track, in_order
from suite.errors import SpecError
from suite.types import Cell, Status

MOST_SEED = 2**63 - 1
"""The largest seed that all generators take."""


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number, of Python or of NumPy."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_seed(seed: int) -> None:
    """Raise SpecError unless a seed is a whole number that all generators take."""
    if not is_whole(seed) or not 0 <= seed <= MOST_SEED:
        raise SpecError(f"seed={seed!r}; expected a whole number from 0 to 2^63 - 1.")


def silent(items: Iterable[Any], label: str, total: int) -> Iterator[Any]:
    """Yield the items without a progress bar."""
    yield from items


@dataclass(frozen=True)
class Settings:
    """Settings of a run.

    Attributes:
        device: ``auto`` for a GPU if there is one, or the name of a PyTorch device.
        batch_size: samples of every forward pass; None for a number by the size of a sample and the device. The last
            bits of outputs may depend on it, so it is part of the key of a result.
        track: wraps an iterable with a progress bar.
        on_cell_done: called after every measured cell with the cell, its status and the reason of a failure.
        on_task_loaded: called for every task with a sentence about the samples that were loaded and dropped.
        executor: measures the cohorts of a round; it changes no result.
        strict: raise DataError if a task drops samples.
        tell, inform: deprecated names of `on_cell_done` and `on_task_loaded`.

    Raises:
        SpecError: the batch size is not positive.
    """

    device: str = "auto"
    batch_size: int | None = None
    track: Track = silent
    on_cell_done: Callable[[Cell, Status, str], None] = lambda cell, status, reason: None
    on_task_loaded: Callable[[str], None] = lambda sentence: None
    executor: Executor = in_order
    strict: bool = False
    tell: InitVar[Callable[[Cell, Status, str], None] | None] = None
    inform: InitVar[Callable[[str], None] | None] = None

    def __post_init__(
        self, tell: Callable[[Cell, Status, str], None] | None, inform: Callable[[str], None] | None
    ) -> None:
        if self.batch_size is not None and (not is_whole(self.batch_size) or self.batch_size < 1):
            raise SpecError(f"batch_size={self.batch_size!r}; expected a number of samples, at least 1, or None.")
        for old, new, given in (("tell", "on_cell_done", tell), ("inform", "on_task_loaded", inform)):
            if given is not None:
                warnings.warn(f"Settings({old}=...) is now Settings({new}=...).", DeprecationWarning, stacklevel=3)
                object.__setattr__(self, new, given)
