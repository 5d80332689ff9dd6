"""The report: pages over a store of results. Start it with `suite report`, or `streamlit run reports/app.py`.

The address is a bookmark: `?page=Model&task=...&model=...`.
"""

from typing import Any

import pandas as pd
import streamlit as st

from suite.reports import about_view, board_view, gallery_view, model_view, sources
from suite.reports.text import plain

PAGES = ("Board", "Model", "Gallery", "About the numbers")


def main() -> None:
    """Show the chosen page."""
    st.set_page_config(page_title="trust-suite", layout="wide")
    st.sidebar.title("trust-suite")
    page = _page()
    if page == PAGES[3]:
        about_view.show()
        return
    folder = sources.root()
    now = sources.state(folder)
    table, damaged = sources.rows(folder, now)
    if damaged:
        st.warning(f"{damaged} damaged record(s) could not be read and are not shown.")
    if table.empty:
        _nothing(folder)
        return
    _tasks(folder, table, page, now)


def _page() -> str:
    wanted = st.query_params.get("page", "Model" if "model" in st.query_params else "Board")
    index = PAGES.index(wanted) if wanted in PAGES else 0
    page = str(st.sidebar.radio("Page", PAGES, index=index, key="page"))
    st.query_params["page"] = page
    return page


def _tasks(folder: str, table: pd.DataFrame, page: str, now: sources.State) -> None:
    task = _choose("Task", sorted(table["task"].unique()), "task", "task")
    if page == "Board":
        board_view.show(folder, task, now)
        return
    models = sorted(table.loc[table["task"] == task, "model"].unique())
    shown = set(sources.selection(folder, task, now).rows["model"])
    model = _choose("Model", [name for name in models if name in shown], "model", f"model of {task}")
    view: Any = model_view if page == "Model" else gallery_view
    view.show(folder, task, model, now)


def _choose(label: str, options: list[str], name: str, key: str) -> str:
    """Return a choice of the sidebar, kept in the address; an unknown name in the address is said."""
    wanted = st.query_params.get(name)
    if wanted is not None and wanted not in options and key not in st.session_state:
        st.warning(f"There is no {name} {plain(wanted)} here; showing the first one.")
    index = options.index(wanted) if wanted in options else 0
    chosen = str(st.sidebar.selectbox(label, options, index=index, key=key))
    st.query_params[name] = chosen
    return chosen


def _nothing(folder: str) -> None:
    st.header("Nothing is stored yet")
    st.markdown(f"The store {plain(folder)} has no results. Make some, then reload this page:")
    st.code("suite demo", language="bash")
    st.markdown("or point the report at another store:")
    st.code("suite report --store PATH", language="bash")


main()
