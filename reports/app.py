"""The report: pages over a store of results. Start it with `suite report`, or `streamlit run reports/app.py`.

Addresses can be bookmarked: `?page=Model&task=...&model=...`.
"""

from typing import Any

import pandas as pd
import streamlit as st

from suite.paths import default_store
from suite.reports import about_view, board_view, gallery_view, model_view, sources
from suite.reports.text import plain

PAGES = ("Board", "Model", "Gallery", "About the numbers")


def main() -> None:
    """Show the selected page."""
    st.set_page_config(page_title="trust-suite", layout="wide")
    st.sidebar.title("trust-suite")
    page = _page()
    if page == PAGES[3]:
        about_view.show()
        return
    folder = default_store()
    now = sources.state(folder)
    table, damaged = sources.rows(folder, now)
    if damaged:
        st.warning(f"{damaged} damaged record(s) cannot be read and are not shown.")
    if table.empty:
        _empty(folder)
        return
    _tasks(folder, table, page, now)


def _page() -> str:
    requested = st.query_params.get("page", "Model" if "model" in st.query_params else "Board")
    index = PAGES.index(requested) if requested in PAGES else 0
    page = str(st.sidebar.radio("Page", PAGES, index=index, key="page"))
    st.query_params["page"] = page
    return page


def _tasks(folder: str, table: pd.DataFrame, page: str, now: sources.State) -> None:
    task = _select("Task", sorted(table["task"].unique()), "task", "task")
    if page == "Board":
        board_view.show(folder, task, now)
        return
    models = sorted(sources.selection(folder, task, now).rows["model"].unique())
    model = _select("Model", models, "model", f"model of {task}")
    view: Any = model_view if page == "Model" else gallery_view
    view.show(folder, task, model, now)


def _select(label: str, options: list[str], name: str, key: str) -> str:
    """Return a choice of the sidebar, kept in the address; warn about an unknown name in the address."""
    requested = st.query_params.get(name)
    if requested is not None and requested not in options and key not in st.session_state:
        st.warning(f"There is no {name} {plain(requested)} here; showing the first one.")
    index = options.index(requested) if requested in options else 0
    selected = str(st.sidebar.selectbox(label, options, index=index, key=key))
    st.query_params[name] = selected
    return selected


def _empty(folder: str) -> None:
    st.header("Nothing is stored yet")
    st.markdown(
        f"The store {plain(folder)} has no results. Create some with `suite demo` and reload this page, or open "
        "another store with `suite report --store PATH`."
    )


main()
