"""Plotly figures from tables: pure functions, no Streamlit.

Series differ in dash and marker as well as in color; the colors are legible on light and dark pages and to color-blind
readers. Untrusted names pass through `figure_text`, since plotly interprets tags and templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from suite.reports.text import PERCENT, figure_text, in_unit

BLUE, ORANGE, GREEN, PURPLE, AMBER, GREY = "#3182c4", "#d95f02", "#1a9e77", "#b3589a", "#b98a00", "#888888"
STYLES = (
    (BLUE, "solid", "circle"),
    (ORANGE, "dash", "square"),
    (GREEN, "dashdot", "diamond"),
    (PURPLE, "longdash", "triangle-up"),
    (AMBER, "longdashdot", "cross"),
)
CONTROL = (GREY, "dot", "x")
"""Style of the random control in every figure."""

CONTROLS = (CONTROL, (AMBER, "dash", "triangle-down"))
"""Styles of several controls, the random one first."""


def learning_curve(frame: pd.DataFrame, quantity: str, selected: int | None, title: str) -> go.Figure:
    """Return the loss or another column per epoch for training and validation, with the selected epoch marked."""
    figure = go.Figure()
    for (part, lines), style in zip(frame.groupby("part", sort=True), STYLES, strict=False):
        if lines[quantity].isna().all():
            continue
        figure.add_trace(_line(lines["epoch"], lines[quantity], str(part), style))
    if selected is not None:
        figure.add_vline(x=selected, line={"color": GREY, "dash": "dot", "width": 2})
        figure.add_annotation(
            x=selected,
            y=1.0,
            yref="paper",
            text=figure_text(f"selected: epoch {selected}"),
            showarrow=False,
            yanchor="bottom",
        )
    return _layout(figure, "epoch", figure_text(title))


def confusion(classes: Sequence[str], counts: Sequence[Sequence[int]], unit: str = "samples") -> go.Figure:
    """Return the confusion matrix: counts as text, or percent of the row if they are long; color is the percentage."""
    shares = [[100 * cell / max(1, sum(row)) for cell in row] for row in counts]
    texts = [[str(cell) for cell in row] for row in counts]
    places, names = list(range(len(classes))), [_tick(name) for name in classes]
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=places,
            y=places,
            text=[[f"{share:.0f}" for share in row] for row in shares] if long_counts(counts) else texts,
            customdata=texts,
            texttemplate="%{text}" if len(classes) <= 20 else None,
            hovertemplate=f"%{{customdata}} {unit}, %{{z:.1f}} % of the true class<extra></extra>",
            colorscale="Cividis",
            zmin=0,
            zmax=100,
            colorbar={"title": {"text": "% of the<br>true class"}},
        )
    )
    _layout(figure, "predicted class", "true class")
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False}
    figure.update_xaxes(**ticks, tickangle=0 if max(map(len, names), default=0) < 4 else -40)
    figure.update_yaxes(**ticks, autorange="reversed")
    return figure.update_layout(height=max(380, min(900, 30 * len(classes) + 160)))


def long_counts(counts: Sequence[Sequence[int]]) -> bool:
    """Return whether the counts of a confusion matrix are too long for its cells."""
    return max((cell for row in counts for cell in row), default=0) >= 10_000


def by_class(frame: pd.DataFrame, title: str) -> go.Figure:
    """Return a metric per class as points with intervals, from class, value, lo, hi, n; the title names the unit."""
    places, names = list(range(len(frame))), [_tick(name) for name in frame["class"]]
    figure = go.Figure(
        go.Scatter(
            x=frame["value"],
            y=places,
            mode="markers",
            marker={"color": BLUE, "size": 9},
            error_x=_whiskers(frame["value"], (frame["lo"], frame["hi"]), BLUE),
            customdata=frame["n"],
            hovertemplate="%{x:.4g}, n = %{customdata}<extra></extra>",
        )
    )
    _layout(figure, figure_text(title), "true class")
    if "%" in title:
        figure.update_xaxes(range=[-2, 102])
    figure.update_yaxes(tickvals=places, ticktext=names, autorange="reversed")
    return figure.update_layout(height=max(380, min(900, 30 * len(frame) + 160)))


def reliability(frame: pd.DataFrame, events: str = "samples") -> go.Figure:
    """Return a reliability diagram: the share of correct events against confidence above, events per bin below."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
    filled = frame[frame["accuracy"].notna()]
    diagonal = go.Scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        name="calibrated",
        line={"color": GREY, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.add_trace(diagonal, row=1, col=1)
    points = _line(filled["confidence"], filled["accuracy"], "this model", STYLES[0])
    if filled["lo"].notna().any():
        points.update(error_y=_whiskers(filled["accuracy"], (filled["lo"], filled["hi"]), BLUE))
    points.update(
        customdata=filled["count"], hovertemplate="confidence %{x:.1f} %, %{y:.1f} % of %{customdata} correct"
    )
    figure.add_trace(points, row=1, col=1)
    bars = go.Bar(
        x=frame["middle"],
        y=frame["count"],
        width=frame["width"],
        name=figure_text(events),
        marker={"color": BLUE, "opacity": 0.6},
    )
    figure.add_trace(bars.update(showlegend=False), row=2, col=1)
    _layout(figure, None, None)
    figure.update_yaxes(title_text=f"correct {figure_text(events)} (%)", range=[-2, 102], row=1, col=1)
    figure.update_yaxes(title_text=figure_text(events), row=2, col=1)
    figure.update_xaxes(title_text="confidence (%)", range=[-2, 102], row=2, col=1)
    return figure.update_layout(height=440)


def robustness(frame: pd.DataFrame, size: str, metric: str, *, unit: str = "fraction") -> go.Figure:
    """Return the headline metric against the size of the attack and of the controls, with intervals as bands.

    Args:
        frame: from `robustness_frame`.
        size: title of the axis of sizes.
        metric: title of the headline metric.
        unit: unit of the headline metric.
    """
    figure = go.Figure()
    styles = iter(CONTROLS)
    names = [name.removesuffix("_lo") for name in frame.columns if name.endswith("_lo")]
    for name in sorted(names, key=lambda name: (name == "value", name != "random")):  # the attack is drawn last
        style = STYLES[0] if name == "value" else next(styles, CONTROL)
        label = "attack" if name == "value" else figure_text(f"{name} control")
        figure.add_trace(_band(frame["size"], frame[f"{name}_lo"], frame[f"{name}_hi"], style[0]))
        figure.add_trace(_line(frame["size"], frame[name], label, style))
    _layout(figure, figure_text(size), figure_text(in_unit(metric, unit)))
    return figure.update_yaxes(range=[-2, 102]) if unit in PERCENT else figure.update_yaxes(rangemode="tozero")


def panels(frame: pd.DataFrame, size: str) -> go.Figure:
    """Return a panel per title of `frame` (size, title, value, lo, hi, control): the attack and the random control."""
    titles = list(dict.fromkeys(frame["title"]))
    spacing, headings = 0.3 / len(titles), [figure_text(title) for title in titles]
    figure = make_subplots(len(titles), 1, shared_xaxes=True, vertical_spacing=spacing, subplot_titles=headings)
    for row, title in enumerate(titles, start=1):
        part = frame[frame["title"] == title].sort_values("size")
        lines = (("random control", "control", CONTROL), ("attack", "value", STYLES[0]))
        for name, column, style in lines:
            line = _line(part["size"], part[column], name, style).update(showlegend=row == 1, legendgroup=name)
            figure.add_trace(line, row=row, col=1)
        figure.data[-1].update(error_y=_whiskers(part["value"], (part["lo"], part["hi"]), BLUE))
    _layout(figure, None, None)
    figure.update_yaxes(rangemode="tozero").update_annotations(font_size=13)
    figure.update_xaxes(title_text=figure_text(size), row=len(titles), col=1)
    return figure.update_layout(height=120 + 150 * len(titles), legend={"y": -0.35 / len(titles)})


VALUES = {
    "image": "pixel values in [0, 1]",
    "embedding": "in standard deviations of the embeddings",
    "latent": "of the latent vector",
    "vector": "of the standardized features",
}
"""Types of input, and what the numbers of an attack's size are."""


def size_title(attack: Mapping[str, Any], input_type: str = "image") -> str:
    """Return the title of an axis of sizes.

    Args:
        attack: the fact ``attack`` of a record: ``quantity``, what a size says; where it is empty, ``size_name`` and
            ``norm``.
        input_type: what the attack changes, a key of `VALUES`.
    """
    ball = f"{attack.get('size_name')}, {attack.get('norm')} norm ({VALUES.get(input_type, input_type)})"
    return f"perturbation size: {attack.get('quantity') or ball}"


def overview(frame: pd.DataFrame, titles: Sequence[str], axis: str) -> go.Figure:
    """Return a point with an interval for every model and metric, from model, metric, bound, value, lo, hi (percent).

    An upper bound is a hollow marker, labeled ``≤ ?``.
    """
    figure = go.Figure()
    for (model, part), (color, _, symbol) in zip(frame.groupby("model", sort=False), STYLES, strict=False):
        symbols = [f"{symbol}-open" if bound else symbol for bound in part["bound"]]
        figure.add_trace(
            go.Scatter(
                x=part["value"],
                y=part["metric"].map(figure_text),
                mode="markers+text",
                name=_tick(model),
                text=["≤ ?" if bound else "" for bound in part["bound"]],
                textposition="middle left",
                marker={"color": color, "symbol": symbols, "size": 10},
                error_x=_whiskers(part["value"], (part["lo"], part["hi"]), color),
                orientation="h",
                offsetgroup=_tick(model),
            )
        )
    _layout(figure, figure_text(axis), None)
    order = [figure_text(title) for title in titles]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], type="category")
    figure.update_layout(height=150 + 55 * len(titles), scattermode="group")
    return figure.update_xaxes(range=[-2, 102]) if "%" in axis else figure.update_xaxes(rangemode="tozero")


