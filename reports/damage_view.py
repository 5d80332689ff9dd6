"""Common corruptions and occlusion of one model."""

import pandas as pd
import streamlit as st

from suite.records.reading import StoredRecord
from suite.reports import curves
from suite.reports.axis_views import headline_of
from suite.reports.pages import PageContext
from suite.reports.parts import show_table, tables
from suite.reports.text import capital, in_unit, plain, prose


def corruption(context: PageContext, record: StoredRecord, rows: pd.DataFrame) -> None:
    """Show the metrics over all corruptions, and a table of the headline metric by corruption and severity."""
    tables(rows[~rows["params"].str.contains('"severity"')])
    metric = headline_of(context.rows, record.about.headline if record.about else "")
    table = curves.corruption_frame(record.details, metric.unit)
    if len(table):
        show_table(table)
        title = capital(prose(in_unit(metric.title, metric.unit)))
        st.caption(f"{title} under each corruption, from the clean image (severity 0) to the most severe one.")


def occlusion(context: PageContext, record: StoredRecord, rows: pd.DataFrame) -> None:
    """Show the headline metric against the covered share of the image."""
    metric = headline_of(context.rows, record.about.headline if record.about else "")
    title = in_unit(metric.title, metric.unit)
    table = curves.occlusion_frame(record.details, title, metric.unit)
    if len(table):
        st.line_chart(table, x="covered %", y=title, height=260)
        show_table(table)
        fill, places = (record.details.get(name, record.facts.get(name)) for name in ("fill", "places"))
        st.caption(
            f"{capital(prose(metric.title))} against the share of the image covered by a square, filled with "
            f"{plain(fill)}, averaged over {plain(places)} random positions per image."
        )
