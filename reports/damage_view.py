"""Two axes of one model that no attacker is behind: common corruptions and occlusion."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from suite.leaderboard.cells import DASH
from suite.reports import measures
from suite.reports.text import plain, span, with_interval


def corruption(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the two sums, and a table of the headline measure by corruption and severity."""
    said = {row["metric"]: row for row in rows.to_dict("records")}
    for metric, title in (("mean_corruption_error", "Mean error"), ("corruption_retention", "Retention")):
        if metric in said:
            st.markdown(f"{title} over all corruptions and severities: **{with_interval(said[metric])}**")
    table = corruption_frame(details)
    if len(table):
        name = measures.headline(details)
        st.dataframe(table, hide_index=True, placeholder=DASH)
        st.caption(
            f"{measures.capital(name)} in percent under each corruption, from the clean image (severity 0) to the most "
            "severe. The mean error is the plain mean, not the mCE of the literature, which is relative to AlexNet."
        )


def occlusion(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the headline measure against the covered share of the image."""
    table = occlusion_frame(details)
    if len(table):
        name = measures.headline(details)
        st.line_chart(table, x="covered %", y=f"{name} %", height=260)
        st.dataframe(table, hide_index=True, placeholder=DASH)
        st.caption(
            f"{measures.capital(name)} against the share of the image that a square covers, filled "
            f"{plain(details.get('fill'))}, averaged over {plain(details.get('places'))} random places per image."
        )


def corruption_frame(details: dict[str, Any]) -> pd.DataFrame:
    """Return one line per corruption: its name, and the headline measure at each severity in percent."""
    lines = [
        {"corruption": name.replace("_", " ")}
        | {f"severity {point['severity']}": _percent(point["accuracy"]) for point in points}
        for name, points in details.get("corruptions", {}).items()
    ]
    return pd.DataFrame(lines)


def occlusion_frame(details: dict[str, Any]) -> pd.DataFrame:
    """Return covered share and headline measure in percent, with the interval as text."""
    lines = [
        {
            "covered %": round(100 * point["covered"], 1),
            f"{measures.headline(details)} %": _percent(point["accuracy"]),
            "95 % interval": span(point["lo"], point["hi"], "fraction"),
        }
        for point in details.get("occlusion", [])
    ]
    return pd.DataFrame(lines)


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 1)
