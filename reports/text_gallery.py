"""Texts before and after an attack, and samples with their features marked by attribution."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from suite.reports import drawing, outputs, texts
from suite.reports.metrics import capital
from suite.reports.parts import put
from suite.reports.text import plain

PAIRS = 6
"""Changed words that a sentence names, at most."""

DECODED_WIDTH = 140
"""Width in pixels of an image that was decoded from the explained latent vector."""


def attacked(stored: Mapping[str, Any], at: int, classes: list[str]) -> None:
    """Show one text clean and attacked."""
    st.markdown(f"Sample {plain(stored['ids'][at])}")
    if not {"clean", "adversarial"} <= set(stored):
        st.caption("No text of this sample was stored.")
        return
    truth = outputs.truth_of(stored, at)
    before, after = (outputs.output_of(stored, at, f"{name}_{{}}") for name in ("clean", "adversarial"))
    change = texts.changed(*(texts.text_of(stored[name][at]) for name in ("clean", "adversarial")))
    st.markdown(outputs.clean_caption(before, truth, classes))
    st.html(change.before)
    st.markdown(f"attacked: {outputs.describe(after, truth, classes, before)}")
    st.html(change.after)
    st.caption(summary(change, float(stored["eps"][at]) if "eps" in stored else None))


def summary(change: texts.Change, size: float | None) -> str:
    """Return in markdown how many words an attack changed, which, and at which size."""
    if not change.words:
        return "Unchanged: the clean text was already misclassified, or the attack did not succeed."
    pairs = ", ".join(_pair(*pair) for pair in change.pairs[:PAIRS])
    more = f" and {len(change.pairs) - PAIRS} more" if len(change.pairs) > PAIRS else ""
    allowed = "" if size is None else f"; size {size:g}"
    return f"{change.words} word{'' if change.words == 1 else 's'} changed: {pairs}{more}{allowed}."


def _pair(old: str, new: str) -> str:
    if not old:
        return f"{plain(new)} inserted"
    return f"{plain(old)} → {plain(new)}" if new else f"{plain(old)} deleted"


def explained(stored: Mapping[str, Any], classes: list[str], key: str) -> None:
    """Show the samples with their features marked by a method that the reader chooses."""
    methods = [name.removeprefix("attribution_") for name in stored if name.startswith("attribution_")]
    if not methods:
        st.info("No attribution method applies to this model.")
        return
    method = str(st.selectbox("Method", methods, key=f"rationale method {key}", width=drawing.WIDTH))
    st.html(texts.legend())
    for at, sample in enumerate(stored["ids"]):
        truth, output = outputs.truth_of(stored, at), outputs.output_of(stored, at)
        known = outputs.describe_truth(output, truth, classes)
        st.markdown(": ".join(part for part in (f"Sample {plain(sample)}", known) if part))
        if output:
            st.markdown(f"The model {outputs.describe(output, truth, classes)}")
        if "images" in stored:
            image = outputs.draw(stored["images"][at], {}, None, classes, DECODED_WIDTH)
            put(st, image, "decoded image")
        _features(stored, at, stored[f"attribution_{method}"][at])


def _features(stored: Mapping[str, Any], at: int, values: Any) -> None:
    """Show the marked features of a sample, then the strongest of them in words for readers who cannot see marks."""
    names = [str(name) for name in stored["names"][at]] if "names" in stored else list(map(str, range(len(values))))
    present = [bool(there) for there in stored["present"][at]] if "present" in stored else [True] * len(values)
    if "codes" in stored and "spans" in stored:
        st.html(texts.highlighted(texts.text_of(stored["codes"][at]), stored["spans"][at], values))
    else:
        st.html(texts.listed(names, values, present))
    known = [float(value) if there else 0.0 for value, there in zip(values, present, strict=True)]
    sides = zip(("supporting", "opposing"), texts.strongest(names, known), strict=True)
    parts = [
        f"{side}: {', '.join(f'{_visible(name)} {value:+.3g}' for name, value in features)}"
        for side, features in sides
        if features
    ]
    st.markdown(f"{capital('; '.join(parts))}." if parts else "No feature stands out.")


def _visible(name: str) -> str:
    return plain(name if name.strip() else texts.VISIBLE.get(name, name))
