"""One model: the results on each axis, with their checks."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from suite.decorators import page
from suite.errors import StoreError
from suite.records.reading import StoredRecord
from suite.reports import attribution_view, axis_views, clean_view, damage_view, frames
from suite.reports.pages import PageContext
from suite.reports.parts import show_table, tables
from suite.reports.text import capital, plain, prose

TITLES = {
    "clean": "Clean: performance on unperturbed samples",
    "robustness": "Robustness to adversarial attacks",
    "corruption": "Common corruptions: noise, blur, weather, compression",
    "occlusion": "Occlusion: part of the image is covered",
    "calibration": "Calibration: does confidence match accuracy?",
    "attribution": "Attribution: do explanations highlight the pixels that the model uses?",
    "rationale": "Rationale: do explanations highlight the features that the model uses?",
}

SECTIONS: dict[str, Callable[[PageContext, StoredRecord, pd.DataFrame], None]] = {
    "clean": clean_view.clean,
    "robustness": axis_views.robustness,
    "corruption": damage_view.corruption,
    "occlusion": damage_view.occlusion,
    "calibration": axis_views.calibration,
    "attribution": attribution_view.attribution,
    "rationale": attribution_view.attribution,
}
"""What is drawn of a record of each axis; of other axes, a table."""


@page(title="Model", rank=1)
def model(context: PageContext) -> None:
    """Show everything that is stored about a model on a task."""
    rows, measured = context.model_rows, list(dict.fromkeys(context.rows["axis"]))
    st.header("Model")
    st.markdown(f"{plain(context.model)} on task {plain(context.task)}")
    for axis in (*(axis for axis in TITLES if axis in measured), *sorted(set(measured) - set(TITLES))):
        part = rows[rows["axis"] == axis]
        st.subheader(TITLES.get(axis, capital(prose(axis))), divider="gray")
        if part.empty:
            st.info("Not measured.")  # only for other models on this task
        for name, record in part.sort_values("spec", kind="stable").groupby("record", sort=False):
            if _has_results(record):
                _section(axis, context, str(name), record)
                _numbers(record)
    if missing := [axis for axis in TITLES if axis not in measured]:
        st.caption(f"Not measured for any model on this task: {', '.join(missing)}.")


def _section(axis: str, context: PageContext, name: str, rows: pd.DataFrame) -> None:
    try:
        record = context.record(name)
        if axis in SECTIONS:
            SECTIONS[axis](context, record, rows)
        else:
            tables(rows)
    except StoreError as error:
        st.error(plain(error))


def _has_results(rows: pd.DataFrame) -> bool:
    """Show why a record failed, or why all of it was skipped, and return whether it has any results."""
    first = rows.iloc[0]
    status = "skipped" if rows["status"].eq("skipped").all() else first["cell_status"]
    if status not in ("failed", "skipped"):
        return True
    text = f"{plain(first['spec'])} **{status}**: {plain(first['reason'] or 'no reason was stored')}"
    (st.error if status == "failed" else st.warning)(text)
    return False


def _numbers(rows: pd.DataFrame) -> None:
    with st.expander(f"All {len(rows)} numbers of this section, with checks and reasons"):
        show_table(frames.metric_frame(rows))
        first = rows.iloc[0]
        st.caption(
            f"{plain(first['spec'])}, seed {first['seed']}, {plain(first['device'])} {plain(first['dtype'])}, "
            f"measured {plain(first['time'])} in {first['wall_s']:.1f} s, record {plain(first['record'])}"
        )
