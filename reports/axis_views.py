"""The four axes of one model: pictures and the sentences that say how to read them."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from suite.leaderboard.cells import DASH
from suite.leaderboard.text import printable
from suite.reports import figures, frames, sources, verdicts
from suite.reports.text import number, plain, with_interval

WIDTH = 405
"""Pixels of a picture; pictures stand side by side where the window has room, else below each other."""

ORDER = ("softmax", "softmax+temperature", "mc_dropout", "ensemble")
"""Ways to be uncertain, in the order of reading."""


def _picture(figure: Any, key: str, caption: str) -> None:
    st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt=caption)
    st.caption(caption)


def clean(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show accuracy, learning curves, confusion matrix and recall."""
    accuracy = rows[(rows["metric"] == "accuracy") & (rows["params"] == "{}")]
    if len(accuracy):
        st.markdown(
            f"Right answers on the test samples: **{with_interval(accuracy.iloc[0])}**, n = {accuracy['n'].iloc[0]:,}."
        )
    key = str(rows["record"].iloc[0])
    digest = str(json.loads(rows["digests"].iloc[0]).get("model") or "")
    _learning(details.get("training") or sources.history(folder, digest), key)
    beside = st.container(horizontal=True)
    if details.get("confusion"):
        caption = (
            "Confusion matrix. Rows are the true class, columns what the model said; numbers count samples. "
            "Off the diagonal are the mistakes. Colour only repeats the share of the row."
        )
        with beside.container(width=WIDTH):
            _picture(figures.confusion(details["classes"], details["confusion"]), f"confusion {key}", caption)
    recall = frames.recall_frame(rows)
    if len(recall):
        caption = "Recall per class: the share of each class that the model found. Lines are 95 % intervals."
        with beside.container(width=WIDTH):
            _picture(figures.recall(recall), f"recall {key}", caption)
    _data(details.get("data") or {})


def _learning(history: dict[str, Any], key: str) -> None:
    frame = frames.learning_frame(history)
    if frame.empty:
        st.info("No training history was stored: the weights came ready made.")
        return
    beside = st.container(horizontal=True)
    for quantity in ("loss", "accuracy"):
        with beside.container(width=WIDTH):
            caption = (
                f"Learning curve, {quantity}. Where validation turns away from training, the model starts to learn "
                "its training samples by heart. The dotted line is the epoch whose weights are used."
            )
            figure = figures.learning_curve(frame, quantity, history.get("chosen_epoch"))
            _picture(figure, f"learning {quantity} {key}", caption)
    ended = {"early": "stopped early, as validation no longer improved", "limit": "ran to its limit of epochs"}
    st.markdown(
        f"Training {ended.get(str(history.get('stopped')), 'ended')}; recipe {plain(history.get('recipe', DASH))}, "
        f"seed {plain(history.get('seed', DASH))}, {plain(history.get('seconds', DASH))} s."
    )


def _data(data: dict[str, Any]) -> None:
    if not data:
        return
    kept = ", ".join(f"{count:,} {name}" for name, count in data.get("kept", {}).items())
    st.markdown(f"Data: {plain(kept)} samples kept, from {plain(data.get('source', 'an unnamed source'))}.")
    dropped = frames.dropped_frame(data)
    if len(dropped):
        with st.expander(f"Dropped samples: {len(dropped)}"):
            st.dataframe(dropped, hide_index=True)


