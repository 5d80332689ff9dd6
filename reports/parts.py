"""Pieces that several pages are made of."""

from __future__ import annotations

from typing import Any

import streamlit as st

WIDTH = 405
"""Pixels of a picture; pictures stand side by side where the window has room, else below each other."""


def picture(figure: Any, key: str, caption: str) -> None:
    """Show a plotly figure with a caption, which is also what it says to who cannot see it."""
    st.plotly_chart(figure, key=key, config={"displaylogo": False}, alt=caption)
    st.caption(caption)
