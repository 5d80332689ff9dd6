"""Generated texts and images, reconstructions and interpolations, as far as they are stored."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from suite.reports import images, texts
from suite.reports.images import Array

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
"""Array name to title and caption."""


def kinds(stored: Mapping[str, Any]) -> list[str]:
    """Return the names of the arrays that can be shown, in the order shown."""
    dimensions = {name: np.ndim(values) for name, values in stored.items() if np.size(values)}
    is_text = dimensions.get("generated") == 2 and texts.is_codes(stored["generated"])
    known = {
        "generated": dimensions.get("generated") == 4 or is_text,
        "reconstructed": dimensions.get("reconstructed") == 4 and "images" in dimensions,
        "interpolated": dimensions.get("interpolated") == 5,
        "nearest": "nearest" in dimensions and _pairs(stored) is not None,
    }
    return [name for name, is_known in known.items() if is_known]


def show(stored: Mapping[str, Any], classes: list[str], key: str) -> None:
    """Show the generated samples, reconstructions, interpolations and nearest training images."""
    for name in kinds(stored):
        if name == "generated" and np.ndim(stored[name]) == 2:
            _texts(stored)
            continue
        title, caption = CAPTIONS[name]
        st.markdown(f"#### {title}")
        st.image(images.png(_sheet(name, stored)), caption=caption, width="content")


def _texts(stored: Mapping[str, Any]) -> None:
    """Show generated texts in blocks, each below its sampling temperature."""
    st.markdown("#### Generated texts")
    temperature = np.ravel(stored.get("temperature", ()))
    prompts = np.asarray(stored.get("prompt", ()))
    for at, codes in enumerate(stored["generated"]):
        prompt = texts.text_of(prompts[at]) if texts.is_codes(prompts) and at < len(prompts) else ""
        title = f"Temperature {float(temperature[at]):g}" if at < len(temperature) else "Sampled"
        st.markdown(f"{title}{', continuing a test text (gray italics)' if prompt else ''}:")
        before = f'<span style="opacity:0.65;font-style:italic">{texts.safe(prompt)}</span>' if prompt else ""
        st.html(texts.framed(before + texts.safe(texts.text_of(codes))))
    if len(temperature):
        st.caption("At a lower temperature the model chooses more likely characters, and the text repeats itself more.")


def _sheet(name: str, stored: Mapping[str, Any]) -> Image.Image:
    if name == "generated":
        return images.grid(stored[name], COLUMNS, SIDE)
    if name == "interpolated":
        return images.strips(stored[name], SIDE)
    reconstructed = name == "reconstructed"
    pairs = _stacked(stored["images"], stored[name]) if reconstructed else np.asarray(_pairs(stored))[:PAIRS]
    return images.strips(pairs.transpose(1, 0, 2, 3, 4), SIDE)


def _pairs(stored: Mapping[str, Any]) -> Array | None:
    """Return generated images with their nearest training images, (k, 2, c, h, w); None if they do not fit."""
    nearest, generated = np.asarray(stored["nearest"]), np.asarray(stored.get("generated", ()))
    if nearest.ndim == 5:
        return nearest if nearest.shape[1] == 2 else None
    if nearest.ndim == generated.ndim == 4 and generated.shape[1:] == nearest.shape[1:]:
        return _stacked(generated, nearest)
    return None


def _stacked(first: Array, second: Array) -> Array:
    """Return two arrays of images (k, c, h, w) as pairs (k, 2, c, h, w), as many as both have, at most `PAIRS`."""
    count = min(len(first), len(second), PAIRS)
    return np.stack([images.in_unit(np.asarray(part)[:count]) for part in (first, second)], axis=1)
