"""Tables of a page, from stored rows and details: pure functions, no Streamlit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from suite.leaderboard import Board, Column
from suite.leaderboard.cells import (
    ARROWS,
    DASH,
    control_name,
    format_number,
    has_interval,
    is_upper_bound,
    mark_verdict,
)
from suite.leaderboard.metrics import HEADLINES, ROBUST
from suite.leaderboard.text import printable
from suite.metrics.stats import wilson
from suite.reports.metrics import STATES, described, scale, size_of
from suite.reports.text import around, number, span, up_to, with_mark
from suite.reports.verdicts import label

PLAUSIBLE = {"pointing_game": "maximum inside", "energy_inside": "weight inside"}
"""Metrics of where a map lies, which do not tell what the model uses."""

OBJECTS = {
    "disappearance_rate": "objects missed (%)",
    "mislabel_rate": "objects with the wrong class (%)",
    "false_positives_per_image": "false positives per image",
}
"""What an attack does to objects: metrics, and the titles of their panels."""


def board_frame(board: Board) -> pd.DataFrame:
    """Return a board for display, with headings of two levels: the metric, then value, interval, verdict and ties.

    Readers can sort by any column. Only valid numbers are under *value*, so sorting by a robust accuracy never puts an
    upper bound above one of them; a suspect number is under *verdict*, with its marks.
    """
    frame = board.frame
    shown: dict[tuple[str, str], Any] = {
        ("", "rank"): frame["rank"].where(frame["rank"].notna(), DASH),
        ("", "model"): frame["model"].map(printable),
        ("", "worst verdict"): frame["status"].map(label),
    }
    for column in board.columns:
        shown.update(_fields(frame, column))
    shown["", "failures"] = [printable("; ".join(reasons)) or DASH for reasons in frame["reasons"]]
    return pd.DataFrame(shown)


def _fields(frame: pd.DataFrame, column: Column) -> dict[tuple[str, str], Any]:
    factor = scale(column.unit)
    head = f"{printable(column.title)}{' %' if factor == 100 else ''} {ARROWS[column.higher_is_better]}".strip()
    shown: dict[tuple[str, str], Any] = {
        (head, "value"): pd.to_numeric(frame[column.name]).where(frame[f"{column.name}_status"] == "ok") * factor,
        (head, "95 % interval"): [_interval(line, column) for _, line in frame.iterrows()],
    }
    if column.metric in ROBUST or not frame[f"{column.name}_status"].dropna().eq("ok").all():
        shown[head, "verdict"] = [_verdict(line, column) for _, line in frame.iterrows()]
    if control := control_name(column.metric):
        shown[head, control] = pd.to_numeric(frame[f"{column.name}_control"]).where(frame[column.name].notna()) * factor
    ties = frame[f"{column.name}_ties"]
    if ties.notna().any():
        shown[head, "ties"] = ties.where(ties.notna(), DASH)
    if f"{column.name}_method" in frame:
        methods = frame[f"{column.name}_method"]
        shown[head, "best method"] = [DASH if pd.isna(name) else printable(name) for name in methods]
    return shown


def _interval(line: pd.Series[Any], column: Column) -> str:
    if not has_interval(line, column):
        return DASH
    lo, hi = line[f"{column.name}_lo"], line[f"{column.name}_hi"]
    is_bound = is_upper_bound(column.metric, line[f"{column.name}_status"], column.higher_is_better)
    return up_to(hi, column.unit) if is_bound else span(lo, hi, column.unit)


def _verdict(line: pd.Series[Any], column: Column) -> str:
    """Return the verdict on a number, and the number itself where it is suspect: ``≤ 71.2 ? suspect``."""
    status = line[f"{column.name}_status"]
    if status != "suspect":
        return label(status)
    value = format_number(line[column.name], column.unit)
    return f"{mark_verdict(value, column.metric, status, column.higher_is_better)} suspect"


def metric_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return stored rows for display: one line per metric with its checks and reasons."""
    lines = [_metric_line(row) for _, row in rows.iterrows()]
    names = ["metric", "value", "95 % interval", "n", "control", "verdict", "checks", "reason", "interval by"]
    return pd.DataFrame(lines, columns=names)


def _metric_line(row: pd.Series[Any]) -> dict[str, Any]:
    checks = json.loads(row["checks"])
    return {
        "metric": printable(described(row["metric"], json.loads(row["params"]))),
        "value": with_mark(row),
        "95 % interval": around(row),
        "n": row["n"],
        "control": number(row["control"], row["unit"]),
        "verdict": label(row["status"]),
        "checks": printable("; ".join(f"{name}: {result}" for name, result in checks.items())) or DASH,
        "reason": DASH if not isinstance(row["reason"], str) else printable(row["reason"]),
        "interval by": row["method"] if pd.notna(row["lo"]) else DASH,
    }


