"""Images under common corruptions, and with a part occluded."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from suite.reports import drawing, images, outputs
from suite.reports.parts import how_to_read, put, slots
from suite.reports.text import plain

STRIP = 288
"""Largest width in pixels of an image in a strip."""


def corruption(stored: Mapping[str, Any], classes: list[str], key: str) -> None:
    """Show one sample under every corruption, with the model's output."""
    ids = [str(name) for name in stored["ids"]]
    at = ids.index(str(st.selectbox("Sample", ids, key=f"corruption sample {key}", width=drawing.WIDTH)))
    severity = stored.get("severity")
    strength = "" if severity is None else f" at severity {int(severity)} of 5"
    st.markdown(f"The clean image, then every corruption{strength}, with the model's output.")
    how_to_read(stored, classes)
    truth, before = outputs.truth_of(stored, at), outputs.output_of(stored, at, "{}_clean")
    row = slots(STRIP)
    if "mask" in before and truth is not None and "image_clean" in stored:
        put(next(row), outputs.draw(stored["image_clean"][at], {"mask": truth}, None, classes, STRIP), "truth")
    names = [name.removeprefix("image_") for name in stored if name.startswith("image_")]
    for name in sorted(names, key=lambda name: name != "clean"):  # the others keep their order
        output = outputs.output_of(stored, at, f"{{}}_{name}")
        text = f"{plain(name.replace('_', ' '))}: {outputs.describe(output, truth, classes, before)}"
        caption = outputs.clean_caption(output, truth, classes) if name == "clean" else text
        put(next(row), outputs.draw(stored[f"image_{name}"][at], output, truth, classes, STRIP), caption)


def occlusion(stored: Mapping[str, Any], classes: list[str], key: str) -> None:
    """Show the samples with the square at its worst position, and the effect of every position."""
    st.markdown(
        "A square covers one position of a grid after the other. The **square of long green dashes** is the worst "
        "position. In the **heat map**, each cell is a position: orange cells lower the score of the predicted class "
        "when they are covered, blue striped cells raise it, and white cells have no effect."
    )
    if outputs.how_to_read(stored):
        st.markdown("In these images, whatever the square covers counts as missed; in the numbers it does not.")
    how_to_read(stored, classes)
    for at, sample in enumerate(stored["ids"]):
        st.markdown(f"Sample {plain(sample)}")
        _occluded(stored, at, classes)


def _occluded(stored: Mapping[str, Any], at: int, classes: list[str]) -> None:
    truth, before = outputs.truth_of(stored, at), outputs.output_of(stored, at)
    after = outputs.output_of(stored, at, "worst_{}")
    width = drawing.WIDTH if outputs.is_scene(before) else images.WIDTH
    row = slots(width)
    if "images" in stored:
        clean = outputs.draw(stored["images"][at], before, truth, classes, width)
        put(next(row), clean, outputs.clean_caption(before, truth, classes))
    if "worst" in stored:
        worst = outputs.draw(stored["worst"][at], after, truth, classes, width)
        if "worst_corner" in stored and "side" in stored:
            factor = worst.width / np.shape(stored["worst"][at])[-1]
            worst = drawing.squared(worst, stored["worst_corner"][at], float(stored["side"]), factor)
        put(next(row), worst, f"worst position: {outputs.describe(after, truth, classes, before)}")
    if "heat" in stored and "score" in stored:
        _heat(next(row), stored, at, width)


def _heat(slot: Any, stored: Mapping[str, Any], at: int, width: int) -> None:
    """Show the drop of the score by position, as large as the image next to it."""
    score, heat = float(stored["score"][at]), np.asarray(stored["heat"][at])
    size = next((np.shape(stored[name])[-2:] for name in ("images", "worst") if name in stored), heat.shape)
    factor = max(1, width // size[1])
    drop = images.heat(score - heat, width).resize((factor * size[1], factor * size[0]), Image.Resampling.NEAREST)
    put(slot, drop, f"score {score:.2f}; at the worst position {heat.min():.2f}")
