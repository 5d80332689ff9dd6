"""Attribution of one model: whether explanations point at what it uses, and whether they lie where one would look."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from suite.reports import figures, frames, scene_frames, verdicts
from suite.reports.parts import WIDTH, picture
from suite.reports.text import plain

CURVES = {
    "deletion": "Deletion: pixels the map calls important go first. The faster the curve falls, the better.",
    "insertion": "Insertion: they are put back first. The faster the curve rises, the better the map.",
    "context_deletion": "Context deletion: what is explained stays, and only the rest of the image goes. A curve that "
    "falls shows that the model uses the context, and that the map knows where.",
}
"""Kinds of curves, and how to read them."""

FAITHFUL = ("deletion_auc", "insertion_auc", "infidelity", "infidelity_scaled")
"""What asks whether the model uses the pixels that a map points at."""

CONTEXT = ("context_deletion_auc",)
"""The same of the context, which a model need not use."""


def attribution(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the curves, which methods beat the random map, and where the maps lie."""
    frame = frames.faithfulness_frame(details)
    if frame.empty:
        st.info("No deletion or insertion curves were stored.")
        for _, sentence in verdicts.reasons(rows):
            st.markdown(f"- {sentence}")
        return
    _curves(frame, str(rows["record"].iloc[0]))
    _tally(rows, FAITHFUL)
    if rows["metric"].isin(CONTEXT).any():
        st.markdown(
            "The same for the context alone. A model that looks at nothing but the object itself lets no method beat "
            "chance here, and none is to blame:"
        )
        _tally(rows, CONTEXT)
    _plausibility(rows)


def _curves(frame: pd.DataFrame, key: str) -> None:
    baselines = sorted(frame["baseline"].unique(), reverse=True)
    baseline = st.selectbox("Deleted pixels are replaced by", baselines, key=f"baseline {key}", width=WIDTH)
    frame = frame[(frame["baseline"] == baseline) & frame["score"].notna()]
    beside = st.container(horizontal=True)
    for kind, said in CURVES.items():
        if kind in set(frame["kind"]):
            with beside.container(width=WIDTH):
                caption = f"{said} A method no better than the random map explains nothing."
                caption = said if kind == "context_deletion" else caption
                picture(figures.faithfulness(frame, kind), f"{kind} {key}", caption)


def _tally(rows: pd.DataFrame, metrics: Sequence[str]) -> None:
    """Say of every method in how many of its comparisons it beats the random map; one failure is told in bold."""
    rows = rows[rows["metric"].isin(metrics)]
    won_by: dict[str, list[str]] = {}
    for params, checks in zip(rows["params"].map(json.loads), rows["checks"].map(json.loads), strict=True):
        if checks.get("beats_random") in ("pass", "fail"):  # of the control itself it is n/a
            won_by.setdefault(str(params.get("method")), []).append(checks["beats_random"])
    for method, found in won_by.items():
        won = found.count("pass")
        sign = "✓ beats the random map" if won == len(found) else "✗ does not beat the random map"
        share = f"all {won}" if won == len(found) else f"{len(found) - won} of {len(found)}"
        st.markdown(f"- {plain(method)} **{sign}** in {share} comparisons")


def _plausibility(rows: pd.DataFrame) -> None:
    table = scene_frames.plausibility_frame(rows)
    if table.empty:
        return
    st.markdown(
        "Where the maps lie: how often the strongest pixel lies inside what is explained (pointing game), and how much "
        "of the map's weight. This is **plausibility, not faithfulness**: a map may lie on the object and still not "
        "show what the model uses."
    )
    st.dataframe(table, hide_index=True)
