"""Images under common corruptions, and with a part occluded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from suite.reports import drawing, images, outputs
from suite.reports.outputs import Arrays
from suite.reports.parts import choose, how_to_read, put, slots
from suite.reports.text import plain

STRIP = 288
"""Largest width in pixels of an image in a strip."""


def corruption(stored: Arrays, classes: Sequence[str], key: str) -> None:
    """Show one sample under every corruption, with the model's output."""
    ids = outputs.sample_ids(stored)
    at = ids.index(choose(st, "Sample", ids, f"corruption sample {key}", width=drawing.WIDTH))
    st.markdown("The clean image, then every corruption, with the model's output.")
    how_to_read(stored, classes)
    truth, before = outputs.part(stored, "truth", at), outputs.output_of(stored, at)
    row, clean = slots(STRIP), outputs.part(stored, "input", at)
    if clean is not None:
        if outputs.of_type(before, "mask") is not None and truth is not None:
            put(next(row), outputs.draw(clean.values, {"truth": truth}, None, classes, STRIP), "truth")
        drawn = outputs.draw(clean.values, before, truth, classes, STRIP)
        put(next(row), drawn, outputs.clean_caption(before, truth, classes))
    for shown in outputs.of_role(stored, "changed").values():
        output = outputs.output_of(stored, at, "changed_prediction", shown.params)
        text = ", ".join(_condition(name, value) for name, value in shown.params.items())
        caption = f"{text}: {outputs.describe(output, truth, classes, before)}"
        put(next(row), outputs.draw(shown.values[at], output, truth, classes, STRIP), caption)


def _condition(name: str, value: Any) -> str:
    return plain(value.replace("_", " ")) if isinstance(value, str) else f"{plain(name)} {value:g}"


def occlusion(stored: Arrays, classes: Sequence[str], key: str) -> None:
    """Show the samples with the square at its worst position, and the effect of every position."""
    st.markdown(
        "A square covers one position of a grid after the other. The **square of long green dashes** is the worst "
        "position. In the **heat map**, each cell is a position: orange cells lower the score of the predicted class "
        "when they are covered, blue striped cells raise it, and white cells have no effect."
    )
    if outputs.how_to_read(stored):
        st.markdown("In these images, whatever the square covers counts as missed; in the numbers it does not.")
    how_to_read(stored, classes)
    for at, sample in enumerate(outputs.sample_ids(stored)):
        st.markdown(f"Sample {plain(sample)}")
        _occluded(stored, at, classes)


def _occluded(stored: Arrays, at: int, classes: Sequence[str]) -> None:
    truth, before = outputs.part(stored, "truth", at), outputs.output_of(stored, at)
    after = outputs.output_of(stored, at, "changed_prediction")
    clean, worst = (outputs.part(stored, role, at) for role in ("input", "changed"))
    width = drawing.WIDTH if outputs.is_scene(before) else images.WIDTH
    row = slots(width)
    if clean is not None:
        drawn = outputs.draw(clean.values, before, truth, classes, width)
        put(next(row), drawn, outputs.clean_caption(before, truth, classes))
    if worst is not None:
        drawn = outputs.draw(worst.values, after, truth, classes, width)
        if "worst_corner" in stored and "side" in stored:
            factor = drawn.width / np.shape(worst.values)[-1]
            drawn = drawing.squared(drawn, stored["worst_corner"].values[at], float(stored["side"].values), factor)
        put(next(row), drawn, f"worst position: {outputs.describe(after, truth, classes, before)}")
    if "heat" in stored and "score" in stored:
        score, heat = float(stored["score"].values[at]), np.asarray(stored["heat"].values[at])
        image = next((np.shape(part.values) for part in (clean, worst) if part is not None), heat.shape)
        put(
            next(row),
            _heat(score - heat, image[-2:], width),
            f"score {score:.2f}; at the worst position {heat.min():.2f}",
        )


def _heat(drop: Any, size: tuple[int, ...], width: int) -> Image.Image:
    """Return the drop of the score by position, as large as the image (h, w) next to it."""
    factor = max(1, width // size[1])
    return images.heat(drop, width).resize((factor * size[1], factor * size[0]), Image.Resampling.NEAREST)
