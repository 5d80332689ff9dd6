"""Elements that several pages share."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import streamlit as st
from PIL import Image

from suite.reports import drawing, images, outputs
from suite.reports.text import plain

WIDTH = 405
"""Width of a figure in pixels; figures are side by side where the window has room, else below each other."""


def chart(figure: Any, key: str, caption: str) -> None:
    """Show a plotly figure with a caption, which is also its alternative text."""
    st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt=caption)
    st.caption(caption)


def slots(width: int = drawing.WIDTH) -> Iterator[Any]:
    """Yield containers for images, side by side where the window has room, else below each other."""
    row = st.container(horizontal=True)
    while True:
        yield row.container(width=width)


def put(slot: Any, image: Image.Image, caption: str) -> None:
    """Show an image with its caption (markdown) in a container."""
    slot.image(images.png(image), caption=caption)


def how_to_read(stored: Mapping[str, Any], classes: list[str]) -> None:
    """Explain the boxes or masks of some stored arrays, with a legend of the class colors."""
    if text := outputs.how_to_read(stored):
        st.markdown(text)
    if legend := outputs.legend(stored, classes):
        put(st, legend, "Classes in these images, predicted and true.")


def proxy(rows: pd.DataFrame, details: Mapping[str, Any]) -> None:
    """Say that numbers are proxies if they are, and why if that is stored."""
    if any(json.loads(params).get("proxy") for params in rows["params"]):
        reason = details.get("proxy")
        why = f" {plain(reason)}" if isinstance(reason, str) else ""
        st.info(f"Proxy: there is no standard metric for this question; these numbers are an approximation.{why}")
