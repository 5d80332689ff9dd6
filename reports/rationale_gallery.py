"""Samples whose words, or numbers, are marked by what they are worth for the answer."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from suite.reports import answers, damage_gallery, drawing, texts
from suite.reports.text import plain

MADE = 140
"""Width in pixels of an image that is made from numbers."""


def show(stored: Mapping[str, Any], classes: list[str], key: str) -> None:
    """Show the samples of the gallery with their features marked by a method that the reader chooses."""
    methods = [name.removeprefix("attribution_") for name in stored if name.startswith("attribution_")]
    if not methods:
        st.info("No method applied to this model.")
        return
    method = str(st.selectbox("Method", methods, key=f"rationale method {key}", width=drawing.WIDTH))
    st.html(texts.legend())
    for at, sample in enumerate(stored["ids"]):
        truth = stored["label"][at] if "label" in stored else None
        said = answers.told(stored, at)
        known = answers.truth_words(said, truth, classes) if truth is not None else ""
        st.markdown(": ".join(part for part in (f"Sample {plain(sample)}", known) if part))
        if said:
            st.markdown(f"The model {answers.words(said, truth, classes)}")
        values = stored[f"attribution_{method}"][at]
        if "images" in stored:
            damage_gallery.put(st, answers.picture(stored["images"][at], {}, None, classes, MADE), "made from it")
        st.html(_features(stored, at, values))
        st.markdown(_sentence(stored, at, values))


def _features(stored: Mapping[str, Any], at: int, values: Any) -> str:
    if "codes" in stored and "spans" in stored:
        return texts.highlighted(texts.text_of(stored["codes"][at]), stored["spans"][at], values)
    names, present = _names(stored, at, values)
    return texts.listed(names, values, present)


def _sentence(stored: Mapping[str, Any], at: int, values: Any) -> str:
    """Return in words which features are the strongest, for who cannot see marks."""
    names, present = _names(stored, at, values)
    known = [float(value) if there else 0.0 for value, there in zip(values, present, strict=True)]
    sides = zip(("for the answer", "against it"), texts.strongest(names, known), strict=True)
    told = [
        f"{side}: {', '.join(f'{_called(name)} {value:+.3g}' for name, value in found)}"
        for side, found in sides
        if found
    ]
    return f"Most {'; most '.join(told)}." if told else "No feature stands out."


def _names(stored: Mapping[str, Any], at: int, values: Any) -> tuple[list[str], list[bool]]:
    """Return what the features of a sample are called, numbers where that is not stored, and which it has."""
    names, count = stored.get("names"), len(values)
    called = [str(place) for place in range(count)] if names is None else [str(name) for name in names[at]]
    return called, [bool(there) for there in stored["present"][at]] if "present" in stored else [True] * count


def _called(name: str) -> str:
    return plain(name if name.strip() else texts.VISIBLE.get(name, name))
