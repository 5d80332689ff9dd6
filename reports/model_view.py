"""One model: what was measured on each axis, and the evidence for it."""

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
    rationale_view,
    sources,
    verdicts,
)
from suite.reports.text import plain

TITLES = {
    "clean": "Clean: how good is it when nobody interferes?",
    "robustness": "Robustness to attacks",
    "corruption": "Common corruptions: noise, blur, weather, codecs",
    "occlusion": "Occlusion: part of the image is covered",
    "calibration": "Calibration: is its confidence honest?",
    "attribution": "Attribution: do explanations point at what matters?",
    "rationale": "Rationale: do explanations name the words, or numbers, that matter?",
}

SECTIONS: dict[str, Callable[[str, pd.DataFrame, dict[str, Any]], None]] = {
    "clean": clean_view.clean,
    "robustness": axis_views.robustness,
    "corruption": damage_view.corruption,
    "occlusion": damage_view.occlusion,
    "calibration": axis_views.calibration,
    "attribution": attribution_view.attribution,
    "rationale": rationale_view.rationale,
}


def show(folder: str, task: str, model: str, now: sources.State) -> None:
    """Show all that is stored about a model on a task."""
    everyone = sources.selection(folder, task, now).rows
    rows, asked = everyone[everyone["model"] == model], set(everyone["axis"])
    st.header("Model")
    st.markdown(f"{plain(model)} on task {plain(task)}")
    for axis in (axis for axis in TITLES if axis in asked):
        part = rows[rows["axis"] == axis]
        st.subheader(TITLES[axis], divider="gray")
        if part.empty:
            st.info("Not measured.")  # but of another model on this task
        for _, record in part.sort_values("spec", kind="stable").groupby("record", sort=False):
            if _sound(record):
                SECTIONS[axis](folder, record, sources.details(folder, str(record["record"].iloc[0])))
                _measures(record)
    others = rows[~rows["axis"].isin(TITLES)]
    if len(others):
        st.subheader("Other axes", divider="gray")
        _measures(others)
    if unasked := [axis for axis in TITLES if axis not in asked]:
        st.caption(f"Not measured of any model on this task: {', '.join(unasked)}.")


def _sound(rows: pd.DataFrame) -> bool:
    """Say what failed or was skipped, and return whether there is something to show."""
    first = rows.iloc[0]
    if first["cell_status"] not in ("failed", "skipped"):
        return True
    said = f"{plain(first['spec'])} **{first['cell_status']}**: {plain(first['reason'] or 'no reason was stored')}"
    (st.error if first["cell_status"] == "failed" else st.warning)(said)
    return False


def _measures(rows: pd.DataFrame) -> None:
    with st.expander(f"All {len(rows)} numbers of this part, with checks and reasons"):
        table = frames.measure_frame(rows).style.map(verdicts.style, subset=["verdict"])
        st.dataframe(table, hide_index=True, placeholder=DASH)
        first = rows.iloc[0]
        st.caption(
            f"{plain(first['spec'])}, seed {first['seed']}, {plain(first['device'])} {plain(first['dtype'])}, "
            f"measured {plain(first['time'])} in {first['wall_s']:.1f} s, record {plain(first['record'])}"
        )
