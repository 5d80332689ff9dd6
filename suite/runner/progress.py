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
    """Progress on a terminal: pass `track` and `tell` to the harness."""

    progress: Progress

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items while a bar of their own shows how many are done and how long the rest will take."""
        bar = self.progress.add_task(label, total=total)
        try:
            for item in items:
                yield item
                self.progress.advance(bar)
        finally:
            self.progress.remove_task(bar)

    def on_task_loaded(self, sentence: str) -> None:
        """Print a sentence above the bars."""
        self.progress.console.print(escape(sentence), soft_wrap=True)

    def on_cell_done(self, cell: Cell, status: Status, reason: str) -> None:
        """Print what became of a cell."""
        why = f": {escape(reason)}" if reason else ""
        names = " ".join(escape(part) for part in (cell.task, cell.model, cell.axis))
        self.progress.console.print(f"{MARKS[status]} {names}{why}", soft_wrap=True)


@contextmanager
def bars(console: Console) -> Iterator[Bars]:
    """Show bars while the block runs."""
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
