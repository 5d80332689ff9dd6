"""Attributions of one model: whether they highlight the pixels, words or latent dimensions that the model uses."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from suite.reports import figures, frames, sources, verdicts
from suite.reports.parts import WIDTH, chart, proxy
from suite.reports.text import number, plain

CURVES = {
    "deletion": "Deletion: the pixels with the highest attribution are deleted first. The faster the score falls, the "
    "better the map.",
    "insertion": "Insertion: the pixels with the highest attribution are inserted first. The faster the score rises, "
    "the better the map.",
    "context_deletion": "Context deletion: the explained object stays, and only the rest of the image is deleted. If "
    "the score falls, the model uses the context, and the map shows where.",
}
"""Kinds of curves of an image, and how to read them."""

RATIONALE_CURVES = {
    "comprehensiveness": "Comprehensiveness: the features with the highest attribution are deleted. The more the score "
    "falls, the better.",
    "sufficiency": "Sufficiency: all other features are deleted. The less the score falls, the better.",
}
"""Kinds of curves of a text or a latent vector, and how to read them."""

FAITHFUL = ("deletion_auc", "insertion_auc", "infidelity", "infidelity_scaled")
"""Metrics of whether the model uses the pixels that a map highlights."""

CONTEXT = ("context_deletion_auc",)
"""The same for the context, which a model need not use."""

RIVALS = {"beats_random": "deletion in random order", "beats_recency": "deletion from the end"}
"""Checks of rationales, and what they compare with."""


def attribution(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the curves, which methods beat the random map, and where the maps lie."""
    frame = frames.faithfulness_frame(details)
    if frame.empty:
        _nothing(rows, "No deletion or insertion curves were stored.")
        return
    _curves(frame, str(rows["record"].iloc[0]))
    _wins(rows[rows["metric"].isin(FAITHFUL)], "beats_random", "the random map")
    context = rows[rows["metric"].isin(CONTEXT)]
    if len(context):
        st.markdown(
            "The same for the context alone. If a model uses only the object itself, no method can beat the random map "
            "here:"
        )
        _wins(context, "beats_random", "the random map")
    table = frames.plausibility_frame(rows)
    if len(table):
        st.markdown(
            "Location of the maps: how often the maximum of a map lies inside the explained object (pointing game), "
            "and how much of the map's weight does. This measures **plausibility, not faithfulness**: a map can lie on "
            "the object and still not show what the model uses."
        )
        st.dataframe(table, hide_index=True)


def rationale(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the curves, which methods beat the controls, and whether attributions add up."""
    frame = frames.rationale_frame(details)
    if frame.empty:
        _nothing(rows, "No sample was explained.")
        return
    key = str(rows["record"].iloc[0])
    features = feature_noun(sources.arrays(folder, key))
    proxy(rows, details)
    short = int(details.get("too_short") or 0)
    left_out = f" {short} samples with fewer than two {features} are left out." if short else ""
    deletion = plain(details.get("deletion") or "deleted in a way that was not stored")
    st.markdown(f"Deleted {features} are {deletion}.{left_out}")
    row = st.container(horizontal=True)
    for kind, caption in RATIONALE_CURVES.items():
        with row.container(width=WIDTH):
            chart(figures.rationale(frame, kind, features), f"{kind} {key}", caption)
    for check, rival in RIVALS.items():
        _wins(rows, check, rival)
    for sentence in _convergence(rows):
        st.markdown(sentence)
    st.markdown("The explained samples are on the page **Gallery**, under *Word and latent attributions*.")


def feature_noun(stored: Mapping[str, Any]) -> str:
    """Return what the features of stored samples are called: words, characters, or latent dimensions."""
    if "images" in stored:
        return "latent dimensions"
    names = stored.get("names")
    is_single = names is not None and len(names) and max((len(str(name)) for name in names.ravel()), default=0) <= 1
    return "characters" if is_single else "words"


def _nothing(rows: pd.DataFrame, sentence: str) -> None:
    st.info(sentence)
    for _, reason in verdicts.reasons(rows):
        st.markdown(f"- {reason}")


def _curves(frame: pd.DataFrame, key: str) -> None:
    baselines: Sequence[str] = sorted(frame["baseline"].unique(), reverse=True)
    baseline = st.selectbox("Deleted pixels are replaced by", baselines, key=f"baseline {key}", width=WIDTH)
    frame = frame[(frame["baseline"] == baseline) & frame["score"].notna()]
    row = st.container(horizontal=True)
    for kind, meaning in CURVES.items():
        if kind in set(frame["kind"]):
            caption = f"{meaning} A method that does not beat the random map is uninformative."
            caption = meaning if kind == "context_deletion" else caption
            with row.container(width=WIDTH):
                chart(figures.faithfulness(frame, kind), f"{kind} {key}", caption)


def _wins(rows: pd.DataFrame, check: str, rival: str) -> None:
    """Show for each method in how many of its comparisons it beats a rival; one loss counts as not beating it."""
    results: dict[str, list[str]] = {}
    for params, checks in zip(rows["params"].map(json.loads), rows["checks"].map(json.loads), strict=True):
        if checks.get(check) in ("pass", "fail"):  # n/a for the controls themselves
            results.setdefault(str(params.get("method")), []).append(checks[check])
    for method, passed in results.items():
        wins = passed.count("pass")
        verb = "✓ beats" if wins == len(passed) else "✗ does not beat"
        share = f"all {wins}" if wins == len(passed) else f"{len(passed) - wins} of {len(passed)}"
        st.markdown(f"- {plain(method.replace('_', ' '))} **{verb} {rival}** in {share} comparisons")


def _convergence(rows: pd.DataFrame) -> Iterator[str]:
    for row in rows[(rows["metric"] == "convergence_delta") & rows["value"].notna()].to_dict("records"):
        params = json.loads(row["params"])
        method, gap = plain(str(params.get("method")).replace("_", " ")), number(row["value"], row["unit"])
        yield (
            f"- {method}: the attributions violate completeness by {gap} on average, with up to "
            f"{plain(params.get('steps'))} steps"
        )
