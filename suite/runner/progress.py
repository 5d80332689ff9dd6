"""Progress bars with the remaining time, and one line per finished cell."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from suite.types import Cell, Status

Item = TypeVar("Item")

MARKS = {"ok": "[green]✓[/green]", "failed": "[red]✗[/red]"}


@dataclass(frozen=True)
class Bars:
    """Progress on a terminal: pass its methods to `Settings`."""

    progress: Progress

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items, with a progress bar."""
        bar = self.progress.add_task(label, total=total)
        try:
            for item in items:
                yield item
                self.progress.advance(bar)
        finally:
            self.progress.remove_task(bar)

    def on_task_loaded(self, sentence: str) -> None:
        """Print a sentence about a loaded task above the bars."""
        self.progress.console.print(escape(sentence), soft_wrap=True)

    def on_cell_done(self, cell: Cell, status: Status, reason: str) -> None:
        """Print the outcome of a cell above the bars."""
        why = f": {escape(reason)}" if reason else ""
        names = " ".join(escape(part) for part in (cell.task, cell.model, cell.axis))
        self.progress.console.print(f"{MARKS[status]} {names}{why}", soft_wrap=True)


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Show progress bars within the block."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bars(progress)
