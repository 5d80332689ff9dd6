"""Generated texts and images, reconstructions and interpolations, as far as they are stored."""

import itertools
from collections.abc import Sequence

import numpy as np
import streamlit as st
from PIL import Image

from suite.reports import images, outputs, texts
from suite.reports.images import Array
from suite.reports.outputs import Arrays

SIDE = 72
"""Approximate width in pixels of an image in a grid."""

COLUMNS, PAIRS = 16, 12
"""Images in a row of a grid, and pairs shown, at most."""

CAPTIONS = {
    "generated": ("Generated images", "Images decoded from random latent vectors, not cherry-picked."),
    "reconstructed": ("Reconstructions", "Top: test images. Bottom: their reconstructions (encoded, then decoded)."),
    "interpolated": (
        "Interpolations",
        "Each row interpolates between two images in equal steps of the latent vector. Smooth rows without a blurred "
        "or broken middle suggest that the model generalizes beyond single training images.",
    ),
    "nearest": (
        "Nearest training images",
        "Top: generated images. Bottom: the nearest training image of each. Identical pairs would show that the model "
        "has memorized images.",
    ),
}
"""Role of an array to title and caption."""


def kinds(stored: Arrays) -> list[str]:
    """Return the roles that can be shown, in the order shown."""
    roles = [role for role in CAPTIONS if any(map(len, _of_role(stored, role)))]
    return [role for role in roles if role != "reconstructed" or outputs.has_type(stored, "input", "image")]


def show(stored: Arrays, classes: Sequence[str], key: str) -> None:
    """Show the generated samples, reconstructions, interpolations and nearest training images."""
    for role in kinds(stored):
        if outputs.has_type(stored, role, "text"):
            _texts(stored)
            continue
        title, caption = CAPTIONS[role]
        st.markdown(f"#### {title}")
        st.image(images.png(_sheet(role, stored)), caption=caption, width="content")


def _texts(stored: Arrays) -> None:
    """Show generated texts in blocks, each below its sampling temperature."""
    st.markdown("#### Generated texts")
    parts = [next(iter(_of_role(stored, role)), ()) for role in ("generated", "prompt", "temperature")]
    for codes, prompt, temperature in itertools.zip_longest(*parts):
        start = "" if prompt is None else texts.text_of(prompt)
        title = "Sampled" if temperature is None else f"Temperature {float(temperature):g}"
        st.markdown(f"{title}{', continuing a test text (gray italics)' if start else ''}:")
        before = f'<span style="opacity:0.65;font-style:italic">{texts.safe(start)}</span>' if start else ""
        st.html(texts.framed(before + texts.safe(texts.text_of(codes))))
    if _of_role(stored, "temperature"):
        st.caption("At a lower temperature the model chooses more likely characters, and the text repeats itself more.")


def _sheet(role: str, stored: Arrays) -> Image.Image:
    (values,) = _of_role(stored, role)
    if role == "generated":
        return images.grid(values, COLUMNS, SIDE)
    if role == "interpolated":
        return images.strips(values, SIDE)
    pairs = _stacked(_of_role(stored, "input")[0], values) if role == "reconstructed" else values[:PAIRS]
    return images.strips(pairs.transpose(1, 0, 2, 3, 4), SIDE)


def _of_role(stored: Arrays, role: str) -> list[Array]:
    """Return the values of the first array of a role in a list, empty if there is none."""
    return [np.asarray(shown.values) for shown in outputs.of_role(stored, role, per_sample=False).values()][:1]


def _stacked(first: Array, second: Array) -> Array:
    """Return two arrays of images (k, c, h, w) as pairs (k, 2, c, h, w), as many as both have, at most `PAIRS`."""
    count = min(len(first), len(second), PAIRS)
    return np.stack([images.in_unit(np.asarray(part)[:count]) for part in (first, second)], axis=1)
