"""Settings of a run."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass
from typing import Any

from suite.axes.rounds import Executor, Track, in_order
from suite.types import Cell, Status


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
        for old, new, given in (("tell", "on_cell_done", tell), ("inform", "on_task_loaded", inform)):
            if given is not None:
                warnings.warn(f"Settings({old}=...) is now Settings({new}=...).", DeprecationWarning, stacklevel=3)
                object.__setattr__(self, new, given)
