"""Two axes of one model that no attacker is behind: common corruptions and occlusion."""

from typing import Any

import pandas as pd
import streamlit as st

from suite.leaderboard.cells import DASH
from suite.reports import measures
from suite.reports.text import plain, span, with_interval


def corruption(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the two sums, and a table of the headline measure by corruption and severity."""
    said = {row["metric"]: row for row in rows.to_dict("records")}
    name, unit = measures.headline(details), str(details.get("unit", "fraction"))
    sums = {
        "mean_corruption_error": "Mean error",
        "corruption_retention": "Retention",
        f"mean_corrupted_{details.get('headline')}": f"Mean {name}",
        "corruption_growth": "Growth (1 is as on clean images, more is worse)",
    }
    for metric, title in sums.items():
        if metric in said:
            st.markdown(f"{title} over all corruptions and severities: **{with_interval(said[metric])}**")
    table = corruption_frame(details)
    if len(table):
        st.dataframe(table, hide_index=True, placeholder=DASH)
        plain_mean = (
            " The mean error is the plain mean, not the mCE of the literature, which is relative to AlexNet."
            if "mean_corruption_error" in said
            else ""
        )
        st.caption(
            f"{measures.capital(measures.in_unit(name, unit))} under each corruption, from the clean image (severity "
            f"0) to the most severe.{plain_mean}"
        )


def occlusion(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the headline measure against the covered share of the image."""
    table = occlusion_frame(details)
    if len(table):
        name, title = measures.headline(details), _title(details)
        st.line_chart(table, x="covered %", y=title, height=260)
        st.dataframe(table, hide_index=True, placeholder=DASH)
        st.caption(
            f"{measures.capital(name)} against the share of the image that a square covers, filled "
            f"{plain(details.get('fill'))}, averaged over {plain(details.get('places'))} random places per image."
        )


def corruption_frame(details: dict[str, Any]) -> pd.DataFrame:
    """Return one line per corruption: its name, and the headline measure at each severity; shares in percent."""
    lines = [
        {"corruption": name.replace("_", " ")}
        | {f"severity {point['severity']}": _shown(point["accuracy"], details) for point in points}
        for name, points in details.get("corruptions", {}).items()
    ]
    return pd.DataFrame(lines)


def occlusion_frame(details: dict[str, Any]) -> pd.DataFrame:
    """Return covered share and headline measure, shares in percent, with the interval as text."""
    lines = [
        {
            "covered %": round(100 * point["covered"], 1),
            _title(details): _shown(point["accuracy"], details),
            "95 % interval": span(point["lo"], point["hi"], str(details.get("unit", "fraction"))),
        }
        for point in details.get("occlusion", [])
    ]
    return pd.DataFrame(lines)


def _title(details: dict[str, Any]) -> str:
    unit = str(details.get("unit", "fraction"))
    return f"{measures.headline(details)} %" if unit in measures.PERCENT else measures.headline(details)


def _shown(value: float | None, details: dict[str, Any]) -> float | None:
    """Return a number as a table shows it: shares in percent with one place, others with three digits."""
    if value is None:
        return None
    unit = str(details.get("unit", "fraction"))
    return round(100 * value, 1) if unit in measures.PERCENT else float(f"{value:.3g}")
