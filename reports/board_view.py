"""The board: all models of a task."""

from typing import Any

import pandas as pd
import streamlit as st

from suite.decorators import page
from suite.errors import SuiteError
from suite.leaderboard import Board
from suite.leaderboard.text import footnotes
from suite.reports import figures, frames, sources, verdicts
from suite.reports.pages import PageContext
from suite.reports.parts import WIDTH, chart, choose, show_table
from suite.reports.text import in_unit, meaning_of, plain, prose

READING = """
Every number has a **95 % interval**. Models that **share a letter** in a *ties* column do not differ significantly. A
**rank** such as 1-2 is the range that the tests allow. Click a column to sort by it. **–** means not measured; ↑ higher
is better, ↓ lower is better. **random** is the same metric under random perturbations of the size of the attack,
**real** the same metric of real samples.
"""

OVERVIEW = 5
"""Models in the overview; more points on a line could not be distinguished."""


@page(title="Board", needs="task", rank=0)
def leaderboard(context: PageContext) -> None:
    """Show the board of a task."""
    st.header("Board")
    st.markdown(f"Task {plain(context.task)}")
    try:
        board = sources.leaderboard(context.folder, context.task, None, context.state)
        rank_by = _rank_by(board)
        if rank_by != board.rank_by:
            board = sources.leaderboard(context.folder, context.task, rank_by, context.state)
    except SuiteError as error:
        st.error(f"The board cannot be built: {plain(error)}")
        return
    for metric in dict.fromkeys(column.metric for column in frames.headlines(board)):
        st.markdown(meaning_of(metric))
    st.markdown(READING + verdicts.IN_SHORT)
    table = frames.board_frame(board)
    show_table(table, column_config=_formats(table), alt=f"Leaderboard of {len(table)} models")
    _overview(board)
    st.subheader("Notes")
    for note in footnotes(board):
        st.text(f"• {note}")  # notes contain untrusted names; st.text renders no markup


def _overview(board: Board) -> None:
    points = frames.overview_frame(board, most=OVERVIEW)
    if points.empty:
        return
    metric = frames.headlines(board)[0].metric
    axis = in_unit(metric.title, str(points["unit"].iloc[0]))
    shown = prose(axis.removesuffix(" (%)"))
    caption = f"Overview: {shown}, clean and under each attack at the size named. Lines are 95 % intervals."
    caption += f" Only the first {OVERVIEW} models are shown." if len(board.frame) > OVERVIEW else ""
    caption += " Hollow markers with ≤ ? are suspect: the true value may be lower." if points["bound"].any() else ""
    figure = figures.overview(points, list(dict.fromkeys(points["metric"])), axis)
    chart(figure, f"overview {board.task}", caption)


def _rank_by(board: Board) -> str:
    names = [column.name for column in board.columns]
    if len(names) < 2:
        return board.rank_by
    index = names.index(board.rank_by)
    return choose(st, "Rank by", names, f"rank by {board.task}", index=index, width=WIDTH)


def _formats(table: pd.DataFrame) -> dict[Any, Any]:
    """Return formats by position, with 0 for the index: columns of grouped headings cannot be named."""
    formats: dict[Any, Any] = {}
    for place, name in enumerate(table.columns, start=1):
        if pd.api.types.is_numeric_dtype(table[name]):
            is_percent = name[0].rstrip(" ↑↓").endswith(" %")
            formats[place] = st.column_config.NumberColumn(format="%.1f" if is_percent else "%.4g")
        elif name[1] == "model":
            formats[place] = st.column_config.TextColumn(pinned=True, width="medium")
    return formats
