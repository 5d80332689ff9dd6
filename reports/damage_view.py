"""Common corruptions and occlusion of one model."""

from typing import Any

import pandas as pd
import streamlit as st

from suite.leaderboard.cells import DASH
from suite.reports import metrics
from suite.reports.text import plain, span, with_interval


def corruption(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the summary metrics, and a table of the headline metric by corruption and severity."""
    by_metric = {row["metric"]: row for row in rows.to_dict("records")}
    name, unit = metrics.headline(details), str(details.get("unit", "fraction"))
    summaries = {
        "mean_corruption_error": "Mean error",
        "corruption_retention": "Retention",
        f"mean_corrupted_{details.get('headline')}": f"Mean {name}",
        "corruption_growth": "Growth (1 is the clean level, more is worse)",
    }
    for metric, title in summaries.items():
        if metric in by_metric:
            st.markdown(f"{title} over all corruptions and severities: **{with_interval(by_metric[metric])}**")
    table = corruption_frame(details)
    if len(table):
        st.dataframe(table, hide_index=True, placeholder=DASH)
        note = (
            " The mean error is the unweighted mean, not the mCE of the literature, which is relative to AlexNet."
            if "mean_corruption_error" in by_metric
            else ""
        )
        st.caption(
            f"{metrics.capital(metrics.in_unit(name, unit))} under each corruption, from the clean image (severity "
            f"0) to the most severe one.{note}"
        )


def occlusion(folder: str, rows: pd.DataFrame, details: dict[str, Any]) -> None:
    """Show the headline metric against the covered share of the image."""
    table = occlusion_frame(details)
    if len(table):
        name, title = metrics.headline(details), _title(details)
        st.line_chart(table, x="covered %", y=title, height=260)
        st.dataframe(table, hide_index=True, placeholder=DASH)
        st.caption(
            f"{metrics.capital(name)} against the share of the image covered by a square, filled with "
            f"{plain(details.get('fill'))}, averaged over {plain(details.get('places'))} random positions per image."
        )


def corruption_frame(details: dict[str, Any]) -> pd.DataFrame:
    """Return one line per corruption: its name, and the headline metric at each severity; fractions in percent."""
    lines = [
        {"corruption": name.replace("_", " ")}
        | {f"severity {point['severity']}": _shown(point["accuracy"], details) for point in points}
        for name, points in details.get("corruptions", {}).items()
    ]
    return pd.DataFrame(lines)


def occlusion_frame(details: dict[str, Any]) -> pd.DataFrame:
    """Return covered share and headline metric, fractions in percent, with the interval as text."""
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
    return f"{metrics.headline(details)} %" if unit in metrics.PERCENT else metrics.headline(details)


def _shown(value: float | None, details: dict[str, Any]) -> float | None:
    """Return a number for a table: fractions in percent with one decimal, others with three digits."""
    if value is None:
        return None
    unit = str(details.get("unit", "fraction"))
    return round(100 * value, 1) if unit in metrics.PERCENT else float(f"{value:.3g}")
