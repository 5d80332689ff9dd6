"""Robustness and calibration of one model: pictures and the sentences that say how to read them."""

import json
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from suite.leaderboard.text import printable
from suite.reports import figures, frames, measures, scene_frames, sources, texts, verdicts
from suite.reports.parts import WIDTH, picture, proxy
from suite.reports.text import number, plain, with_interval

ORDER = ("softmax", "softmax+temperature", "score", "score+temperature", "mc_dropout", "ensemble")
"""Ways to be uncertain, in the order of reading."""

EVENTS = {
    "detections": "hits",
    "pixels": "right pixels",
    "characters": "right characters",
    "samples": "right answers",
}
"""What a reliability diagram counts, and what is right about it."""


def robustness(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show what one attack achieved, next to random change, and whether it was strong enough."""
    st.markdown(
        f"#### Attack {plain(details.get('attack', 'unnamed'))}\n\n{plain(details.get('spec', rows['spec'].iloc[0]))}"
    )
    name, key = measures.headline(details), str(rows["record"].iloc[0])
    unit = unit_of(rows, f"robust_{details.get('headline', 'accuracy')}")
    frame, moved = frames.robustness_frame(details, unit), _moved(details, sources.arrays(folder, key))
    proxy(rows, details)
    beside = st.container(horizontal=True)
    with beside.container(width=WIDTH + 80):
        if len(frame):
            caption = (
                f"{measures.capital(name)} against the size of the change, for the "
                "attack and for harmless changes of equal size. "
                "Shaded: 95 % intervals. An attack that does no more than random change shows nothing."
            )
            figure = figures.robustness(frame, str(details.get("norm", "")), name, unit=unit, of=moved)
            picture(figure, f"robustness {key}", caption)
    aside = scene_frames.companion_frame(rows)
    if len(aside):
        caption = (
            "What became of the objects: the attack beside random change of the same size; size 0 is the clean image. "
            "mAP alone can hide what an attack is after: objects that vanish, get another class, or appear."
        )
        with beside.container(width=WIDTH):
            picture(figures.secondary_metrics(aside, str(details.get("norm", ""))), f"objects {key}", caption)
    with beside.container(width=2 * WIDTH + 80 if len(aside) else WIDTH - 80):
        _checks(details.get("checks") or {})
        _judged(rows[rows["status"] != "skipped"])
    edits = scene_frames.wording_frame(rows, measures.EDITS)
    if len(edits):
        st.markdown("What it did to the texts:")
        st.dataframe(edits, hide_index=True)


def unit_of(rows: pd.DataFrame, metric: str) -> str:
    """Return the unit of a measure, that of shares where it is not stored."""
    units = rows.loc[rows["metric"] == metric, "unit"]
    return str(units.iloc[0]) if len(units) else "fraction"


def _moved(details: dict[str, Any], stored: dict[str, Any]) -> str:
    """Return what an attack moves: pixels, embeddings, or the numbers that images are made from."""
    space = str(details.get("space") or "input")
    if space != "input":
        return space
    clean = np.asarray(stored.get("clean", ()))
    return "latent" if clean.ndim == 2 and not texts.is_codes(clean) else "pixels"


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
    by_answer: dict[tuple[str, str], list[str]] = {}
    for name, (status, sentence) in checks.items():
        by_answer.setdefault((status, sentence), []).append(printable(name).replace("_", " "))
    for (status, sentence), names in by_answer.items():
        st.text(f"{signs.get(status, '?')}: {', '.join(names)}. {printable(sentence)}")


def calibration(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show one reliability diagram per way to be uncertain."""
    diagrams = details.get("reliability", {})
    proxy(rows, details)
    params = rows["params"].map(json.loads)
    if details.get("temperature") is not None:
        st.markdown(
            f"Temperature fitted on validation samples: **{details['temperature']:.3g}** (above 1: it was too sure; "
            "below 1: not sure enough)."
        )
    events = _events(rows)
    if diagrams:
        st.caption(_reading(events))
    names = sorted(diagrams, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    beside = st.container(horizontal=True)
    for name in names:
        with beside.container(width=WIDTH):
            part = rows[params.map(lambda p, name=name: p.get("uncertainty") == name)]
            _reliability(name, diagrams[name], part, events)


def _events(rows: pd.DataFrame) -> str:
    """Return what is counted: detections, pixels or characters where rows say how many there were, else samples."""
    told = {name for text in rows["params"] for name in json.loads(text)}
    return next((name for name in EVENTS if name in told), "samples")


def _reading(events: str) -> str:
    said = {
        "samples": "answers given with, say, 80 % confidence are right 80 % of the time",
        "pixels": "pixels named with, say, 80 % confidence are right 80 % of the time",
        "characters": "characters guessed with, say, 80 % confidence come 80 % of the time",
        "detections": "boxes with a score of, say, 80 % are at an object of their class 80 % of the time",
    }[events]
    whole = "text" if events == "characters" else "image"
    spread = (
        "Lines are 95 % intervals. "
        if events == "samples"
        else f"There are no intervals at the points, as the {events} of one {whole} go together. "
    )
    return (
        f"Reliability diagrams. Points on the dotted line mean that {said}; points below it mean that the model is too "
        f"sure. {spread}Bars count the {events} behind each point: few {events}, little weight."
    )


def _reliability(name: str, diagram: dict[str, Any], rows: pd.DataFrame, events: str) -> None:
    st.markdown(f"#### {plain(name.replace('_', ' '))}")
    if diagram.get("edges"):
        frame = frames.reliability_frame(diagram, independent=events == "samples")
        figure = figures.reliability(frame, events, EVENTS[events])
        key = f"reliability {name} {rows['record'].iloc[0] if len(rows) else ''}"
        st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt="Reliability diagram")
    else:
        st.info("Nothing was said with any confidence, so that there is no diagram.")
    st.caption("; ".join(_numbers(rows)) + ".")


def _numbers(rows: pd.DataFrame) -> list[str]:
    """Return the measures under a diagram in phrases, the parts of an image beside the whole."""
    parts = []
    for metric, label in measures.CALIBRATION.items():
        for row in rows[rows["metric"] == metric].to_dict("records"):
            region = json.loads(row["params"]).get("region")
            parts.append(f"{label}{f' of the {printable(region)}' if region else ''} {with_interval(row)}")
    for row in rows[rows["metric"] == "ece_noise_floor"].to_dict("records"):
        parts.append(
            f"a perfectly honest model would show an ECE of about {number(row['value'], row['unit'])} by chance"
        )
    return parts