RANKINGS = {"random": "random (control)", "recency": "last first (control)"}
"""Rankings of features that ignore the model, and their labels."""


def attribution(frame: pd.DataFrame) -> go.Figure:
    """Return the curves of one kind, one line per method; the share counts features by falling attribution.

    Curves without a baseline are drops of the score, and have a logarithmic scale of shares.
    """
    figure = go.Figure()
    styles, control_styles = iter(STYLES), iter(CONTROLS)
    for method, part in frame.groupby("method", sort=False):
        style = next(control_styles, CONTROL) if method in RANKINGS else next(styles, STYLES[0])
        label = RANKINGS.get(str(method), figure_text(str(method).replace("_", " ")))
        figure.add_trace(_line(part["share"], part["score"], label, style))
    is_drop = frame["baseline"].eq("").all()
    if is_drop:
        shares = sorted(set(frame["share"]))
        figure.update_xaxes(type="log", tickvals=shares, ticktext=[f"{share:g}" for share in shares])
    y = "drop of the score (points)" if is_drop else "score (%)"
    return _layout(figure, "share of the features (%), highest attribution first", y, 430, -0.28)


def _line(x: Any, y: Any, name: str, style: tuple[str, str, str]) -> go.Scatter:
    color, dash, marker = style
    return go.Scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers",
        line={"color": color, "dash": dash, "width": 2},
        marker={"symbol": marker, "size": 7},
    )


