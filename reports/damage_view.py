"""Two axes of one model that no attacker is behind: common corruptions and occlusion."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from suite.reports.text import plain, span, with_interval


def corruption(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the two sums, and a table of the accuracy by corruption and severity."""
    said = {row["metric"]: row for row in rows.to_dict("records")}
    for metric, title in (("mean_corruption_error", "Mean error"), ("corruption_retention", "Retention")):
        if metric in said:
            st.markdown(f"{title} over all corruptions and severities: **{with_interval(said[metric])}**")
    table = corruption_frame(details)
    if len(table):
        st.dataframe(table, hide_index=True)
        st.caption(
            "Right answers in percent under each corruption, from the clean image (severity 0) to the most severe. "
            "The mean error is the plain mean, not the mCE of the literature, which is relative to AlexNet."
        )


def occlusion(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the accuracy against the covered share of the image."""
    table = occlusion_frame(details)
    if len(table):
        st.line_chart(table, x="covered %", y="accuracy %", height=260)
        st.dataframe(table, hide_index=True)
        st.caption(
            f"Right answers against the share of the image that a square covers, filled {plain(details.get('fill'))}, "
            f"averaged over {plain(details.get('places'))} random places per image."
        )


def corruption_frame(details: dict[str, Any]) -> pd.DataFrame:
    """Return one line per corruption: its name, and the accuracy at each severity in percent."""
    lines = [
        {"corruption": name.replace("_", " ")}
        | {f"severity {point['severity']}": round(100 * point["accuracy"], 1) for point in points}
        for name, points in details.get("corruptions", {}).items()
    ]
    return pd.DataFrame(lines)


def occlusion_frame(details: dict[str, Any]) -> pd.DataFrame:
    """Return covered share and accuracy in percent, with the interval as text."""
    lines = [
        {
            "covered %": round(100 * point["covered"], 1),
            "accuracy %": round(100 * point["accuracy"], 1),
            "95 % interval": span(point["lo"], point["hi"], "fraction"),
        }
        for point in details.get("occlusion", [])
    ]
    return pd.DataFrame(lines)
