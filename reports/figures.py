"""From tables to pictures: pure functions that return plotly figures.

Every series differs in dash and marker as well as in colour; the colours are legible on light and on dark pages and to
colour-blind readers. Names from outside pass through `figure_text`, since plotly reads tags and templates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from suite.reports.measures import PERCENT, in_unit
from suite.reports.text import figure_text

BLUE, ORANGE, GREEN, PURPLE, AMBER, GREY = "#3182c4", "#d95f02", "#1a9e77", "#b3589a", "#b98a00", "#888888"
STYLES = (
    (BLUE, "solid", "circle"),
    (ORANGE, "dash", "square"),
    (GREEN, "dashdot", "diamond"),
    (PURPLE, "longdash", "triangle-up"),
    (AMBER, "longdashdot", "cross"),
)
CONTROL = (GREY, "dot", "x")
"""The random control looks the same in every picture."""

CONTROLS = (CONTROL, (AMBER, "dash", "triangle-down"))
"""Where an attack has several controls: the random one first."""


def learning_curve(
    frame: pd.DataFrame, quantity: str, chosen: int | None, title: str = "accuracy (%)", loss: str = "loss (nats)"
) -> go.Figure:
    """Return loss or another column per epoch for training and validation, with the chosen epoch marked."""
    figure = go.Figure()
    for (part, lines), style in zip(frame.groupby("part", sort=True), STYLES, strict=False):
        if lines[quantity].isna().all():
            continue
        figure.add_trace(_line(lines["epoch"], lines[quantity], str(part), style))
    if chosen is not None:
        figure.add_vline(x=chosen, line={"color": GREY, "dash": "dot", "width": 2})
        figure.add_annotation(
            x=chosen, y=1.0, yref="paper", text=f"chosen: epoch {chosen}", showarrow=False, yanchor="bottom"
        )
    return _dressed(figure, "epoch", figure_text(loss) if quantity == "loss" else title)


def confusion(classes: Sequence[str], counts: Sequence[Sequence[int]], unit: str = "samples") -> go.Figure:
    """Return the confusion matrix: counts as text, in percent of the row where they are long; colour by the share."""
    shares = [[100 * cell / max(1, sum(row)) for cell in row] for row in counts]
    texts = [[str(cell) for cell in row] for row in counts]
    places = list(range(len(classes)))
    names = [_tick(name) for name in classes]
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
    _dressed(figure, "predicted class", "true class")
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False}
    figure.update_xaxes(**ticks, tickangle=0 if max(map(len, names), default=0) < 4 else -40)
    figure.update_yaxes(**ticks, autorange="reversed")
    return figure.update_layout(height=max(380, min(900, 30 * len(classes) + 160)))


def long_counts(counts: Sequence[Sequence[int]]) -> bool:
    """Return whether the counts of a confusion matrix are too long to stand in its cells."""
    return max((cell for row in counts for cell in row), default=0) >= 10_000


def by_class(frame: pd.DataFrame, title: str) -> go.Figure:
    """Return a measure per class as points with intervals, from class, value, lo, hi (percent), n."""
    places = list(range(len(frame)))
    names = [_tick(name) for name in frame["class"]]
    figure = go.Figure(
        go.Scatter(
            x=frame["value"],
            y=places,
            mode="markers",
            marker={"color": BLUE, "size": 9},
            error_x=_whiskers(frame["value"], (frame["lo"], frame["hi"]), BLUE),
            customdata=frame["n"],
            hovertemplate="%{x:.1f} %, n = %{customdata}<extra></extra>",
        )
    )
    _dressed(figure, title, "true class")
    figure.update_xaxes(range=[-2, 102])
    figure.update_yaxes(tickvals=places, ticktext=names, autorange="reversed")
    return figure.update_layout(height=max(380, min(900, 30 * len(frame) + 160)))


def reliability(frame: pd.DataFrame, events: str = "samples", right: str = "right answers") -> go.Figure:
    """Return a reliability diagram: the share that is right against confidence above, events per bin below."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
    filled = frame[frame["accuracy"].notna()]
    even = go.Scatter(
        x=[0, 100], y=[0, 100], mode="lines", name="perfect", line={"color": GREY, "dash": "dot"}, hoverinfo="skip"
    )
    figure.add_trace(even, row=1, col=1)
    points = _line(filled["confidence"], filled["accuracy"], "this model", STYLES[0])
    if filled["lo"].notna().any():
        points.update(error_y=_whiskers(filled["accuracy"], (filled["lo"], filled["hi"]), BLUE))
    points.update(customdata=filled["count"], hovertemplate="confidence %{x:.1f} %, right %{y:.1f} % of %{customdata}")
    figure.add_trace(points, row=1, col=1)
    bars = go.Bar(
        x=frame["middle"],
        y=frame["count"],
        width=frame["width"],
        name=events,
        marker={"color": BLUE, "opacity": 0.6},
    )
    figure.add_trace(bars.update(showlegend=False), row=2, col=1)
    _dressed(figure, None, None)
    figure.update_yaxes(title_text=f"{right} (%)", range=[-2, 102], row=1, col=1)
    figure.update_yaxes(title_text=events, row=2, col=1)
    figure.update_xaxes(title_text="confidence (%)", range=[-2, 102], row=2, col=1)
    return figure.update_layout(height=440)


