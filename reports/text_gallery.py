"""Texts before and after an attack, and samples with their features marked by attribution."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from suite.reports import drawing, outputs, texts
from suite.reports.outputs import Arrays
from suite.reports.parts import choose, put
from suite.reports.text import capital, plain

PAIRS = 6
"""Changed words that a sentence names, at most."""

DECODED_WIDTH = 140
"""Width in pixels of an image that was decoded from the explained latent vector."""


def attacked(stored: Arrays, at: int, classes: Sequence[str]) -> None:
    """Show one text clean and attacked."""
    st.markdown(f"Sample {plain(outputs.sample_ids(stored)[at])}")
    clean, changed = (outputs.part(stored, role, at) for role in ("input", "changed"))
    if clean is None or changed is None:
        st.caption("No text of this sample was stored.")
        return
    truth, size = outputs.part(stored, "truth", at), outputs.part(stored, "size", at)
    before, after = (outputs.output_of(stored, at, role) for role in outputs.INPUT_OF)
    change = texts.changed(texts.text_of(clean.values), texts.text_of(changed.values))
    st.markdown(outputs.clean_caption(before, truth, classes))
    st.html(change.before)
    st.markdown(f"attacked: {outputs.describe(after, truth, classes, before)}")
    st.html(change.after)
    st.caption(summary(change, None if size is None else float(size.values)))


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


def explained(stored: Arrays, classes: Sequence[str], key: str) -> None:
    """Show the samples with their features marked by a method that the reader chooses."""
    methods = {
        str(shown.params.get("method") or name.partition("_")[2]): name
        for name, shown in outputs.of_role(stored, "attribution").items()
    }
    if not methods:
        st.info("No attribution method applies to this model.")
        return
    method = choose(st, "Method", list(methods), f"rationale method {key}", width=drawing.WIDTH)
    st.html(texts.legend())
    for at, sample in enumerate(outputs.sample_ids(stored)):
        truth, output = outputs.part(stored, "truth", at), outputs.output_of(stored, at)
        known = outputs.describe_truth(output, truth, classes)
        st.markdown(": ".join(part for part in (f"Sample {plain(sample)}", known) if part))
        if output:
            st.markdown(f"The model {outputs.describe(output, truth, classes)}")
        for name, shown in stored.items():
            if shown.type == "image" and shown.per_sample and at < len(shown.values):
                image = outputs.draw(shown.values[at], {}, None, classes, DECODED_WIDTH)
                put(st, image, f"decoded image, {plain(name.replace('_', ' '))}")
        _features(stored, at, methods[method])


def _features(stored: Arrays, at: int, attribution: str) -> None:
    """Show the marked features of a sample, then the strongest of them in words for readers who cannot see marks."""
    values = np.asarray(stored[attribution].values[at])
    named, there, text = (outputs.part(stored, role, at) for role in ("features", "present", "input"))
    names = [str(name) for name in (range(len(values)) if named is None else named.values)]
    present = [True] * len(values) if there is None else [bool(one) for one in there.values]
    spans = next((shown.values[at] for shown in stored.values() if shown.type == "spans"), None)
    if text is not None and text.type == "text" and spans is not None:
        st.html(texts.highlighted(texts.text_of(text.values), spans, values))
    else:
        st.html(texts.listed(names, values, present))
    known = [float(value) if one else 0.0 for value, one in zip(values, present, strict=True)]
    sides = zip(("supporting", "opposing"), texts.strongest(names, known), strict=True)
    parts = [
        f"{side}: {', '.join(f'{_visible(name)} {value:+.3g}' for name, value in features)}"
        for side, features in sides
        if features
    ]
    st.markdown(f"{capital('; '.join(parts))}." if parts else "No feature stands out.")


def _visible(name: str) -> str:
    return plain(name if name.strip() else texts.VISIBLE.get(name, name))
