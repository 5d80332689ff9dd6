"""Pictures of what no attacker is behind: images under corruptions, and with a part covered."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from suite.reports import answers, drawing, images
from suite.reports.text import plain

STRIP = 288
"""Width in pixels of a picture in a strip, at most."""


def corruption(stored: Mapping[str, Any], classes: list[str], key: str) -> None:
    """Show one sample under every corruption, with what the model says about each."""
    at = _sample(stored, key, "corruption")
    severity = stored.get("severity")
    strength = "" if severity is None else f" at severity {int(severity)} of 5"
    st.markdown(f"The image as it is, then under every corruption{strength}, and what the model says about each.")
    _how(stored, classes)
    truth, before = _truth(stored, at), answers.told(stored, at, "{}_clean")
    known = answers.truth_words(before, truth, classes) if truth is not None else ""
    spots = places(STRIP)
    if "mask" in before and truth is not None and "image_clean" in stored:
        put(next(spots), answers.picture(stored["image_clean"][at], {"mask": truth}, None, classes, STRIP), "truth")
    names = [name.removeprefix("image_") for name in stored if name.startswith("image_")]
    for name in sorted(names, key=lambda name: name != "clean"):  # the others keep their order
        said = answers.told(stored, at, f"{{}}_{name}")
        picture = answers.picture(stored[f"image_{name}"][at], said, truth, classes, STRIP)
        title = f"clean{', ' if known else ''}{known}" if name == "clean" else plain(name.replace("_", " "))
        put(next(spots), picture, f"{title}: {answers.words(said, truth, classes, before)}")


def occlusion(stored: Mapping[str, Any], classes: list[str], key: str) -> None:
    """Show the samples with the square at its worst place, and how much it does at every place."""
    st.markdown(
        "A square visits every place of a grid. The **square of long green dashes** is the worst place. In the **heat "
        "map**, each cell is one place of the square: the more orange, the more of the score of the answer is lost "
        "when it is hidden; blue stripes are where hiding helps, and white is where it does nothing."
    )
    if answers.reading(stored):
        st.markdown("What the square hides counts as missed in these pictures, though not in the numbers.")
    _how(stored, classes)
    for at, sample in enumerate(stored["ids"]):
        st.markdown(f"Sample {plain(sample)}")
        _covered(stored, at, classes)


def _covered(stored: Mapping[str, Any], at: int, classes: list[str]) -> None:
    truth, before, after = _truth(stored, at), answers.told(stored, at), answers.told(stored, at, "worst_{}")
    width = drawing.WIDTH if answers.is_scene(before) else images.WIDTH
    spots = places(width)
    known = answers.truth_words(before, truth, classes) if truth is not None else ""
    if "images" in stored:
        first = answers.picture(stored["images"][at], before, truth, classes, width)
        words = answers.words(before, truth, classes)
        put(next(spots), first, f"clean{', ' if known else ''}{known}: {words}")
    if "worst" in stored:
        last = answers.picture(stored["worst"][at], after, truth, classes, width)
        if "worst_corner" in stored and "side" in stored:
            factor = last.width / np.shape(stored["worst"][at])[-1]
            last = drawing.squared(last, stored["worst_corner"][at], float(stored["side"]), factor)
        put(next(spots), last, f"worst place: {answers.words(after, truth, classes, before)}")
    if "heat" in stored and "score" in stored:
        _heat(next(spots), stored, at, width)


def _heat(spot: Any, stored: Mapping[str, Any], at: int, width: int) -> None:
    """Show how much of the score is lost by place, as large as the image beside it."""
    score, heat = float(stored["score"][at]), np.asarray(stored["heat"][at])
    size = next((np.shape(stored[name])[-2:] for name in ("images", "worst") if name in stored), heat.shape)
    factor = max(1, width // size[1])
    lost = images.heat(score - heat, width).resize((factor * size[1], factor * size[0]), Image.Resampling.NEAREST)
    put(spot, lost, f"score of the answer {score:.2f}; at the worst place {heat.min():.2f}")


def places(width: int = drawing.WIDTH) -> Iterator[Any]:
    """Yield places for pictures that stand side by side where the window has room, else below each other."""
    beside = st.container(horizontal=True)
    while True:
        yield beside.container(width=width)


def put(place: Any, picture: Any, caption: str) -> None:
    """Put a picture with its caption (markdown) in a place."""
    place.image(images.png(picture), caption=caption)


def legend(stored: Mapping[str, Any], classes: list[str]) -> None:
    """Show which colour is which class, where colours are classes."""
    picture = answers.key(stored, classes)
    if picture:
        put(st, picture, "Classes in these pictures, and in what is true.")


def _how(stored: Mapping[str, Any], classes: list[str]) -> None:
    if text := answers.reading(stored):
        st.markdown(text)
    legend(stored, classes)


def _truth(stored: Mapping[str, Any], at: int) -> Any:
    return stored["label"][at] if "label" in stored else None


def _sample(stored: Mapping[str, Any], key: str, axis: str) -> int:
    """Return the place of the sample that the reader chose."""
    ids = [str(name) for name in stored["ids"]]
    return ids.index(str(st.selectbox("Sample", ids, key=f"{axis} sample {key}", width=drawing.WIDTH)))
