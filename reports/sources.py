"""The data of the pages: read from the store only, and cached until the store changes."""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from suite.errors import SuiteError
from suite.leaderboard import Board, Selection, board, select
from suite.records.reading import StoredRecord
from suite.store import Store

State = tuple[tuple[str, int], ...]


def state(folder: str) -> State:
    """Return the folders of records and their modification times, which change with every record added or removed."""
    records = Path(folder) / "records"
    return tuple(sorted((path.name, path.stat().st_mtime_ns) for path in records.glob("??")))


@st.cache_resource(max_entries=2, show_spinner="Reading the store")
def rows(folder: str, now: State) -> tuple[pd.DataFrame, int]:
    """Return all rows (shared, so do not modify them) and the number of damaged records."""
    store = Store(folder)
    return store.rows(), len(store.damaged)


@st.cache_data(max_entries=50, show_spinner="Comparing the models")
def leaderboard(folder: str, task: str, rank_by: str | None, now: State) -> Board:
    """Return a task's board, ranked by a column or by the headline metric."""
    return board(Store(folder), task, rank_by=rank_by)


def selection(folder: str, task: str, now: State) -> Selection:
    """Return a task's comparable rows."""
    return select(rows(folder, now)[0], task)


@st.cache_resource(max_entries=30, show_spinner=False)
def record(folder: str, name: str) -> StoredRecord:
    """Return a record by its name; records never change, and their columns and arrays are read when they are used.

    Raises:
        StoreError: the record is damaged.
    """
    return Store(folder).record(name)


def history(folder: str, digest: str) -> dict[str, Any]:
    """Return the training history of stored weights, empty if there is none or it cannot be read."""
    try:
        return dict(Store(folder).history(digest)) if digest else {}
    except (SuiteError, OSError, ValueError):
        return {}