def learning_frame(history: Mapping[str, Any]) -> pd.DataFrame:
    """Return a training history with columns epoch, part (train or validation), loss, accuracy (percent)."""
    lines = [
        {
            "epoch": epoch["epoch"],
            "part": part,
            "loss": epoch.get(f"{part}_loss"),
            "accuracy": _percent(epoch.get(f"{part}_accuracy")),
        }
        for epoch in history.get("epochs", [])
        for part in ("train", "validation")
    ]
    return pd.DataFrame(lines, columns=["epoch", "part", "loss", "accuracy"])


def class_frame(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric per class with columns class, value, lo, hi (percent) and n, in the stored order."""
    part = rows[(rows["metric"] == metric) & rows["value"].notna()]
    classes = part["params"].map(lambda params: json.loads(params).get("class"))
    part, classes = part[classes.notna()], classes[classes.notna()].astype(str)
    numbers = part[["value", "lo", "hi"]].astype(float).mul(100)
    return numbers.assign(n=part["n"], **{"class": classes}).reset_index(drop=True)


def reliability_frame(diagram: Mapping[str, Any], *, independent: bool = True) -> pd.DataFrame:
    """Return a reliability diagram: confidence, accuracy, lo, hi (percent), count; middle and width of the bins.

    Events that are not independent, such as the pixels of an image, have no intervals.
    """
    edges = pd.Series(diagram["edges"], dtype=float) * 100
    frame = pd.DataFrame(
        {
            "middle": (edges[1:].to_numpy() + edges[:-1].to_numpy()) / 2,
            "width": edges.diff()[1:].to_numpy(),
            "count": diagram["count"],
            "confidence": pd.to_numeric(pd.Series(diagram["confidence"], dtype=object)) * 100,
            "accuracy": pd.to_numeric(pd.Series(diagram["accuracy"], dtype=object)) * 100,
        }
    )
    intervals = [
        wilson(round(share * count), count) if independent and share is not None and count else (np.nan, np.nan)
        for share, count in zip(diagram["accuracy"], diagram["count"], strict=True)
    ]
    return frame.assign(lo=[100 * lo for lo, _ in intervals], hi=[100 * hi for _, hi in intervals])


def overview_frame(board: Board, *, most: int) -> pd.DataFrame:
    """Return the headline metric of the first models, a line each: model, metric, unit, bound, value, lo, hi.

    Fractions are in percent. Where `bound` is true, the value is an upper bound without a lower end.
    """
    lines = [
        {"model": line["model"], "metric": column.title, "unit": column.unit, **_point(line, column)}
        for column in _headlines(board)
        for _, line in board.frame.head(most).iterrows()
        if pd.notna(line[column.name]) and line[f"{column.name}_status"] in ("ok", "suspect")
    ]
    frame = pd.DataFrame(lines, columns=["model", "metric", "unit", "bound", "value", "lo", "hi"])
    return frame.astype({"bound": bool, "value": float, "lo": float, "hi": float})


def _headlines(board: Board) -> list[Column]:
    """Return the columns of the headline metric, clean and under attack."""
    shown = [column for column in board.columns if column.metric in (*ROBUST, *HEADLINES)]
    attacked = [column.metric.removeprefix("robust_") for column in shown if column.metric in ROBUST]
    order = [*attacked, *(name for name in HEADLINES if name in {column.metric for column in shown})]
    return [column for column in shown if column.metric.removeprefix("robust_") == order[0]]


def _point(line: pd.Series[Any], column: Column) -> dict[str, Any]:
    factor = scale(column.unit)
    bound = is_upper_bound(column.metric, line[f"{column.name}_status"], column.higher_is_better)
    lo, hi = (factor * line[f"{column.name}_{end}"] if has_interval(line, column) else None for end in ("lo", "hi"))
    return {"bound": bound, "value": factor * line[column.name], "lo": None if bound else lo, "hi": hi}


def robustness_frame(details: Mapping[str, Any], unit: str = "fraction") -> pd.DataFrame:
    """Return an attack's curve: size, then the headline metric under attack and every control, with intervals.

    Fractions are in percent, other units as they are.
    """
    frame = pd.DataFrame(details.get("curve", []))
    if frame.empty:
        return frame
    numbers: pd.DataFrame = frame.drop(columns="size").apply(pd.to_numeric) * scale(unit)
    return numbers.assign(size=pd.to_numeric(frame["size"])).sort_values("size")


def rationale_frame(details: Mapping[str, Any]) -> pd.DataFrame:
    """Return the drop of the score without, and with only, the top features: method, kind, share, fall (percent)."""
    lines = [
        {"method": method, "kind": kind, "share": 100 * share, "fall": _percent(fall)}
        for method, kinds in (details.get("rationale") or {}).items()
        for kind, falls in kinds.items()
        for share, fall in zip(details.get("fractions", []), falls, strict=False)
    ]
    return pd.DataFrame(lines, columns=["method", "kind", "share", "fall"])


def faithfulness_frame(details: Mapping[str, Any]) -> pd.DataFrame:
    """Return the curves of deletion, insertion and context deletion: method, kind, baseline, share, score (percent)."""
    shares = details.get("fractions", [])
    lines = [
        {"method": method, "kind": kind, "baseline": baseline, "share": 100 * share, "score": _percent(score)}
        for method, curves in details.get("curves", {}).items()
        for name, scores in curves.items()
        for kind, _, baseline in [name.partition("/")]
        for share, score in zip(shares, scores, strict=False)
    ]
    return pd.DataFrame(lines, columns=["method", "kind", "baseline", "share", "score"])


def dropped_frame(data: Mapping[str, Any]) -> pd.DataFrame:
    """Return the samples that the task dropped: reason, sample, detail."""
    lines = [
        {"reason": printable(reason), "sample": printable(entry[0]), "detail": printable(entry[1])}
        for reason, entries in data.get("dropped", {}).items()
        for entry in entries
    ]
    return pd.DataFrame(lines, columns=["reason", "sample", "detail"])


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def meaning_frame(rows: pd.DataFrame, meanings: Mapping[str, str]) -> pd.DataFrame:
    """Return the metrics that `meanings` names, in its order: name, meaning, value and interval."""
    lines = []
    for metric, text in meanings.items():
        of_metric = rows[rows["metric"] == metric].to_dict("records")
        alike = [(row, params) for row in of_metric if "class" not in (params := json.loads(row["params"]))]
        for row, params in alike:
            line = {"metric": _distinct_name(metric, params, [other for _, other in alike]), "meaning": text}
            lines.append(line | {"value": with_mark(row), "95 % interval": around(row)})
    return pd.DataFrame(lines, columns=["metric", "meaning", "value", "95 % interval"])


def _distinct_name(metric: str, params: Mapping[str, Any], alike: Sequence[Mapping[str, Any]]) -> str:
    """Return a metric with the params that distinguish it from rows of the same name, and whether it is a proxy."""
    shown = {
        name: value
        for name, value in params.items()
        if name == "proxy" or any(other.get(name) != value for other in alike)
    }
    return printable(described(metric.replace("_", " "), shown))


def states_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the states of the objects in clean images, in words."""
    return meaning_frame(rows, STATES).drop(columns="metric").rename(columns={"meaning": "objects"})


def objects_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what an attack did to objects by size: columns metric, title, size, value, lo, hi, control.

    Shares are in percent, false positives per image; size 0 is the clean image.
    """
    part = rows[rows["metric"].isin(OBJECTS) & rows["value"].notna()]
    numbers = part[["value", "lo", "hi", "control"]].astype(float).mul(part["unit"].map(scale).astype(float), axis=0)
    numbers.insert(0, "metric", pd.Categorical(part["metric"], list(OBJECTS)))
    numbers.insert(1, "title", part["metric"].map(OBJECTS))
    numbers.insert(2, "size", [size_of(json.loads(params)) for params in part["params"]])
    return numbers.dropna(subset="size").sort_values(["metric", "size"], ignore_index=True)


def plausibility_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, by method, how much of a map lies inside the explained object, with interval, and the random control."""
    lines: dict[str, dict[str, str]] = {}
    for row in rows[rows["metric"].isin(PLAUSIBLE) & rows["value"].notna()].to_dict("records"):
        method = printable(json.loads(row["params"]).get("method", DASH)).replace("_", " ")
        spread, title = around(row), PLAUSIBLE[row["metric"]]
        value = number(row["value"], row["unit"]) + ("" if spread == DASH else f" ({spread})")
        line = lines.setdefault(method, {"method": method})
        line |= {title: value, f"{title}, random map": number(row["control"], row["unit"])}
    return pd.DataFrame(list(lines.values())).fillna(DASH)
