"""A board as a table for the terminal, never wider than asked, with the footnotes that its numbers need."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from suite.leaderboard import Board, Column
from suite.leaderboard.cells import ARROWS, DASH, NO_INTERVAL, cell, control, interval, is_upper_bound, missing, why
from suite.leaderboard.notes import group_by_reason
from suite.types import verdict_of

SUSPECT = (
    "?: suspect. There is a number, but a check of it failed. ≤: a suspect robust accuracy is an upper bound, a better "
    "attack would find it lower. It has no letter and no rank, is in no test, and stands below every valid number of "
    "the column that ranks."
)
INVALID = "invalid: no number to believe, as it is undefined, failed or was skipped. The reason stands below."


CONTROLS = {
    "random": "random: the same measure under a random change of the same size as the attack.",
    "real": "real: the same measure of as many real samples in place of made-up ones.",
}
"""What stands below a number, in a sentence."""


def board_table(board: Board, *, width: int = 120) -> Group:
    """Return a board as a rich renderable of at most `width` characters: one table or more, then the footnotes.

    Where the table would be too wide, intervals move to a second line, and further columns to a further table.
    """
    stacked = _width(_table(board, list(board.columns), stacked=False)) > width
    tables = [_table(board, part, stacked=stacked) for part in _parts(board, width, stacked)]
    tables[0].title = Text(printable(board.task))
    return Group(*tables, *(Text(note) for note in footnotes(board)))


def _parts(board: Board, width: int, stacked: bool) -> list[list[Column]]:
    """Return the columns in runs that fit the width."""
    parts: list[list[Column]] = [[]]
    for column in board.columns:
        if parts[-1] and _width(_table(board, [*parts[-1], column], stacked=stacked)) > width:
            parts.append([])
        parts[-1].append(column)
    return parts


def footnotes(board: Board) -> list[str]:
    """Return what readers must know to read the numbers, as plain sentences."""
    head = (
        f"Version {board.task_version} of the task, data {board.data[:8] or 'unknown'}, seed {board.seed}, "
        f"{board.n:,} test samples."
    )
    notes = [head, "value [95 % interval]; fractions in percent; ↑ more is better, ↓ less is better; – not measured."]
    held = {control(line, column).partition(" ")[0] for _, line in board.frame.iterrows() for column in board.columns}
    notes += [said for name, said in CONTROLS.items() if name in held]
    if any(interval(line, column) == NO_INTERVAL for _, line in board.frame.iterrows() for column in board.columns):
        notes.append(f"{NO_INTERVAL}: the samples do not vary, or are too few, so that they give no interval.")
    if biased := [column.title for column in board.columns if _moved(column)]:
        notes.append(
            f"{', '.join(biased)}: the fewer samples, the higher; the interval is of the value to expect at "
            "this number of samples."
        )
    tied = [column.title for column in board.columns if f"{column.name}_ties" in board.frame and _has(board, column)]
    if tied:
        notes.append(
            "Models that share a letter are tied: exact McNemar tests on the samples they share, adjusted by Holm over "
            f"all pairs of a column (alpha {board.alpha:g}), do not tell them apart. A rank is the range the tests "
            "allow."
        )
    return [printable(note) for note in (*notes, *_doubts(board), *_failures(board), *board.notes)]


def printable(text: Any) -> str:
    """Return a text from outside on one line, without characters that steer a terminal or turn the reading order."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def _table(board: Board, shown: list[Column], *, stacked: bool) -> Table:
    table = Table(title_justify="left")
    table.add_column("rank", no_wrap=True)
    table.add_column("model", overflow="fold", max_width=28)
    for column in shown:
        table.add_column(Text(_heading(column)), no_wrap=True)
    for _, line in board.frame.iterrows():
        cells = [Text(cell(line, column, stacked=stacked)) for column in shown]
        rank = DASH if missing(line["rank"]) else str(line["rank"])
        table.add_row(Text(rank), Text(printable(line["model"])), *cells)
    return table


def _heading(column: Column) -> str:
    return printable(f"{column.title} {ARROWS[column.higher_is_better]}").strip().replace(" ", "\n", 1)


def _has(board: Board, column: Column) -> bool:
    return bool(board.frame[f"{column.name}_ties"].notna().any())


def _moved(column: Column) -> bool:
    """Return whether a column's intervals are those of a biased measure; what is attacked or scaled is told once."""
    plain = column.axis == "clean" or "scaled" not in column.name
    by = column.entries["interval_by"].astype(str)
    biased = by.str.startswith(("bootstrap-recentred", "jackknife of groups"))
    return plain and column.axis != "robustness" and bool(biased.any())


def _doubts(board: Board) -> Iterator[str]:
    """Say what suspect and invalid mean where a board has them, then of every such number why it is one."""
    shown = {str(status) for column in board.columns for status in board.frame[f"{column.name}_status"].dropna()}
    verdicts = {verdict_of(status) for status in shown}
    yield from (text for verdict, text in (("suspect", SUSPECT), ("invalid", INVALID)) if verdict in verdicts)
    for column in board.columns:
        for status, said in (("suspect", "suspect"), ("inconclusive", "invalid")):
            found = board.frame[board.frame[f"{column.name}_status"] == status]
            bound = ", so an upper bound" if is_upper_bound(column.metric, status, column.higher_is_better) else ""
            whys = map(why, found[f"{column.name}_reason"], found[f"{column.name}_checks"])
            for models, reason in group_by_reason(zip(found["model"], whys, strict=True)):
                yield f"{column.title}, {models}: {said}{bound}: {reason}.".replace("..", ".")


def _failures(board: Board) -> list[str]:
    said = [(line["model"], reason) for _, line in board.frame.iterrows() for reason in line["reasons"]]
    return [f"{models}: {reason}" for models, reason in group_by_reason(said)]


def _width(table: Table) -> int:
    console = Console(width=10_000)
    return Measurement.get(console, console.options, table).maximum