def _band(x: pd.Series[Any], lo: pd.Series[Any], hi: pd.Series[Any], color: str) -> go.Scatter:
    """Return the area between two lines, with a gap where one of them is undefined."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    outline: list[tuple[Any, Any]] = []
    gap = (lo.isna() | hi.isna()).reset_index(drop=True)
    for _, run in gap[~gap].groupby(gap.cumsum()[~gap]):
        upper = [(x.iloc[at], hi.iloc[at]) for at in run.index]
        lower = [(x.iloc[at], lo.iloc[at]) for at in run.index[::-1]]
        outline += [*([(None, None)] if outline else []), *upper, *lower]
    return go.Scatter(
        x=[at for at, _ in outline],
        y=[height for _, height in outline],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.2)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def _whiskers(middle: pd.Series[Any], ends: tuple[pd.Series[Any], pd.Series[Any]], color: str) -> Mapping[str, Any]:
    lo, hi = ends
    return {"type": "data", "symmetric": False, "array": hi - middle, "arrayminus": middle - lo, "color": color}


def _tick(name: Any) -> str:
    text = str(name)
    return figure_text(text if len(text) <= 18 else text[:17] + "…")


def _layout(figure: go.Figure, x: str | None, y: str | None, height: float = 380, legend: float = -0.25) -> go.Figure:
    figure.update_xaxes(title_text=x, automargin=True, zeroline=False)
    figure.update_yaxes(title_text=y, automargin=True, zeroline=False)
    figure.update_layout(legend={"orientation": "h", "y": legend, "yanchor": "top", "x": 0})
    return figure.update_layout(height=height, margin={"l": 10, "r": 10, "t": 30, "b": 10})
