"""Progress bars with the remaining time, and one line per finished cell."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from suite.escaping import escaped_name
from suite.types import Cell, Status

Item = TypeVar("Item")

MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red")}
"""The sign of a status, and its color."""


@dataclass(frozen=True)
class Bars:
    """Progress on a terminal: pass its methods to `Settings`."""

    progress: Progress

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items, with a progress bar."""
        bar = self.progress.add_task(escaped_name(label), total=total)
        try:
            for item in items:
                yield item
                self.progress.advance(bar)
        finally:
            self.progress.remove_task(bar)

    def on_task_loaded(self, sentence: str) -> None:
        """Print a sentence about a loaded task above the bars."""
        self._print(Text(escaped_name(sentence)))

    def on_cell_done(self, cell: Cell, status: Status, reason: str) -> None:
        """Print the outcome of a cell above the bars."""
        line = " ".join((cell.task, cell.model, cell.axis)) + (f": {reason}" if reason else "")
        self._print(Text.assemble(MARKS[status], " ", escaped_name(line)))

    def _print(self, line: Text) -> None:
        """Print a line above the bars; a `Text`, since rich would read markup in a string."""
        self.progress.console.print(line, soft_wrap=True)


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Show progress bars within the block."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress)
