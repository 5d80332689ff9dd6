"""What a model makes: texts, images, reconstructions and ways between images, by which arrays are stored."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

from suite.reports import images, texts
from suite.reports.images import Array

SIDE = 72
"""Width in pixels that the pictures of a grid are enlarged to, about."""

COLUMNS, PAIRS = 16, 12
"""Pictures in a row of a grid, and pairs that are shown."""

BETWEEN = (
    "Each row leads from one image to another: the numbers that an image is made from move in equal steps. Smooth rows "
    "without a blurred or broken middle show that the model has learnt what lies between images, and not single images "
    "by heart."
)


def known(stored: Mapping[str, Any]) -> bool:
    """Return whether there is anything to show among some arrays."""
    return bool(kinds(stored))


def kinds(stored: Mapping[str, Any]) -> list[str]:
    """Return what there is to show, in the order of showing: names of arrays."""
    dimensions = {name: np.ndim(values) for name, values in stored.items() if np.size(values)}
    wanted = {"generated": (2, 4), "reconstructed": (4,), "interpolated": (5,), "nearest": (4, 5)}
    found = [name for name, sizes in wanted.items() if dimensions.get(name) in sizes]
    needed = {"reconstructed": "images"}
    found = [name for name in found if needed.get(name, name) in dimensions]
    if dimensions.get("generated") == 2 and not texts.is_codes(stored["generated"]):
        found.remove("generated")
    return [name for name in found if name != "nearest" or _pairs(stored) is not None]


def show(stored: Mapping[str, Any], classes: list[str], key: str) -> None:
    """Show all of it."""
    for name in kinds(stored):
        if name == "generated" and np.ndim(stored[name]) == 2:
            _texts(stored)
        elif name == "generated":
            st.markdown("#### Generated images")
            _put(images.grid(stored[name], COLUMNS, SIDE), "What the model makes of random numbers, unselected.")
        elif name == "reconstructed":
            _reconstructed(stored)
        elif name == "interpolated":
            st.markdown("#### Between two images")
            _put(images.strips(stored[name], SIDE), BETWEEN)
        else:
            _nearest(_pairs(stored))


def _texts(stored: Mapping[str, Any]) -> None:
    """Show generated texts in blocks, under the temperature that they were drawn at."""
    st.markdown("#### Generated texts")
    temperature = np.ravel(stored.get("temperature", ()))
    prompts = np.asarray(stored.get("prompt", ()))
    for at, codes in enumerate(stored["generated"]):
        heat = float(temperature[at]) if at < len(temperature) else None
        prompt = texts.text_of(prompts[at]) if texts.is_codes(prompts) and at < len(prompts) else ""
        said = "Drawn" if heat is None else f"Temperature {heat:g}"
        st.markdown(f"{said}{', behind the words of a test text in grey italics' if prompt else ''}:")
        before = f'<span style="opacity:0.65;font-style:italic">{texts.safe(prompt)}</span>' if prompt else ""
        st.html(texts.framed(before + texts.safe(texts.text_of(codes))))
    if len(temperature):
        st.caption("The lower the temperature, the safer the guesses, and the more the text repeats itself.")


def _reconstructed(stored: Mapping[str, Any]) -> None:
    st.markdown("#### Reconstructions")
    both = _stacked(stored["images"], stored["reconstructed"])
    _put(
        images.strips(both.transpose(1, 0, 2, 3, 4), SIDE),
        "Above test images, below what the model makes of them: encoded, and decoded again.",
    )


def _nearest(pairs: Array | None) -> None:
    if pairs is None:
        return
    st.markdown("#### Nearest training images")
    _put(
        images.strips(pairs[:PAIRS].transpose(1, 0, 2, 3, 4), SIDE),
        "Above generated images, below the training image that is nearest to each. Pairs that are the same, pixel for "
        "pixel, would show that the model has learnt images by heart.",
    )


def _pairs(stored: Mapping[str, Any]) -> Array | None:
    """Return generated images beside their nearest training images, (k, 2, c, h, w)."""
    nearest, made = np.asarray(stored["nearest"]), np.asarray(stored.get("generated", ()))
    if nearest.ndim == 5:
        return nearest if nearest.shape[1] == 2 else None
    if nearest.ndim == 4 and made.ndim == 4 and made.shape[1:] == nearest.shape[1:]:
        return _stacked(made, nearest)
    return None


def _stacked(first: Array, second: Array) -> Array:
    """Return two lists of images (k, c, h, w) as pairs (k, 2, c, h, w), as many as both have."""
    count = min(len(first), len(second), PAIRS)
    return np.stack([images.in_unit(np.asarray(part)[:count]) for part in (first, second)], axis=1)


def _put(picture: Any, caption: str) -> None:
    st.image(images.png(picture), caption=caption, width="content")