def robustness(
    frame: pd.DataFrame, norm: str, measure: str = "right answers", *, unit: str = "fraction", of: str = "pixels"
) -> go.Figure:
    """Return the headline measure against the size of the attack, and under harmless changes, with bands.

    Args:
        frame: from `robustness_frame`.
        norm: what sizes are measured by.
        measure: what readers call the headline measure.
        unit: of the headline measure.
        of: what is moved, a key of `MOVED`.
    """
    figure = go.Figure()
    styles = iter(CONTROLS)
    names = [name.removesuffix("_lo") for name in frame.columns if name.endswith("_lo")]
    for name in sorted(names, key=lambda name: (name == "accuracy", name != "random")):  # the attack is drawn last
        style = STYLES[0] if name == "accuracy" else next(styles, CONTROL)
        label = "attack" if name == "accuracy" else figure_text(f"{name} control")
        figure.add_trace(_band(frame["size"], frame[f"{name}_lo"], frame[f"{name}_hi"], style[0]))
        figure.add_trace(_line(frame["size"], frame[name], label, style))
    _dressed(figure, f"size of the change: {_size(norm, of)}", in_unit(measure, unit))
    return figure.update_yaxes(range=[-2, 102]) if unit in PERCENT else figure.update_yaxes(rangemode="tozero")


def secondary_metrics(frame: pd.DataFrame, norm: str) -> go.Figure:
    """Return a panel per title of `frame` (size, title, value, lo, hi, control): the attack beside random change."""
    titles = list(dict.fromkeys(frame["title"]))
    figure = make_subplots(rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.1, subplot_titles=titles)
    for row, title in enumerate(titles, start=1):
        part = frame[frame["title"] == title].sort_values("size")
        lines = (("random control", "control", CONTROL), ("attack", "value", STYLES[0]))
        for name, column, style in lines:
            line = _line(part["size"], part[column], name, style).update(showlegend=row == 1, legendgroup=name)
            figure.add_trace(line, row=row, col=1)
        figure.data[-1].update(error_y=_whiskers(part["value"], (part["lo"], part["hi"]), BLUE))
    _dressed(figure, None, None)
    figure.update_yaxes(rangemode="tozero").update_annotations(font_size=13)
    figure.update_xaxes(title_text=f"size of the change: {_size(norm)}", row=len(titles), col=1)
    return figure.update_layout(height=120 + 150 * len(titles), legend={"y": -0.35 / len(titles)})


MOVED = {
    "pixels": "pixels 0 to 1",
    "embedding": "in standard deviations of the embeddings",
    "latent": "of the numbers behind an image",
}
"""What an attack moves, and what its sizes are measured in."""

COUNTED = {
    "patch": "share of the image that is covered",
    "words": "words that are changed",
    "characters": "characters that are changed",
    "trigger": "words that are put before every text",
}
"""Sizes that are no distances."""


def _size(norm: str, of: str = "pixels") -> str:
    return COUNTED.get(norm, f"eps, {figure_text(norm)} norm ({MOVED.get(of, figure_text(of))})")


