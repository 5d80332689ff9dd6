"""What the pages read: the store and nothing else, cached until the store changes."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from suite.errors import SuiteError
from suite.leaderboard import Board, Selection, board, select
from suite.store import Store

State = tuple[tuple[str, int], ...]


def root() -> str:
    """Return the folder of the store: environment variable SUITE_STORE, else .suite."""
    return os.environ.get("SUITE_STORE") or ".suite"


def state(folder: str) -> State:
    """Return what changes whenever a record is added or removed: the folders of records and their times."""
    records = Path(folder) / "records"
    return tuple(sorted((path.name, path.stat().st_mtime_ns) for path in records.glob("??")))


@st.cache_resource(max_entries=2, show_spinner="Reading the store")
def rows(folder: str, now: State) -> tuple[pd.DataFrame, int]:
    """Return all rows, shared and never changed, and how many records are damaged."""
    store = Store(folder)
    return store.rows(), len(store.damaged)


@st.cache_data(max_entries=50, show_spinner="Comparing the models")
def leaderboard(folder: str, task: str, rank_by: str, now: State) -> Board:
    """Return a task's board."""
    return board(Store(folder), task, rank_by=rank_by)


def selection(folder: str, task: str, now: State) -> Selection:
    """Return a task's comparable rows."""
    return select(rows(folder, now)[0], task)


@st.cache_data(max_entries=200, show_spinner=False)
def details(folder: str, record: str) -> dict[str, Any]:
    """Return a record's details, empty if they cannot be read; records never change."""
    try:
        return Store(folder).details(record)
    except (SuiteError, OSError, ValueError):
        return {}


@st.cache_data(max_entries=30, show_spinner=False)
def arrays(folder: str, record: str) -> dict[str, Any]:
    """Return a record's arrays, empty if they cannot be read; records never change."""
    try:
        return dict(Store(folder).arrays(record))
    except (SuiteError, OSError, ValueError):
        return {}


def history(folder: str, digest: str) -> dict[str, Any]:
    """Return the training history of stored weights, empty if there is none."""
    try:
        return Store(folder).history(digest) if digest else {}
    except (OSError, ValueError):
        return {}
