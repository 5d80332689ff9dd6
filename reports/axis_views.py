"""Robustness and calibration of one model: figures, and how to read them."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from suite.leaderboard.text import printable
from suite.metrics.calibration.bins import SAMPLES
from suite.metrics.catalogue import Metric
from suite.records.reading import StoredRecord
from suite.reports import curves, figures, frames, verdicts
from suite.reports.pages import PageContext
from suite.reports.parts import WIDTH, chart, proxy, tables
from suite.reports.text import capital, entries, plain, prose


def robustness(context: PageContext, record: StoredRecord, rows: pd.DataFrame) -> None:
    """Show the results of one attack, with its random control, and its checks."""
    attack = record.facts.get("attack", {})
    st.markdown(
        f"#### Attack {plain(attack.get('name', 'unnamed'))}\n\n{plain(attack.get('spec', rows['spec'].iloc[0]))}"
    )
    key, size = str(rows["record"].iloc[0]), size_title(record)
    proxy(rows, record.facts)
    row = st.container(horizontal=True)
    with row.container(width=WIDTH + 80):
        _curve(record, rows, size, key)
    panels = frames.panels_frame(rows)
    if len(panels):
        caption = (
            "Further metrics under the attack and under its random control of the same size; size 0 is the clean "
            "input. The headline metric alone can hide what an attack does."
        )
        with row.container(width=WIDTH):
            chart(figures.panels(panels, size), f"panels {key}", caption)
    with row.container(width=2 * WIDTH + 80 if len(panels) else WIDTH - 80):
        _checks(record.facts.get("checks") or {})
        _verdict(rows[rows["status"] != "skipped"])
    controls = rows["params"].map(lambda params: "control" in json.loads(params))
    drawn = rows["metric"].isin(panels["metric"]) | entries(rows).map(lambda metric: metric.is_headline)
    tables(rows[~controls & ~drawn])


def headline_of(rows: pd.DataFrame, name: str = "") -> Metric:
    """Return the headline metric of some rows: the one of a name, else the first that is declared as one."""
    metrics = list(entries(rows.drop_duplicates("metric")))
    return max(metrics, key=lambda metric: (metric.name == name, metric.is_headline))


def size_title(record: StoredRecord) -> str:
    """Return the title of the axis of an attack's sizes: what it changes, and how that is measured."""
    attack = record.facts.get("attack", {})
    space = str(attack.get("space") or "input")
    own = record.about.input.type if record.about else space
    return figures.size_title(attack, own if space == "input" else space)


def _curve(record: StoredRecord, rows: pd.DataFrame, size: str, key: str) -> None:
    metric = headline_of(rows)
    frame = curves.robustness_frame(record.details, metric.unit)
    if frame.empty:
        return
    caption = (
        f"{capital(prose(metric.title))} against perturbation size, for the attack and for random controls of the same "
        "size. Shaded: 95 % intervals. An attack no better than its random control is no evidence of robustness."
    )
    chart(figures.robustness(frame, size, metric.title, unit=metric.unit), f"robustness {key}", caption)


def _verdict(rows: pd.DataFrame) -> None:
    """Show the verdicts on an attack's numbers, with their reasons."""
    reasons = list(verdicts.reasons(rows))
    if len(rows) and not reasons:
        st.success("✓ Valid: every applicable check passed.")
    for verdict, sentence in reasons:
        (st.warning if verdict == "suspect" else st.error)(sentence)


def _checks(checks: Mapping[str, Any]) -> None:
    st.markdown("Was the attack strong enough?")
    signs = {"pass": "✓ pass", "fail": "✗ FAIL", "n/a": "– not applicable"}
    by_result: dict[tuple[str, str], list[str]] = {}
    for name, (status, sentence) in checks.items():
        by_result.setdefault((status, sentence), []).append(printable(name).replace("_", " "))
    for (status, sentence), names in by_result.items():
        st.text(f"{signs.get(status, '?')}: {', '.join(names)}. {printable(sentence)}")


def calibration(context: PageContext, record: StoredRecord, rows: pd.DataFrame) -> None:
    """Show one reliability diagram per uncertainty method, and the metrics side by side."""
    proxy(rows, {**record.facts, **record.details})
    fitted = (record.facts.get("temperature") or {}).get("value")
    if fitted is not None:
        st.markdown(
            f"Temperature fitted on validation samples: **{fitted:.3g}** (above 1: the model was overconfident; below "
            "1: underconfident)."
        )
    diagrams = [
        (str(method["params"].get("uncertainty")), method["facts"]["reliability"])
        for method in record.facts.get("methods", [])
        if method.get("facts", {}).get("reliability", {}).get("edges")
    ]
    if diagrams:
        st.caption(_reading(diagrams[0][1].get("events", SAMPLES)))
    row = st.container(horizontal=True)
    for name, diagram in diagrams:
        with row.container(width=WIDTH):
            st.markdown(f"#### {plain(name.replace('_', ' '))}")
            counted = str(diagram.get("events", SAMPLES))
            frame = curves.reliability_frame(diagram, independent=counted == SAMPLES)
            key = f"reliability {name} {rows['record'].iloc[0]}"
            figure = figures.reliability(frame, counted)
            st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt="Reliability diagram")
    of_methods = rows["params"].map(lambda params: "uncertainty" in json.loads(params))
    tables(rows[of_methods], "uncertainty")
    tables(rows[~of_methods])


def _reading(events: str) -> str:
    independent = "Lines are 95 % intervals."
    dependent = f"Points have no intervals, because the {prose(events)} of one sample are not independent."
    return (
        f"Reliability diagrams. Points on the dotted line mean that {prose(events)} with, say, 80 % confidence are "
        "right 80 % of the time; points below it mean that the model is overconfident. "
        f"{independent if events == SAMPLES else dependent} Bars show the number of {prose(events)} per point; points "
        "with few of them are noisy."
    )
