"""A board as a table for the terminal, never wider than asked, with the footnotes that its numbers need."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from suite.leaderboard import Board, Column
from suite.leaderboard.notes import together

DASH = "–"
"""Stands for whatever was not measured; never 0."""

NO_INTERVAL = f"[{DASH}]"
"""Stands for an interval that the samples cannot give; never one of no width."""


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
    if any(_control(line, column) for _, line in board.frame.iterrows() for column in board.columns):
        notes.append("random: right answers under a random change of the same size as the attack.")
    if any(interval(line, column) == NO_INTERVAL for _, line in board.frame.iterrows() for column in board.columns):
        notes.append(f"{NO_INTERVAL}: the samples do not vary, or are too few, so that they give no interval.")
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


def percent(value: Any, unit: str) -> str:
    """Return a number as readers see it: fractions in percent without the sign, a dash for what is missing."""
    if value is None or pd.isna(value):
        return DASH
    return f"{100 * value:.1f}" if unit in ("fraction", "probability") else f"{value:.3g}"


def interval(line: pd.Series[Any], column: Column) -> str:
    """Return the interval of a line's number in a column as ``[95.7, 98.5]`` or ``[–]``; empty without a number."""
    if _missing(line.get(column.name)):
        return ""
    if not bounded(line, column):
        return NO_INTERVAL
    return f"[{percent(line[f'{column.name}_lo'], column.unit)}, {percent(line[f'{column.name}_hi'], column.unit)}]"


def bounded(line: pd.Series[Any], column: Column) -> bool:
    """Return whether a line's number in a column has an interval that says something about its spread."""
    ends = (line.get(f"{column.name}_lo"), line.get(f"{column.name}_hi"))
    by = line.get(f"{column.name}_interval_by")
    return not any(map(_missing, ends)) and not str(by).startswith(("degenerate", "none"))


def _table(board: Board, shown: list[Column], *, stacked: bool) -> Table:
    table = Table(title_justify="left")
    table.add_column("rank", no_wrap=True)
    table.add_column("model", overflow="fold", max_width=28)
    for column in shown:
        table.add_column(Text(_heading(column)), no_wrap=True)
    for _, line in board.frame.iterrows():
        cells = [_cell(line, column, stacked) for column in shown]
        table.add_row(Text(_text(line["rank"])), Text(printable(line["model"])), *(Text(cell) for cell in cells))
    return table


def _heading(column: Column) -> str:
    return printable(f"{column.title} {'↑' if column.higher_is_better else '↓'}").replace(" ", "\n", 1)


def _cell(line: pd.Series[Any], column: Column, stacked: bool) -> str:
    status = line.get(f"{column.name}_status")
    value = percent(line[column.name], column.unit)
    if status in ("failed", "skipped"):
        return str(status)
    mark = "?" if status == "inconclusive" else ""
    tie = line.get(f"{column.name}_ties")
    method = line.get(f"{column.name}_method")
    parts = [value + mark, "" if stacked else interval(line, column), "" if _missing(tie) else str(tie)]
    text = " ".join(part for part in parts if part)
    under = [str(method)] if not _missing(method) else []
    under += [interval(line, column)] if stacked and interval(line, column) else []
    under += [f"random {_control(line, column)}"] if _control(line, column) else []
    return "\n".join([text, *under])


def _control(line: pd.Series[Any], column: Column) -> str:
    """Return the accuracy under the random control of a robust accuracy, empty where there is none."""
    control = line.get(f"{column.name}_control")
    shown = column.metric == "robust_accuracy" and not _missing(line[column.name]) and not _missing(control)
    return percent(control, column.unit) if shown else ""


def _has(board: Board, column: Column) -> bool:
    return bool(board.frame[f"{column.name}_ties"].notna().any())


def _doubts(board: Board) -> list[str]:
    notes = []
    for column in board.columns:
        doubtful = board.frame[board.frame[f"{column.name}_status"] == "inconclusive"]
        whys = doubtful[f"{column.name}_reason"].map(lambda why: "a check failed" if _missing(why) else str(why))
        for models, why in together(zip(doubtful["model"], whys, strict=True)):
            notes.append(f"? {column.title}, {models}: inconclusive, {why}.".replace("..", "."))
    return notes


def _failures(board: Board) -> list[str]:
    said = [(line["model"], reason) for _, line in board.frame.iterrows() for reason in line["reasons"]]
    return [f"{models}: {reason}" for models, reason in together(said)]


def _text(value: Any) -> str:
    return DASH if _missing(value) else str(value)


def _missing(value: Any) -> bool:
    return value is None or bool(pd.isna(value))


def _width(table: Table) -> int:
    console = Console(width=10_000)
    return Measurement.get(console, console.options, table).maximum
