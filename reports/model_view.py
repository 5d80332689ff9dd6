"""One model: the results on each axis, with their checks."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from suite.leaderboard.cells import DASH
from suite.reports import (
    attribution_view,
    axis_views,
    clean_view,
    damage_view,
    frames,
    sources,
    verdicts,
)
from suite.reports.text import plain

TITLES = {
    "clean": "Clean: performance on unperturbed samples",
    "robustness": "Robustness to adversarial attacks",
    "corruption": "Common corruptions: noise, blur, weather, compression",
    "occlusion": "Occlusion: part of the image is covered",
    "calibration": "Calibration: does confidence match accuracy?",
    "attribution": "Attribution: do explanations highlight the pixels that the model uses?",
    "rationale": "Rationale: do explanations highlight the words or latent dimensions that the model uses?",
}

SECTIONS: dict[str, Callable[[str, pd.DataFrame, dict[str, Any]], None]] = {
    "clean": clean_view.clean,
    "robustness": axis_views.robustness,
    "corruption": damage_view.corruption,
    "occlusion": damage_view.occlusion,
    "calibration": axis_views.calibration,
    "attribution": attribution_view.attribution,
    "rationale": attribution_view.rationale,
}


def show(folder: str, task: str, model: str, now: sources.State) -> None:
    """Show everything that is stored about a model on a task."""
    all_rows = sources.selection(folder, task, now).rows
    rows, measured = all_rows[all_rows["model"] == model], set(all_rows["axis"])
    st.header("Model")
    st.markdown(f"{plain(model)} on task {plain(task)}")
    for axis in (axis for axis in TITLES if axis in measured):
        part = rows[rows["axis"] == axis]
        st.subheader(TITLES[axis], divider="gray")
        if part.empty:
            st.info("Not measured.")  # only for other models on this task
        for _, record in part.sort_values("spec", kind="stable").groupby("record", sort=False):
            if _has_results(record):
                SECTIONS[axis](folder, record, sources.details(folder, str(record["record"].iloc[0])))
                _numbers(record)
    others = rows[~rows["axis"].isin(TITLES)]
    if len(others):
        st.subheader("Other axes", divider="gray")
        _numbers(others)
    if missing := [axis for axis in TITLES if axis not in measured]:
        st.caption(f"Not measured for any model on this task: {', '.join(missing)}.")


def _has_results(rows: pd.DataFrame) -> bool:
    """Show why a record failed or was skipped, and return whether it did neither."""
    first = rows.iloc[0]
    if first["cell_status"] not in ("failed", "skipped"):
        return True
    text = f"{plain(first['spec'])} **{first['cell_status']}**: {plain(first['reason'] or 'no reason was stored')}"
    (st.error if first["cell_status"] == "failed" else st.warning)(text)
    return False


def _numbers(rows: pd.DataFrame) -> None:
    with st.expander(f"All {len(rows)} numbers of this section, with checks and reasons"):
        table = frames.metric_frame(rows).style.map(verdicts.style, subset=["verdict"])
        st.dataframe(table, hide_index=True, placeholder=DASH)
        first = rows.iloc[0]
        st.caption(
            f"{plain(first['spec'])}, seed {first['seed']}, {plain(first['device'])} {plain(first['dtype'])}, "
            f"measured {plain(first['time'])} in {first['wall_s']:.1f} s, record {plain(first['record'])}"
        )
