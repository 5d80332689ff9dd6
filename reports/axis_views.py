"""Robustness and calibration of one model: figures, and how to read them."""

import json
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from suite.leaderboard.text import printable
from suite.reports import figures, frames, metrics, sources, texts, verdicts
from suite.reports.parts import WIDTH, chart, proxy
from suite.reports.text import number, plain, with_interval

ORDER = ("softmax", "softmax+temperature", "score", "score+temperature", "mc_dropout", "ensemble")
"""Uncertainty methods, in the order shown."""

EVENTS = {
    "detections": "correct detections",
    "pixels": "correct pixels",
    "characters": "correct characters",
    "samples": "correct predictions",
}
"""What a reliability diagram counts, and the title of its accuracy axis."""


def robustness(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the results of one attack, with its random control, and its checks."""
    st.markdown(
        f"#### Attack {plain(details.get('attack', 'unnamed'))}\n\n{plain(details.get('spec', rows['spec'].iloc[0]))}"
    )
    name, key = metrics.headline(details), str(rows["record"].iloc[0])
    unit = unit_of(rows, f"robust_{details.get('headline', 'accuracy')}")
    norm, space = str(details.get("norm", "")), _space(details, sources.arrays(folder, key))
    frame, objects = frames.robustness_frame(details, unit), frames.objects_frame(rows)
    proxy(rows, details)
    row = st.container(horizontal=True)
    with row.container(width=WIDTH + 80):
        if len(frame):
            caption = (
                f"{metrics.capital(name)} against perturbation size, for the attack and for random controls of the "
                "same size. Shaded: 95 % intervals. An attack no better than its random control is no evidence of "
                "robustness."
            )
            figure = figures.robustness(frame, norm, name, unit=unit, space=space)
            chart(figure, f"robustness {key}", caption)
    if len(objects):
        caption = (
            "States of the objects under the attack and under its random control of the same size; size 0 is the clean "
            "image. mAP alone can hide what an attack does: objects that vanish, change class, or appear."
        )
        with row.container(width=WIDTH):
            chart(figures.secondary_metrics_figure(objects, norm), f"objects {key}", caption)
    with row.container(width=2 * WIDTH + 80 if len(objects) else WIDTH - 80):
        _checks(details.get("checks") or {})
        _verdict(rows[rows["status"] != "skipped"])
    edits = frames.meaning_frame(rows, metrics.EDITS)
    if len(edits):
        st.markdown("Edits and cost of the attack:")
        st.dataframe(edits, hide_index=True)


def unit_of(rows: pd.DataFrame, metric: str) -> str:
    """Return the unit of a metric; fraction where it is not stored."""
    units = rows.loc[rows["metric"] == metric, "unit"]
    return str(units.iloc[0]) if len(units) else "fraction"


def _space(details: dict[str, Any], stored: dict[str, Any]) -> str:
    """Return the space of an attack: pixels, embedding, or latent."""
    space = str(details.get("space") or "input")
    if space != "input":
        return space
    clean = np.asarray(stored.get("clean", ()))
    return "latent" if clean.ndim == 2 and not texts.is_codes(clean) else "pixels"


def _verdict(rows: pd.DataFrame) -> None:
    """Show the verdicts on an attack's numbers, with their reasons."""
    reasons = list(verdicts.reasons(rows))
    if len(rows) and not reasons:
        st.success("✓ Valid: every applicable check passed.")
    for verdict, sentence in reasons:
        (st.warning if verdict == "suspect" else st.error)(sentence)


def _checks(checks: dict[str, Any]) -> None:
    st.markdown("Was the attack strong enough?")
    signs = {"pass": "✓ pass", "fail": "✗ FAIL", "n/a": "– not applicable"}
    by_result: dict[tuple[str, str], list[str]] = {}
    for name, (status, sentence) in checks.items():
        by_result.setdefault((status, sentence), []).append(printable(name).replace("_", " "))
    for (status, sentence), names in by_result.items():
        st.text(f"{signs.get(status, '?')}: {', '.join(names)}. {printable(sentence)}")


def calibration(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show one reliability diagram per uncertainty method."""
    diagrams = details.get("reliability", {})
    proxy(rows, details)
    params = rows["params"].map(json.loads)
    if details.get("temperature") is not None:
        st.markdown(
            f"Temperature fitted on validation samples: **{details['temperature']:.3g}** (above 1: the model was "
            "overconfident; below 1: underconfident)."
        )
    events = _events(rows)
    if diagrams:
        st.caption(_reading(events))
    names = sorted(diagrams, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    row = st.container(horizontal=True)
    for name in names:
        with row.container(width=WIDTH):
            part = rows[params.map(lambda p, name=name: p.get("uncertainty") == name)]
            _reliability(name, diagrams[name], part, events)


def _events(rows: pd.DataFrame) -> str:
    """Return what is counted: detections, pixels or characters where the params name them, else samples."""
    params = {name for text in rows["params"] for name in json.loads(text)}
    return next((name for name in EVENTS if name in params), "samples")


def _reading(events: str) -> str:
    meaning = {
        "samples": "predictions with, say, 80 % confidence are correct 80 % of the time",
        "pixels": "pixels with, say, 80 % confidence are correct 80 % of the time",
        "characters": "characters predicted with, say, 80 % confidence are correct 80 % of the time",
        "detections": "boxes with a score of, say, 80 % match an object of their class 80 % of the time",
    }[events]
    whole = "text" if events == "characters" else "image"
    dependent = f"Points have no intervals, because the {events} of one {whole} are not independent."
    intervals = "Lines are 95 % intervals." if events == "samples" else dependent
    return (
        f"Reliability diagrams. Points on the dotted line mean that {meaning}; points below it mean that the model is "
        f"overconfident. {intervals} Bars show the number of {events} per point; points with few {events} are noisy."
    )


def _reliability(name: str, diagram: dict[str, Any], rows: pd.DataFrame, events: str) -> None:
    st.markdown(f"#### {plain(name.replace('_', ' '))}")
    if diagram.get("edges"):
        frame = frames.reliability_frame(diagram, independent=events == "samples")
        figure = figures.reliability(frame, events, EVENTS[events])
        key = f"reliability {name} {rows['record'].iloc[0] if len(rows) else ''}"
        st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt="Reliability diagram")
    else:
        st.info("There are no predictions with a confidence, so there is no diagram.")
    st.caption("; ".join(_numbers(rows)) + ".")


def _numbers(rows: pd.DataFrame) -> list[str]:
    """Return the metrics below a diagram as phrases, with those of image regions."""
    parts = []
    for metric, label in metrics.CALIBRATION.items():
        for row in rows[rows["metric"] == metric].to_dict("records"):
            region = json.loads(row["params"]).get("region")
            parts.append(f"{label}{f' of the {printable(region)}' if region else ''} {with_interval(row)}")
    for row in rows[rows["metric"] == "ece_noise_floor"].to_dict("records"):
        parts.append(
            f"a perfectly calibrated model would have an ECE of about {number(row['value'], row['unit'])} by chance"
        )
    return parts
