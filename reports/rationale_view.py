"""Rationales of one model: whether the words, or numbers, that a method points at are those that the model used."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from suite.reports import figures, frames, sources, verdicts
from suite.reports.parts import WIDTH, picture, proxy
from suite.reports.text import number, plain

CURVES = {
    "comprehensiveness": "Comprehensiveness: what a method calls important is deleted. The further the score of the "
    "answer falls, the better the method knows what the model rests on.",
    "sufficiency": "Sufficiency: all is deleted but that. The less the score falls, the better: little is needed for "
    "the answer.",
}
"""Kinds of curves, and how to read them."""

RIVALS = {"beats_random": "deletion in random order", "beats_recency": "deletion of the last ones first"}
"""Checks, and what they compare with."""


def rationale(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the curves, which methods beat chance, and whether attributions add up."""
    frame = frames.rationale_frame(details)
    if frame.empty:
        st.info("Nothing was explained.")
        for _, sentence in verdicts.reasons(rows):
            st.markdown(f"- {sentence}")
        return
    key = str(rows["record"].iloc[0])
    called = features_called(sources.arrays(folder, key))
    proxy(rows, details)
    st.markdown(_setting(details, called))
    beside = st.container(horizontal=True)
    for kind, said in CURVES.items():
        with beside.container(width=WIDTH):
            picture(figures.rationale(frame, kind, called), f"{kind} {key}", said)
    for check, rival in RIVALS.items():
        _tally(rows, check, rival)
    _sums(rows)
    st.markdown("The explained samples themselves stand on the page **Gallery**, under *Words and numbers*.")


def features_called(stored: Mapping[str, Any]) -> str:
    """Return what the features of stored samples are: words, characters, or numbers that an image is made from."""
    if "images" in stored:
        return "numbers of the code"
    names = stored.get("names")
    single = names is not None and len(names) and max((len(str(name)) for name in names.ravel()), default=0) <= 1
    return "characters" if single else "words"


def _setting(details: Mapping[str, Any], called: str) -> str:
    short = int(details.get("too_short") or 0)
    left_out = f" {short} samples with fewer than two {called} are left out." if short else ""
    return f"Deleted {called} are {plain(details.get('deletion') or 'deleted in a way that was not stored')}.{left_out}"


def _tally(rows: pd.DataFrame, check: str, rival: str) -> None:
    """Say of every method in how many of its comparisons it beats a rival."""
    won_by: dict[str, list[str]] = {}
    for params, checks in zip(rows["params"].map(json.loads), rows["checks"].map(json.loads), strict=True):
        if checks.get(check) in ("pass", "fail"):  # of the controls it is n/a
            won_by.setdefault(str(params.get("method")), []).append(checks[check])
    for method, found in won_by.items():
        won = found.count("pass")
        sign = f"✓ beats {rival}" if won == len(found) else f"✗ does not beat {rival}"
        share = f"all {won}" if won == len(found) else f"{len(found) - won} of {len(found)}"
        st.markdown(f"- {plain(method.replace('_', ' '))} **{sign}** in {share} comparisons")


def _sums(rows: pd.DataFrame) -> None:
    for row in rows[(rows["metric"] == "convergence_delta") & rows["value"].notna()].to_dict("records"):
        params = json.loads(row["params"])
        method, missed = plain(str(params.get("method")).replace("_", " ")), number(row["value"], row["unit"])
        steps = plain(params.get("steps"))
        st.markdown(f"- {method} shares out all but {missed} of what it has to, on average, with up to {steps} steps")
