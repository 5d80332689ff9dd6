"""Pieces that several pages are made of."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from suite.reports.text import plain

WIDTH = 405
"""Pixels of a picture; pictures stand side by side where the window has room, else below each other."""


def picture(figure: Any, key: str, caption: str) -> None:
    """Show a plotly figure with a caption, which is also what it says to who cannot see it."""
    st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt=caption)
    st.caption(caption)


def proxy(rows: pd.DataFrame, details: Mapping[str, Any]) -> None:
    """Say where numbers only stand for a measure that nobody has agreed on, and why if that is stored."""
    if any(json.loads(params).get("proxy") for params in rows["params"]):
        said = details.get("proxy")
        why = f" {plain(said)}" if isinstance(said, str) else ""
        st.info(f"Proxy: there is no standard for this question; the numbers stand for it as well as they can.{why}")
