"""A board as a table for the terminal, of a given width, with footnotes."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from suite.escaping import escaped, escaped_name
from suite.leaderboard import Board, Column
from suite.leaderboard.cells import (
    ARROWS,
    DASH,
    NO_INTERVAL,
    cell,
    control,
    interval,
    is_missing,
    is_upper_bound,
    reason_text,
)
from suite.leaderboard.notes import group_by_reason
from suite.types import verdict_of

SUSPECT = (
    "?: suspect. The number failed a check. ≤: a suspect number under attack is an upper bound, since a better attack "
    "would lower it. A suspect number gets no letter and no rank, enters no test, and is listed below every valid "
    "number of the ranking column."
)
INVALID = "invalid: no usable number, because it is undefined, failed or was skipped. The reason is given below."

CONTROLS = {
    "random": "random: the same metric under the random control, such as perturbations of the size of the attack.",
    "real": "real: the same metric of as many real samples instead of generated ones.",
}
"""What the control below a number is."""


def board_table(board: Board, *, width: int = 120) -> Group:
    """Return a board as a rich renderable of at most `width` characters: one table or more, then the footnotes.

    If the table is too wide, intervals move to a second line, and the last columns to further tables.
    """
    stacked = _width(_table(board, board.columns, stacked=False)) > width
    tables = [_table(board, part, stacked=stacked) for part in _parts(board, width, stacked)]
    tables[0].title = Text(printable(board.task))
    return Group(*tables, *(Text(note) for note in footnotes(board)))


def _parts(board: Board, width: int, stacked: bool) -> list[list[Column]]:
    """Return the columns in groups that fit the width."""
    parts: list[list[Column]] = [[]]
    for column in board.columns:
        if parts[-1] and _width(_table(board, [*parts[-1], column], stacked=stacked)) > width:
            parts.append([])
        parts[-1].append(column)
    return parts


def footnotes(board: Board) -> list[str]:
    """Return the footnotes of a board, as plain sentences."""
    notes = [
        f"Version {board.task_version} of the task, data {board.data[:8] or 'unknown'}, seed {board.seed}, "
        f"{board.n:,} test samples.",
        "value [95 % interval]; fractions in percent; ↑ higher is better, ↓ lower is better; – not measured.",
    ]
    cells = [(line, column) for _, line in board.frame.iterrows() for column in board.columns]
    controls = {control(line, column).partition(" ")[0] for line, column in cells}
    notes += [meaning for name, meaning in CONTROLS.items() if name in controls]
    if any(interval(line, column) == NO_INTERVAL for line, column in cells):
        notes.append(f"{NO_INTERVAL}: no interval, because the samples do not vary or are too few.")
    if biased := _biased(board.columns):
        notes.append(
            f"{', '.join(biased)}: biased upward, the more so the fewer the samples; the interval is for the expected "
            "value at this number of samples."
        )
    if any(board.frame[f"{column.name}_ties"].notna().any() for column in board.columns):
        notes.append(
            "Models that share a letter are tied: paired tests on their common samples, Holm-adjusted over all pairs "
            f"of a column (alpha {board.alpha:g}), find no significant difference. A rank is the range that the tests "
            "allow."
        )
    return [printable(note) for note in (*notes, *_doubts(board), *_failures(board), *board.notes)]


def printable(text: Any) -> str:
    """Return an untrusted value as visible text on one line: like `escaped_name`, and invisible characters too."""
    shown = escaped_name(str(text))
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)


def _table(board: Board, columns: Sequence[Column], *, stacked: bool) -> Table:
    table = Table(title_justify="left")
    table.add_column("rank", no_wrap=True)
    table.add_column("model", overflow="fold", max_width=28)
    for column in columns:
        table.add_column(Text(_heading(column)), no_wrap=True)
    for _, line in board.frame.iterrows():
        cells = [Text(escaped(cell(line, column, stacked=stacked))) for column in columns]
        rank = DASH if is_missing(line["rank"]) else str(line["rank"])
        table.add_row(Text(printable(rank)), Text(printable(line["model"])), *cells)
    return table


def _heading(column: Column) -> str:
    return printable(f"{column.title} {ARROWS[column.higher_is_better]}").strip().replace(" ", "\n", 1)


def _biased(columns: Sequence[Column]) -> list[str]:
    """Return the titles of biased metrics; the same metric under attack is not named again."""
    prefixes = ("bootstrap-recentred", "jackknife of groups")
    biased = [column for column in columns if column.entries["interval_by"].astype(str).str.startswith(prefixes).any()]
    return list(dict.fromkeys(column.metric.title for column in biased if column.metric.control != "random"))


def _doubts(board: Board) -> Iterator[str]:
    """Yield what suspect and invalid mean if a board has them, then the reason for each such number."""
    statuses = {str(status) for column in board.columns for status in board.frame[f"{column.name}_status"].dropna()}
    verdicts = {verdict_of(status) for status in statuses}
    yield from (text for verdict, text in (("suspect", SUSPECT), ("invalid", INVALID)) if verdict in verdicts)
    for column in board.columns:
        for status in ("suspect", "inconclusive"):
            lines = board.frame[board.frame[f"{column.name}_status"] == status]
            bound = ", so an upper bound" if is_upper_bound(column.metric, status, column.higher_is_better) else ""
            reasons = map(reason_text, lines[f"{column.name}_reason"], lines[f"{column.name}_checks"])
            for models, reason in group_by_reason(zip(lines["model"], reasons, strict=True)):
                yield f"{column.title}, {models}: {verdict_of(status)}{bound}: {reason}.".replace("..", ".")


def _failures(board: Board) -> list[str]:
    reasons = [(line["model"], reason) for _, line in board.frame.iterrows() for reason in line["reasons"]]
    return [f"{models}: {reason}" for models, reason in group_by_reason(reasons)]


def _width(table: Table) -> int:
    console = Console(width=10_000)
    return Measurement.get(console, console.options, table).maximum
