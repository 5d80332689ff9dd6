"""The clean axis of one model: performance on unperturbed samples, and its training."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from suite.leaderboard.cells import DASH
from suite.metrics.table import Table
from suite.records.reading import StoredRecord
from suite.reports import curves, figures, frames, sources, verdicts
from suite.reports.pages import PageContext
from suite.reports.parts import WIDTH, chart, proxy, show_table, tables
from suite.reports.text import capital, entry_of, in_unit, meaning_of, plain, prose, with_interval

GALLERY = ("generated", "reconstructed", "interpolated", "nearest")
"""Roles of arrays that the gallery shows of a generative model."""


def clean(context: PageContext, record: StoredRecord, rows: pd.DataFrame) -> None:
    """Show the headline metric, learning curves, confusion matrix, classes, and all other metrics."""
    proxy(rows, {**record.facts, **record.details})
    headline = _headline(record, rows)
    key = str(rows["record"].iloc[0])
    if any(shown.role in GALLERY for shown in record.arrays.values()):
        st.markdown("Generated samples and reconstructions are on the page **Gallery**, under *Samples*.")
    digest = str(json.loads(rows["digests"].iloc[0]).get("model") or "")
    quality = record.about.quality if record.about else "quality"
    _learning(record.details.get("training") or sources.history(context.folder, digest), key, quality)
    row = st.container(horizontal=True)
    _confusion(row, record, key)
    for metric, frame in frames.by_class(rows):
        with row.container(width=WIDTH):
            title = in_unit(metric.title, metric.unit)
            chart(figures.by_class(frame, title), f"{metric.name} {key}", f"{meaning_of(metric)} Lines are intervals.")
    tables(rows.drop(index=headline))
    _data(record.details.get("data") or {})


def _headline(record: StoredRecord, rows: pd.DataFrame) -> list[Any]:
    """Show the headline metric of the kind with its meaning, and return the index of its row."""
    name = record.about.headline if record.about else None
    lines = rows[(rows["metric"] == name) & ~rows["params"].str.contains('"class"')]
    if lines.empty:
        return []
    at = lines["params"].str.len().idxmin()
    line = lines.loc[at]
    metric = entry_of(line)
    st.markdown(f"{capital(prose(metric.title))} on the test samples: **{with_interval(line)}**, n = {line['n']:,}.")
    st.markdown(meaning_of(metric))
    for _, sentence in verdicts.reasons(lines.loc[[at]]):
        st.warning(sentence)
    return [at]


def confusion_counts(table: Table) -> Any:
    """Return the confusion matrix (classes, classes) of stored columns, None where they have none.

    It follows from ``label`` and ``prediction`` of a right or wrong prediction, or is the sum of ``confusion``.
    """
    count = len(table.facts.get("classes", ()))
    if "confusion" in table:
        return np.sum(table["confusion"], axis=0)
    if not {"label", "prediction", "correct"} <= {column.name for column in table.columns if not column.params}:
        return None
    pairs = table["label"].astype(int) * count + table["prediction"].astype(int)
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def _confusion(slot: Any, record: StoredRecord, key: str) -> None:
    counts = confusion_counts(record.table)
    if counts is None:
        return
    counts = counts.astype(int).tolist()
    unit = "pixels" if "confusion" in record.table else "samples"
    numbers = f"numbers are percent of the row's {unit}" if figures.long_counts(counts) else f"numbers are {unit}"
    caption = (
        f"Confusion matrix. Rows are true classes, columns predicted classes; {numbers}. Errors are off the diagonal. "
        "The color is the share of the row."
    )
    with slot.container(width=WIDTH):
        chart(figures.confusion(record.facts["classes"], counts, unit), f"confusion {key}", caption)


def _learning(history: Mapping[str, Any], key: str, quality: str) -> None:
    frame = curves.learning_frame(history)
    if frame.empty:
        st.info("No training history was stored: the model was loaded with pretrained weights.")
        return
    row = st.container(horizontal=True)
    for quantity, title in (("loss", "loss"), ("quality", quality)):
        if frame[quantity].isna().all():
            continue
        with row.container(width=WIDTH):
            caption = (
                f"Learning curve, {prose(title)}. The model overfits where validation becomes worse while training "
                "still improves. The dotted line marks the epoch whose weights are used."
            )
            loss = str(history.get("loss_called") or "loss (nats)")
            axis = loss if quantity == "loss" else f"{quality} (%)"
            figure = figures.learning_curve(frame, quantity, history.get("chosen_epoch"), axis)
            chart(figure, f"learning {quantity} {key}", caption)
    ended = {
        "early": "stopped early, because validation no longer improved",
        "limit": "ran for the maximum number of epochs",
    }
    st.markdown(
        f"Training {ended.get(str(history.get('stopped')), 'ended')}; recipe {plain(history.get('recipe', DASH))}, "
        f"seed {plain(history.get('seed', DASH))}, {plain(history.get('seconds', DASH))} s."
    )


def _data(data: Mapping[str, Any]) -> None:
    if not data:
        return
    kept = ", ".join(f"{count:,} {name}" for name, count in data.get("kept", {}).items())
    st.markdown(f"Data: {plain(kept)} samples kept, from {plain(data.get('source') or 'an unnamed source')}.")
    for remark in data.get("remarks", ()):
        st.markdown(f"{plain(remark)}.")
    dropped = frames.dropped_frame(data)
    if len(dropped):
        with st.expander(f"Dropped samples: {len(dropped)}"):
            show_table(dropped)
