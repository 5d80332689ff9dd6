"""Attributions of one model: whether they highlight the pixels, words or other features that the model uses."""

import json

import pandas as pd
import streamlit as st

from suite.records.reading import StoredRecord
from suite.reports import curves, figures
from suite.reports.pages import PageContext
from suite.reports.parts import WIDTH, chart, choose, proxy, sections, tables
from suite.reports.text import meaning_of, plain, prose


def attribution(context: PageContext, record: StoredRecord, rows: pd.DataFrame) -> None:
    """Show the curves, which methods beat the controls, and all metrics by method."""
    frame, details = curves.attribution_frame(record.details), record.details
    key = str(rows["record"].iloc[0])
    proxy(rows, {**record.facts, **details})
    baselines = sorted(frame["baseline"].unique(), reverse=True)
    if any(baselines):
        baseline = choose(st, "Deleted features are replaced by", baselines, f"baseline {key}", width=WIDTH)
        frame = frame[(frame["baseline"] == baseline) & frame["score"].notna()]
    if deletion := details.get("deletion"):
        short = int(details.get("too_short") or 0)
        left_out = f" {short} samples with fewer than two features are left out." if short else ""
        st.markdown(f"Deleted features are {plain(deletion)}.{left_out}")
    row = st.container(horizontal=True)
    for kind, part in frame.groupby("kind", sort=False):
        with row.container(width=WIDTH):
            chart(figures.attribution(part), f"{kind} {key}", _caption(record, str(kind)))
    _comparisons(rows)
    tables(rows, "method")
    st.markdown("Explained samples are on the page **Gallery**.")


def _caption(record: StoredRecord, kind: str) -> str:
    """Return the caption of a kind of curve: the meaning of the metric that summarizes it, else its name."""
    metric = record.catalogue.get(record.details.get("areas", {}).get(kind, kind))
    meaning = meaning_of(metric) if metric else f"{prose(kind.replace('_', ' ').capitalize())}."
    return f"{meaning} A method no better than a control is uninformative."


def _comparisons(rows: pd.DataFrame) -> None:
    """Show for each method in how many of its comparisons it passes a check; one loss counts as failed."""
    for heading, part in sections(rows):
        results: dict[tuple[str, str], list[str]] = {}
        for params, checks in zip(part["params"].map(json.loads), part["checks"].map(json.loads), strict=True):
            for check, result in checks.items():
                if "method" in params and result in ("pass", "fail"):  # n/a for the controls themselves
                    results.setdefault((str(params["method"]), check), []).append(result)
        if heading and results:
            st.markdown(f"{heading}:")
        for (method, check), passed in results.items():
            failed, times = passed.count("fail"), len(passed)
            words = prose(check.replace("_", " "))
            verdict = f"✗ fails: {words}** in {failed}" if failed else f"✓ {words}** in {times}"
            count = f"{times} comparison{'' if times == 1 else 's'}"
            st.markdown(f"- {plain(method.replace('_', ' '))} **{verdict} of {count}")
