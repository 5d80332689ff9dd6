"""The board: one task's models side by side."""

from typing import Any

import pandas as pd
import streamlit as st

from suite.errors import SuiteError
from suite.leaderboard.cells import DASH
from suite.leaderboard.text import footnotes
from suite.reports import figures, frames, measures, sources, verdicts
from suite.reports.parts import picture
from suite.reports.text import plain

READING = """
Every number has its **95 % interval** beside it. Models that **share a letter** in a *ties* column are not told apart
by the test samples: read them as equal. A **rank** such as 1-2 is the range of places the tests allow. Click a column
to sort by it, **–** stands for what was not measured, ↑ marks measures of which more is better, ↓ less.
**random** is the same measure under a random change of the same size as the attack, **real** that of real samples.
"""

GLANCE = 5
"""Models in the picture; more dots on a line could not be told apart."""


def show(folder: str, task: str, now: sources.State) -> None:
    """Show the board of a task."""
    st.header("Board")
    st.markdown(f"Task {plain(task)}")
    try:
        board = sources.leaderboard(folder, task, _rank_by(folder, task, now), now)
    except SuiteError as error:
        st.error(f"The board cannot be made: {plain(error)}")
        return
    metrics = [column.metric for column in board.columns]
    if meaning := measures.meanings(metrics):
        st.markdown(meaning)
    st.markdown(READING + verdicts.IN_SHORT)
    table = frames.board_frame(board)
    judged = [name for name in table.columns if name[1].endswith("verdict")]
    st.dataframe(
        table.style.map(verdicts.style, subset=judged),
        hide_index=True,
        placeholder=DASH,
        column_config=_formats(table),
        alt=f"Leaderboard of {len(table)} models",
    )
    seen = frames.glance_frame(board, most=GLANCE)
    if len(seen):
        shown = [column.metric for column in board.columns if column.title in set(seen["measure"])]
        axis = measures.axis_title(shown, str(seen["unit"].iloc[0]))
        caption = f"The same {axis.removesuffix(' (%)')} as a picture: clean, and under each attack at the size named. "
        caption += "Lines are 95 % "
        caption += f"intervals. Shown are the first {GLANCE} models." if len(table) > GLANCE else "intervals."
        caption += (
            " Hollow marks with ≤ ? are suspect: the true value may lie left of them." if seen["bound"].any() else ""
        )
        titles = list(dict.fromkeys(seen["measure"]))
        picture(figures.glance(seen, titles, axis), f"glance {task}", caption)
    st.subheader("What to know about these numbers")
    for note in footnotes(board):
        st.text(f"• {note}")  # notes hold names from outside; st.text renders no markup


def _rank_by(folder: str, task: str, now: sources.State) -> str:
    names = [column.name for column in sources.leaderboard(folder, task, "accuracy", now).columns]
    if len(names) < 2:
        return "accuracy"
    return str(st.selectbox("Rank by", names, key=f"rank by {task}", width=405))


def _formats(table: pd.DataFrame) -> dict[Any, Any]:
    """Return formats by position, 0 being the index: grouped headings have no names of their own."""
    formats: dict[Any, Any] = {}
    for place, name in enumerate(table.columns, start=1):
        if pd.api.types.is_numeric_dtype(table[name]):
            is_percent = name[0].rstrip(" ↑↓").endswith(" %")
            formats[place] = st.column_config.NumberColumn(format="%.1f" if is_percent else "%.4g")
        elif name[1] == "model":
            formats[place] = st.column_config.TextColumn(pinned=True, width="medium")
    return formats
