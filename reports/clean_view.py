"""The clean axis of one model: performance on unperturbed samples, and its training."""

import json
from typing import Any

import pandas as pd
import streamlit as st

from suite.leaderboard.cells import DASH
from suite.reports import figures, frames, metrics, samples_gallery, sources
from suite.reports.parts import WIDTH, chart, proxy
from suite.reports.text import number, plain, with_interval

BY_CLASS = {
    "recall": (
        "recall (%)",
        "Recall per class: the share of each class that the model predicts correctly. Lines are 95 % intervals.",
    ),
    "class_map": (
        "mAP of the class (%)",
        "mAP per class. Lines are 95 % intervals; a class without a test object has no number.",
    ),
    "class_iou": (
        "IoU of the class (%)",
        "IoU per class: pixels that are both predicted and true, divided by those that are either. Lines are 95 % "
        "intervals; a class that occurs in neither has no number.",
    ),
}
"""Metrics per class: axis title and caption."""


def clean(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the headline metric, learning curves, confusion matrix, classes, and the states of objects."""
    names = set(rows["metric"])
    proxy(rows, details)
    headline = _headline(rows)
    if meaning := metrics.meanings(names):
        st.markdown(meaning)
    key = str(rows["record"].iloc[0])
    digest = str(json.loads(rows["digests"].iloc[0]).get("model") or "")
    if samples_gallery.kinds(sources.arrays(folder, key)):
        st.markdown("Generated samples and reconstructions are on the page **Gallery**, under *Samples*.")
    is_scene = bool(names & {"map", "miou"})
    per_unit = f"mean quality per {'image' if is_scene else 'sample'}"
    quality = per_unit if names & set(metrics.MEANINGS) else "accuracy"
    _learning(details.get("training") or sources.history(folder, digest), key, quality)
    row = st.container(horizontal=True)
    _confusion(row, details, "pixels" if is_scene else "samples", key)
    for metric, (title, caption) in BY_CLASS.items():
        frame = frames.class_frame(rows, metric)
        if len(frame):
            with row.container(width=WIDTH):
                chart(figures.by_class(frame, title), f"{metric} {key}", caption)
    further = frames.meaning_frame(rows[rows["metric"] != headline], metrics.EXPLAINED)
    if len(further):
        st.dataframe(further, hide_index=True)
    _objects(rows, details)
    _data(details.get("data") or {})


def _headline(rows: pd.DataFrame) -> str | None:
    """Show the headline metric, the first known one that is not per class, and return its name."""
    for metric, name in metrics.NAMES.items():
        values = [row for row in rows[rows["metric"] == metric].to_dict("records") if '"class"' not in row["params"]]
        if values:
            line = min(values, key=lambda row: len(row["params"]))
            st.markdown(f"{metrics.capital(name)} on the test samples: **{with_interval(line)}**, n = {line['n']:,}.")
            return metric
    return None


def _confusion(slot: Any, details: dict[str, Any], unit: str, key: str) -> None:
    counts = details.get("confusion")
    if not counts:
        return
    numbers = f"numbers are percent of the row's {unit}" if figures.long_counts(counts) else f"numbers are {unit}"
    caption = (
        f"Confusion matrix. Rows are true classes, columns predicted classes; {numbers}. Errors are off the diagonal. "
        "The color is the share of the row."
    )
    with slot.container(width=WIDTH):
        chart(figures.confusion(details["classes"], counts, unit), f"confusion {key}", caption)


def _objects(rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the states of the objects at the score threshold."""
    table = frames.states_frame(rows)
    if table.empty:
        return
    threshold = details.get("threshold")
    at = "" if threshold is None else f" of {number(threshold, 'fraction')}"
    count = "" if details.get("objects") is None else f" The test images contain {details['objects']:,} objects."
    st.markdown(f"States of the objects at a score threshold{at} (selected on validation images).{count}")
    st.dataframe(table, hide_index=True)


def _learning(history: dict[str, Any], key: str, name: str) -> None:
    frame = frames.learning_frame(history)
    if frame.empty:
        st.info("No training history was stored: the model was loaded with pretrained weights.")
        return
    row = st.container(horizontal=True)
    for quantity, title in (("loss", "loss"), ("accuracy", name)):
        if frame[quantity].isna().all():
            continue
        with row.container(width=WIDTH):
            caption = (
                f"Learning curve, {title}. The model overfits where validation becomes worse while training still "
                "improves. The dotted line marks the epoch whose weights are used."
            )
            loss = str(history.get("loss_called") or "loss (nats)")
            figure = figures.learning_curve(frame, quantity, history.get("chosen_epoch"), f"{name} (%)", loss)
            chart(figure, f"learning {quantity} {key}", caption)
    ended = {
        "early": "stopped early, because validation no longer improved",
        "limit": "ran for the maximum number of epochs",
    }
    st.markdown(
        f"Training {ended.get(str(history.get('stopped')), 'ended')}; recipe {plain(history.get('recipe', DASH))}, "
        f"seed {plain(history.get('seed', DASH))}, {plain(history.get('seconds', DASH))} s."
    )


def _data(data: dict[str, Any]) -> None:
    if not data:
        return
    kept = ", ".join(f"{count:,} {name}" for name, count in data.get("kept", {}).items())
    st.markdown(f"Data: {plain(kept)} samples kept, from {plain(data.get('source') or 'an unnamed source')}.")
    dropped = frames.dropped_frame(data)
    if len(dropped):
        with st.expander(f"Dropped samples: {len(dropped)}"):
            st.dataframe(dropped, hide_index=True)
