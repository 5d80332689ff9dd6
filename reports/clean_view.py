"""The clean axis of one model: how good it is when nobody interferes, and how it got there."""

import json
from typing import Any

import pandas as pd
import streamlit as st

from suite.leaderboard.cells import DASH
from suite.reports import figures, frames, measures, samples_gallery, scene_frames, sources
from suite.reports.parts import WIDTH, picture, proxy
from suite.reports.text import number, plain, with_interval

BY_CLASS = {
    "recall": (
        "recall: share of the class that was found (%)",
        "Recall per class: the share of each class that the model found. Lines are 95 % intervals.",
    ),
    "class_map": (
        "mAP of the class (%)",
        "mAP per class: how well the objects of each class are found. Lines are 95 % intervals; a class without a test "
        "object has no number.",
    ),
    "class_iou": (
        "IoU of the class (%)",
        "IoU per class: of the pixels that are of the class or are called so, the share that is both. Lines are 95 % "
        "intervals; a class that neither is nor is said anywhere has no number.",
    ),
}
"""Measures of classes: the title of the axis, and how to read the picture."""


def clean(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the headline measure, learning curves, confusion matrix and classes; of detectors what became of objects."""
    metrics = set(rows["metric"])
    proxy(rows, details)
    headline = _headline(rows)
    if meaning := measures.meanings(metrics):
        st.markdown(meaning)
    key = str(rows["record"].iloc[0])
    digest = str(json.loads(rows["digests"].iloc[0]).get("model") or "")
    _samples(sources.arrays(folder, key))
    graded = bool(metrics & {"map", "miou"})
    _learning(details.get("training") or sources.history(folder, digest), key, _quality(metrics))
    beside = st.container(horizontal=True)
    _confusion(beside, details, "pixels" if graded else "samples", key)
    for metric, (title, caption) in BY_CLASS.items():
        frame = frames.class_frame(rows, metric)
        if len(frame):
            with beside.container(width=WIDTH):
                picture(figures.by_class(frame, title), f"{metric} {key}", caption)
    _words(rows[rows["metric"] != headline])
    _objects(rows, details)
    _data(details.get("data") or {})


def _headline(rows: pd.DataFrame) -> str | None:
    """Say the headline measure, the first that is known and is not of a class, and return its name."""
    for metric, name in measures.NAMES.items():
        found = [row for row in rows[rows["metric"] == metric].to_dict("records") if '"class"' not in row["params"]]
        if found:
            line = min(found, key=lambda row: len(row["params"]))
            st.markdown(f"{measures.capital(name)} on the test samples: **{with_interval(line)}**, n = {line['n']:,}.")
            return metric
    return None


def _samples(stored: dict[str, Any]) -> None:
    """Say where to look at what the model makes."""
    if samples_gallery.known(stored):
        st.markdown("What it makes stands on the page **Gallery**, under *Samples*.")


def _quality(metrics: set[str]) -> str:
    """Return what the share of right answers is called in learning curves."""
    if metrics & {"map", "miou"}:
        return "mean quality of an image"
    return "mean quality of a sample" if metrics & set(measures.MEANINGS) else "accuracy"


def _confusion(beside: Any, details: dict[str, Any], unit: str, key: str) -> None:
    counts = details.get("confusion")
    if not counts:
        return
    numbers = f"numbers are percent of the row's {unit}" if figures.long_counts(counts) else f"numbers count {unit}"
    caption = (
        f"Confusion matrix. Rows are the true class, columns what the model said; {numbers}. "
        "Off the diagonal are the mistakes. Colour only repeats the share of the row."
    )
    with beside.container(width=WIDTH):
        picture(figures.confusion(details["classes"], counts, unit), f"confusion {key}", caption)


def _words(rows: pd.DataFrame) -> None:
    """Show the further measures that are known, each with what it asks."""
    table = scene_frames.wording_frame(rows, measures.IN_WORDS)
    if len(table):
        st.dataframe(table, hide_index=True)


def _objects(rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show what became of the objects at the threshold."""
    table = scene_frames.states_frame(rows)
    if table.empty:
        return
    threshold = details.get("threshold")
    at = "" if threshold is None else f" at a score of {number(threshold, 'fraction')} or more"
    many = "" if details.get("objects") is None else f" The test images hold {details['objects']:,} objects."
    st.markdown(
        f"What became of the objects, if the model is taken at its word{at} (chosen on validation images).{many}"
    )
    st.dataframe(table, hide_index=True)


def _learning(history: dict[str, Any], key: str, name: str) -> None:
    frame = frames.learning_frame(history)
    if frame.empty:
        st.info("No training history was stored: the weights came ready made.")
        return
    beside = st.container(horizontal=True)
    for quantity, title in (("loss", "loss"), ("accuracy", name)):
        if frame[quantity].isna().all():
            continue
        with beside.container(width=WIDTH):
            caption = (
                f"Learning curve, {title}. Where validation turns away from training, the model starts to learn "
                "its training samples by heart. The dotted line is the epoch whose weights are used."
            )
            loss = str(history.get("loss_called") or "loss (nats)")
            figure = figures.learning_curve(frame, quantity, history.get("chosen_epoch"), f"{name} (%)", loss)
            picture(figure, f"learning {quantity} {key}", caption)
    ended = {"early": "stopped early, as validation no longer improved", "limit": "ran to its limit of epochs"}
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