def robustness(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show what one attack achieved, next to random change, and whether it was strong enough."""
    st.markdown(
        f"#### Attack {plain(details.get('attack', 'unnamed'))}\n\n{plain(details.get('spec', rows['spec'].iloc[0]))}"
    )
    frame = frames.robustness_frame(details)
    beside = st.container(horizontal=True)
    with beside.container(width=WIDTH + 80):
        if len(frame):
            caption = (
                "Right answers against the size of the change, for the attack and for harmless changes of equal size. "
                "Shaded: 95 % intervals. An attack that does no more than random change shows nothing."
            )
            figure = figures.robustness(frame, str(details.get("norm", "")))
            _picture(figure, f"robustness {rows['record'].iloc[0]}", caption)
    with beside.container(width=WIDTH - 80):
        _checks(details.get("checks") or {})
        _judged(rows[rows["status"] != "skipped"])


def _judged(rows: pd.DataFrame) -> None:
    """Say the verdict on an attack's numbers, and why."""
    doubtful = list(verdicts.reasons(rows))
    if len(rows) and not doubtful:
        st.success("✓ Valid: every check that applies has passed.")
    for verdict, sentence in doubtful:
        (st.warning if verdict == "suspect" else st.error)(sentence)


def _checks(checks: dict[str, Any]) -> None:
    st.markdown("Was the attack strong enough?")
    signs = {"pass": "✓ pass", "fail": "✗ FAIL", "n/a": "– not applicable"}
    for name, (status, sentence) in checks.items():
        st.text(f"{signs.get(status, '?')}: {printable(name).replace('_', ' ')}. {printable(sentence)}")


def calibration(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show one reliability diagram per way to be uncertain."""
    diagrams = details.get("reliability", {})
    params = rows["params"].map(json.loads)
    if details.get("temperature") is not None:
        st.markdown(
            f"Temperature fitted on validation samples: **{details['temperature']:.3g}** (above 1: it was too sure; "
            "below 1: not sure enough)."
        )
    st.caption(
        "Reliability diagrams. Points on the dotted line mean that answers given with, say, 80 % confidence are right "
        "80 % of the time; points below it mean that the model is too sure. Lines are 95 % intervals. "
        "Bars count the samples behind each point: "
        "few samples, little weight."
    )
    names = sorted(diagrams, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    beside = st.container(horizontal=True)
    for name in names:
        with beside.container(width=WIDTH):
            part = rows[params.map(lambda p, name=name: p.get("uncertainty") == name)]
            _reliability(name, diagrams[name], part, str(rows["record"].iloc[0]))


def _reliability(name: str, diagram: dict[str, Any], rows: pd.DataFrame, key: str) -> None:
    st.markdown(f"#### {plain(name.replace('_', ' '))}")
    said = {row["metric"]: row for row in rows.to_dict("records")}
    parts = [
        f"{label} {with_interval(said[metric])}"
        for metric, label in (("ece", "ECE"), ("aurc", "AURC"))
        if metric in said
    ]
    if "ece_noise_floor" in said:
        floor = number(said["ece_noise_floor"]["value"], said["ece_noise_floor"]["unit"])
        parts.append(f"a perfectly honest model would show an ECE of about {floor} by chance")
    figure = figures.reliability(frames.reliability_frame(diagram))
    st.plotly_chart(figure, key=f"reliability {name} {key}", config={"displaylogo": False}, alt="Reliability diagram")
    st.caption("; ".join(parts) + ".")


def attribution(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show deletion and insertion curves, and which methods beat the random map."""
    frame = frames.faithfulness_frame(details)
    if frame.empty:
        st.info("No deletion or insertion curves were stored.")
        return
    key = str(rows["record"].iloc[0])
    baselines = sorted(frame["baseline"].unique(), reverse=True)
    baseline = st.selectbox("Deleted pixels are replaced by", baselines, key=f"baseline {key}", width=WIDTH)
    frame = frame[frame["baseline"] == baseline]
    said = {
        "deletion": "Deletion: pixels the map calls important go first. The faster the curve falls, the better.",
        "insertion": "Insertion: they are put back first. The faster the curve rises, the better the map.",
    }
    beside = st.container(horizontal=True)
    for kind in said:
        with beside.container(width=WIDTH):
            caption = f"{said[kind]} A method no better than the random map explains nothing."
            _picture(figures.faithfulness(frame, kind), f"{kind} {key}", caption)
    _verdicts(rows)


def _verdicts(rows: pd.DataFrame) -> None:
    """Say of every method in how many of its comparisons it beats the random map; one failure is told in bold."""
    won_by: dict[str, list[str]] = {}
    for params, checks in zip(rows["params"].map(json.loads), rows["checks"].map(json.loads), strict=True):
        if checks.get("beats_random") in ("pass", "fail"):  # of the control itself it is n/a
            won_by.setdefault(str(params.get("method")), []).append(checks["beats_random"])
    for method, found in won_by.items():
        won = found.count("pass")
        sign = "✓ beats the random map" if won == len(found) else "✗ does not beat the random map"
        share = f"all {won}" if won == len(found) else f"{len(found) - won} of {len(found)}"
        st.markdown(f"- {plain(method)} **{sign}** in {share} comparisons")
