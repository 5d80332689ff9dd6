"""The report: pages over a store of results. Start it with `suite report`, or `streamlit run reports/app.py`.

Addresses can be bookmarked: `?page=Model&task=...&model=...`.
"""

import streamlit as st

from suite.errors import SuiteError
from suite.paths import default_store
from suite.registry import Entry
from suite.reports import pages, sources
from suite.reports.parts import choose
from suite.reports.text import plain, prose


def main() -> None:
    """Show the selected page."""
    st.set_page_config(page_title="trust-suite", layout="wide")
    st.sidebar.title("trust-suite")
    try:
        _show(_page())
    except SuiteError as error:  # a plug-in that cannot be loaded, or a damaged record
        st.error(plain(error))


def _show(page: Entry) -> None:
    folder = default_store()
    now = sources.state(folder)
    context = pages.PageContext(folder, now)
    if page.meta["needs"] == "nothing":
        page.factory(context)
        return
    damaged = sources.rows(folder, now)[1]
    if damaged:
        st.warning(f"{damaged} damaged record(s) cannot be read and are not shown.")
    if context.rows.empty:
        _empty(folder)
        return
    task = _select("Task", sorted(context.rows["task"].unique()), "task", "task")
    context = pages.PageContext(folder, now, task)
    if page.meta["needs"] == "model":
        models = sorted(context.rows["model"].unique())
        context = pages.PageContext(folder, now, task, _select("Model", models, "model", f"model of {task}"))
    page.factory(context)


def _page() -> Entry:
    """Return the page that the reader selected."""
    known = pages.installed()
    titles = list(known)
    requested = st.query_params.get("page", "Model" if "model" in st.query_params else titles[0])
    index = titles.index(requested) if requested in titles else 0
    title = str(st.sidebar.radio("Page", titles, index=index, key="page", format_func=prose))
    st.query_params["page"] = title
    return known[title]


def _select(label: str, options: list[str], name: str, key: str) -> str:
    """Return a choice of the sidebar, kept in the address; warn about an unknown name in the address."""
    requested = st.query_params.get(name)
    if requested is not None and requested not in options and key not in st.session_state:
        st.warning(f"There is no {name} {plain(requested)} here; showing the first one.")
    index = options.index(requested) if requested in options else 0
    selected = choose(st.sidebar, label, options, key, index=index)
    st.query_params[name] = selected
    return selected


def _empty(folder: str) -> None:
    st.header("Nothing is stored yet")
    st.markdown(
        f"The store {plain(folder)} has no results. Create some with `suite demo` and reload this page, or open "
        "another store with `suite report --store PATH`."
    )


main()