def glance(frame: pd.DataFrame, titles: Sequence[str], axis: str = "right answers (%)") -> go.Figure:
    """Return a dot with an interval for every model and measure, from model, measure, bound, value, lo, hi (percent).

    An upper bound is a hollow mark with ``≤ ?`` beside it.
    """
    figure = go.Figure()
    for (model, part), (colour, _, symbol) in zip(frame.groupby("model", sort=False), STYLES, strict=False):
        symbols = [f"{symbol}-open" if bound else symbol for bound in part["bound"]]
        figure.add_trace(
            go.Scatter(
                x=part["value"],
                y=part["measure"].map(figure_text),
                mode="markers+text",
                name=_tick(model),
                text=["≤ ?" if bound else "" for bound in part["bound"]],
                textposition="middle left",
                marker={"color": colour, "symbol": symbols, "size": 10},
                error_x=_whiskers(part["value"], (part["lo"], part["hi"]), colour),
                orientation="h",
                offsetgroup=_tick(model),
            )
        )
    _dressed(figure, axis, None)
    order = [figure_text(title) for title in titles]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], type="category")
    figure.update_layout(height=150 + 55 * len(titles), scattermode="group")
    return figure.update_xaxes(range=[-2, 102]) if "%" in axis else figure.update_xaxes(rangemode="tozero")


def faithfulness(frame: pd.DataFrame, kind: str) -> go.Figure:
    """Return the curves of one kind (deletion, insertion, context_deletion), the random map as control."""
    figure = go.Figure()
    styles = iter(STYLES)
    for method, part in frame[frame["kind"] == kind].groupby("method", sort=False):
        style = CONTROL if method == "random" else next(styles, STYLES[0])
        label = "random map (control)" if method == "random" else figure_text(str(method).replace("_", " "))
        figure.add_trace(_line(part["share"], part["score"], label, style))
    where = "put back" if kind == "insertion" else "deleted"
    whole = "rest of the image" if kind == "context_deletion" else "image"
    _dressed(figure, f"part of the {whole} {where} (%)", "score of the answer (%)")
    return figure.update_layout(height=430, legend={"y": -0.28})


LABELS = {"random": "random order (control)", "recency": "last first (control)"}
"""What readers call the orders that explain nothing."""


def rationale(frame: pd.DataFrame, kind: str, called: str = "words") -> go.Figure:
    """Return how far the score falls by the share of features, a line per method; `called` says what they are."""
    figure = go.Figure()
    styles, controls = iter(STYLES), iter(CONTROLS)
    for method, part in frame[frame["kind"] == kind].groupby("method", sort=False):
        style = next(controls, CONTROL) if method in LABELS else next(styles, STYLES[0])
        label = LABELS.get(str(method), figure_text(str(method).replace("_", " ")))
        figure.add_trace(_line(part["share"], part["fall"], label, style))
    what = "deleted" if kind == "comprehensiveness" else "kept"
    _dressed(figure, f"{called} {what} (%), the strongest first", "fall of the score of the answer (points)")
    shares = sorted(set(frame["share"]))
    figure.update_xaxes(type="log", tickvals=shares, ticktext=[f"{share:g}" for share in shares])
    return figure.update_layout(height=430, legend={"y": -0.28})


def _line(x: Any, y: Any, name: str, style: tuple[str, str, str]) -> go.Scatter:
    colour, dash, marker = style
    return go.Scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"symbol": marker, "size": 7},
    )


def _band(x: pd.Series[Any], lo: pd.Series[Any], hi: pd.Series[Any], colour: str) -> go.Scatter:
    """Return the area between two lines; where one is undefined the band has a gap."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    around: list[tuple[Any, Any]] = []
    gap = (lo.isna() | hi.isna()).reset_index(drop=True)
    for _, run in gap[~gap].groupby(gap.cumsum()[~gap]):
        there = [(x.iloc[at], hi.iloc[at]) for at in run.index]
        back = [(x.iloc[at], lo.iloc[at]) for at in run.index[::-1]]
        around += [*([(None, None)] if around else []), *there, *back]
    return go.Scatter(
        x=[place for place, _ in around],
        y=[height for _, height in around],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.2)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def _whiskers(middle: pd.Series[Any], ends: tuple[pd.Series[Any], pd.Series[Any]], colour: str) -> Mapping[str, Any]:
    lo, hi = ends
    return {"type": "data", "symmetric": False, "array": hi - middle, "arrayminus": middle - lo, "color": colour}


def _tick(name: Any) -> str:
    text = str(name)
    return figure_text(text if len(text) <= 18 else text[:17] + "…")


def _dressed(figure: go.Figure, x: str | None, y: str | None) -> go.Figure:
    figure.update_xaxes(title_text=x, automargin=True, zeroline=False)
    figure.update_yaxes(title_text=y, automargin=True, zeroline=False)
    legend = {"orientation": "h", "y": -0.25, "yanchor": "top", "x": 0}
    return figure.update_layout(height=380, margin={"l": 10, "r": 10, "t": 30, "b": 10}, legend=legend)
