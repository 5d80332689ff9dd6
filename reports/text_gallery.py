"""Texts before and after an attack, with what it changed and what the model said of both."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from suite.reports import answers, texts
from suite.reports.text import plain

PAIRS = 6
"""Changed words that a sentence names."""


def attacked(stored: Mapping[str, Any], at: int, classes: list[str]) -> None:
    """Show one text clean and attacked."""
    st.markdown(f"Sample {plain(stored['ids'][at])}")
    if not {"clean", "adversarial"} <= set(stored):
        st.caption("No text of this sample was stored.")
        return
    truth = stored["label"][at] if "label" in stored else None
    before, after = (answers.told(stored, at, f"{name}_{{}}") for name in ("clean", "adversarial"))
    change = texts.changed(*(texts.text_of(stored[name][at]) for name in ("clean", "adversarial")))
    known = answers.truth_words(before, truth, classes) if truth is not None else ""
    st.markdown(f"Clean{', ' if known else ''}{known}: {answers.words(before, truth, classes)}")
    st.html(change.before)
    st.markdown(f"Attacked: {answers.words(after, truth, classes, before)}")
    st.html(change.after)
    size = float(stored["eps"][at]) if "eps" in stored else None
    st.caption(summary(change, size))


def summary(change: texts.Change, size: float | None) -> str:
    """Return in markdown how many words an attack changed, which, and at which size."""
    if not change.words:
        return "Nothing was changed: the clean text was wrong already, or no change was found."
    pairs = ", ".join(_pair(*pair) for pair in change.pairs[:PAIRS])
    more = f" and {len(change.pairs) - PAIRS} more" if len(change.pairs) > PAIRS else ""
    allowed = "" if size is None else f"; size {size:g}"
    return f"{change.words} word{'' if change.words == 1 else 's'} changed: {pairs}{more}{allowed}."


def _pair(gone: str, came: str) -> str:
    if not gone:
        return f"{plain(came)} put in"
    return f"{plain(gone)} became {plain(came)}" if came else f"{plain(gone)} left out"
