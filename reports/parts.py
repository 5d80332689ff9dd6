"""Elements that several pages share."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from PIL import Image

from suite.leaderboard.cells import DASH
from suite.leaderboard.text import printable
from suite.reports import drawing, frames, images, outputs, verdicts
from suite.reports.outputs import Arrays
from suite.reports.text import capital, entries, plain, prose

WIDTH = 405
"""Width of a figure in pixels; figures are side by side where the window has room, else below each other."""


def chart(figure: Any, key: str, caption: str) -> None:
    """Show a plotly figure with a caption, which is also its alternative text."""
    st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt=caption)
    st.caption(caption)


def show_table(frame: pd.DataFrame, **options: Any) -> None:
    """Show a table, with the color of each verdict; readers can download it, so none of its cells is a formula."""
    safe = frames.without_formulas(frame)
    named = [name for name in safe.columns if str(name if isinstance(name, str) else name[-1]).endswith("verdict")]
    shown = safe.style.map(verdicts.style, subset=named) if named else safe
    st.dataframe(shown, hide_index=True, placeholder=DASH, **options)


def choose(slot: Any, label: str, options: Sequence[str], key: str, **how: Any) -> str:
    """Let the reader choose one of some names in a container."""
    return str(slot.selectbox(label, options, key=key, format_func=printable, **how))


def slots(width: int = drawing.WIDTH) -> Iterator[Any]:
    """Yield containers for images, side by side where the window has room, else below each other."""
    row = st.container(horizontal=True)
    while True:
        yield row.container(width=width)


def put(slot: Any, image: Image.Image, caption: str) -> None:
    """Show an image with its caption (markdown) in a container."""
    slot.image(images.png(image), caption=caption)


def how_to_read(stored: Arrays, classes: Sequence[str]) -> None:
    """Explain the boxes or masks of some stored arrays, with a legend of the class colors."""
    if text := outputs.how_to_read(stored):
        st.markdown(text)
    if legend := outputs.legend(stored, classes):
        put(st, legend, "Classes in these images, predicted and true.")


def sections(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the heading (markdown) and the rows of each section that metrics declare, the default one first."""
    names = entries(rows).map(lambda metric: metric.section)
    for name in sorted(names.unique(), key=bool):  # the others keep their order
        yield capital(prose(name)) if name else "", rows[names == name]


def tables(rows: pd.DataFrame, param: str = "") -> None:
    """Show stored rows with their meanings, a table per section, with a column per value of a param if one is given."""
    for heading, part in sections(rows):
        table = frames.pivot_frame(part, param) if param else frames.meaning_frame(part)
        if len(table):
            if heading:
                st.markdown(f"{heading}{_conditions(part)}:")
            show_table(table)


def _conditions(rows: pd.DataFrame) -> str:
    """Return the numbers that all rows were computed with, such as a threshold, in markdown."""
    params = [json.loads(text) for text in rows["params"]]
    shared = {name: value for name, value in params[0].items() if all(other.get(name) == value for other in params)}
    numbers = {name: value for name, value in shared.items() if isinstance(value, float)}
    return "".join(f", {plain(name)} {value:.3g}" for name, value in numbers.items())


def proxy(rows: pd.DataFrame, details: Mapping[str, Any]) -> None:
    """Say that numbers are proxies if they are, and why if that is stored."""
    if any(json.loads(params).get("proxy") for params in rows["params"]):
        reason = details.get("proxy")
        why = f" {plain(reason)}" if isinstance(reason, str) else ""
        st.info(f"Proxy: there is no standard metric for this question; these numbers are an approximation.{why}")
