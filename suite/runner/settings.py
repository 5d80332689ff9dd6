"""How a run computes and what it shows."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass
from typing import Any

import torch

from suite.axes.base import Track
from suite.errors import SuiteError
from suite.types import Cell, Status


def silent(items: Iterable[Any], label: str, total: int) -> Iterator[Any]:
    """Track nothing: the progress bar of a run without a terminal."""
    yield from items


@dataclass(frozen=True)
class Settings:
    """How a run computes and what it shows; none of it changes a result.

    Attributes:
        device: ``auto`` for a GPU if there is one, or a PyTorch device.
        batch_size: samples per forward pass.
        track: wraps whatever takes time with a progress bar.
        on_cell_done: called after every cell that was measured: (cell, status, reason of a failure).
        on_task_loaded: called with a sentence on what was read of every task, and what was dropped.
        strict: refuse a task of which anything has to be dropped.
        tell, inform: deprecated names of `on_cell_done` and `on_task_loaded`.
    """

    device: str = "auto"
    batch_size: int = 64
    track: Track = silent
    on_cell_done: Callable[[Cell, Status, str], None] = lambda cell, status, reason: None
    on_task_loaded: Callable[[str], None] = lambda sentence: None
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


def pick_device(name: str) -> torch.device:
    """Return the device: the named one, or with ``auto`` a GPU if there is one.

    Raises:
        SuiteError: there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SuiteError(f"Device {name!r} cannot be used: {str(error).splitlines()[0]}. Try cpu or auto.") from error
    return device
