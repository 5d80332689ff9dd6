"""The board: all models of a task."""

from typing import Any

import pandas as pd
import streamlit as st

from suite.errors import SuiteError
from suite.leaderboard.cells import DASH
from suite.leaderboard.text import footnotes
from suite.reports import figures, frames, metrics, sources, verdicts
from suite.reports.parts import WIDTH, chart
from suite.reports.text import plain

READING = """
Every number has a **95 % interval**. Models that **share a letter** in a *ties* column do not differ significantly. A
**rank** such as 1-2 is the range that the tests allow. Click a column to sort by it. **–** means not measured; ↑ higher
is better, ↓ lower is better. **random** is the same metric under random perturbations of the size of the attack,
**real** the same metric of real samples.
"""

OVERVIEW = 5
"""Models in the overview; more points on a line could not be distinguished."""


def show(folder: str, task: str, now: sources.State) -> None:
    """Show the board of a task."""
    st.header("Board")
    st.markdown(f"Task {plain(task)}")
    try:
        board = sources.leaderboard(folder, task, _rank_by(folder, task, now), now)
    except SuiteError as error:
        st.error(f"The board cannot be built: {plain(error)}")
        return
    if meaning := metrics.meanings(column.metric for column in board.columns):
        st.markdown(meaning)
    st.markdown(READING + verdicts.IN_SHORT)
    table = frames.board_frame(board)
    verdict_columns = [name for name in table.columns if name[1].endswith("verdict")]
    st.dataframe(
        table.style.map(verdicts.style, subset=verdict_columns),
        hide_index=True,
        placeholder=DASH,
        column_config=_formats(table),
        alt=f"Leaderboard of {len(table)} models",
    )
    points = frames.overview_frame(board, most=OVERVIEW)
    if len(points):
        titles = list(dict.fromkeys(points["metric"]))
        shown = [column.metric for column in board.columns if column.title in titles]
        axis = metrics.axis_title(shown, str(points["unit"].iloc[0]))
        caption = (
            f"Overview: {axis.removesuffix(' (%)')}, clean and under each attack at the size named. Lines are 95 % "
            "intervals."
        )
        caption += f" Only the first {OVERVIEW} models are shown." if len(table) > OVERVIEW else ""
        caption += " Hollow markers with ≤ ? are suspect: the true value may be lower." if points["bound"].any() else ""
        chart(figures.overview(points, titles, axis), f"overview {task}", caption)
    st.subheader("Notes")
    for note in footnotes(board):
        st.text(f"• {note}")  # notes contain untrusted names; st.text renders no markup


def _rank_by(folder: str, task: str, now: sources.State) -> str:
    names = [column.name for column in sources.leaderboard(folder, task, "accuracy", now).columns]
    if len(names) < 2:
        return "accuracy"
    return str(st.selectbox("Rank by", names, key=f"rank by {task}", width=WIDTH))


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
