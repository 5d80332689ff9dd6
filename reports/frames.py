"""From stored rows and details to tables of a page: pure functions, no Streamlit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from suite.leaderboard import Board, Column
from suite.leaderboard.cells import ARROWS, DASH, beside, bounded, is_upper_bound, marked, percent
from suite.leaderboard.columns import HEADLINES, ROBUST
from suite.leaderboard.text import printable
from suite.metrics.stats import wilson
from suite.reports.measures import PERCENT, described, scale
from suite.reports.text import around, number, span, up_to, with_mark
from suite.reports.verdicts import spoken


def board_frame(board: Board) -> pd.DataFrame:
    """Return a board for display, with headings of two levels: the measure, then value, interval, verdict and ties.

    Readers sort by any column. Only valid numbers stand under *value*, so that sorting by a robust accuracy never puts
    an upper bound above one of them; a suspect number stands under *verdict*, with its marks.
    """
    frame = board.frame
    shown: dict[tuple[str, str], Any] = {
        ("", "rank"): frame["rank"].where(frame["rank"].notna(), DASH),
        ("", "model"): frame["model"].map(printable),
        ("", "worst verdict"): frame["status"].map(spoken),
    }
    for column in board.columns:
        shown.update(_measured(frame, column))
    shown["", "what failed"] = [printable("; ".join(reasons)) or DASH for reasons in frame["reasons"]]
    return pd.DataFrame(shown)


def _measured(frame: pd.DataFrame, column: Column) -> dict[tuple[str, str], Any]:
    scale = 100 if column.unit in PERCENT else 1
    head = f"{printable(column.title)}{' %' if scale == 100 else ''} {ARROWS[column.higher_is_better]}".strip()
    shown: dict[tuple[str, str], Any] = {
        (head, "value"): pd.to_numeric(frame[column.name]).where(frame[f"{column.name}_status"] == "ok") * scale,
        (head, "95 % interval"): [_interval(line, column) for _, line in frame.iterrows()],
    }
    if column.metric in ROBUST or not frame[f"{column.name}_status"].dropna().eq("ok").all():
        shown[head, "verdict"] = [_verdict(line, column) for _, line in frame.iterrows()]
    if held := beside(column.metric):
        shown[head, held] = pd.to_numeric(frame[f"{column.name}_control"]).where(frame[column.name].notna()) * scale
    ties = frame[f"{column.name}_ties"]
    if ties.notna().any():
        shown[head, "ties"] = ties.where(ties.notna(), DASH)
    if f"{column.name}_method" in frame:
        methods = frame[f"{column.name}_method"]
        shown[head, "best method"] = [DASH if pd.isna(name) else printable(name) for name in methods]
    return shown


def _interval(line: pd.Series[Any], column: Column) -> str:
    if not bounded(line, column):
        return DASH
    lo, hi = line[f"{column.name}_lo"], line[f"{column.name}_hi"]
    is_bound = is_upper_bound(column.metric, line[f"{column.name}_status"], column.higher_is_better)
    return up_to(hi, column.unit) if is_bound else span(lo, hi, column.unit)


def _verdict(line: pd.Series[Any], column: Column) -> str:
    """Return what a number is worth, and the number itself where it is suspect: ``≤ 71.2 ? suspect``."""
    status = line[f"{column.name}_status"]
    if status != "suspect":
        return spoken(status)
    value = percent(line[column.name], column.unit)
    return f"{marked(value, column.metric, status, column.higher_is_better)} suspect"


def measure_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return stored rows for display: one line per measure with its evidence."""
    lines = [_measure_line(row) for _, row in rows.iterrows()]
    names = ["measure", "value", "95 % interval", "n", "control", "verdict", "checks", "reason", "interval by"]
    return pd.DataFrame(lines, columns=names)


def _measure_line(row: pd.Series[Any]) -> dict[str, Any]:
    checks = json.loads(row["checks"])
    return {
        "measure": printable(described(row["metric"], json.loads(row["params"]))),
        "value": with_mark(row),
        "95 % interval": around(row),
        "n": row["n"],
        "control": number(row["control"], row["unit"]),
        "verdict": spoken(row["status"]),
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
    """Return a measure of classes with columns class, value, lo, hi (percent) and n, in the order stored."""
    part = rows[(rows["metric"] == metric) & rows["value"].notna()]
    part = part.loc[[json.loads(params).get("class") is not None for params in part["params"]]]
    classes = [str(json.loads(params).get("class")) for params in part["params"]]
    numbers = part[["value", "lo", "hi"]].astype(float).mul(100)
    return numbers.assign(n=part["n"], **{"class": classes}).reset_index(drop=True)


def reliability_frame(diagram: Mapping[str, Any], *, independent: bool = True) -> pd.DataFrame:
    """Return a reliability diagram: confidence, accuracy, lo, hi (percent), count; middle and width of the bins.

    Events that are not independent, as pixels of an image, have no intervals.
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
    bounds = [
        _wilson_percent(share, count) if independent else (None, None)
        for share, count in zip(diagram["accuracy"], diagram["count"], strict=True)
    ]
    return frame.assign(lo=[lo for lo, _ in bounds], hi=[hi for _, hi in bounds])


def glance_frame(board: Board, *, most: int) -> pd.DataFrame:
    """Return the headline measure of the first models, a line each: model, measure, unit, bound, value, lo, hi.

    Shares are in percent. Where `bound` is true the value is an upper bound, and there is no lower end.
    """
    lines = [
        {"model": line["model"], "measure": column.title, "unit": column.unit, **_glanced(line, column)}
        for column in _headlines(board)
        for _, line in board.frame.head(most).iterrows()
        if pd.notna(line[column.name]) and line[f"{column.name}_status"] in ("ok", "suspect")
    ]
    frame = pd.DataFrame(lines, columns=["model", "measure", "unit", "bound", "value", "lo", "hi"])
    return frame.astype({"bound": bool, "value": float, "lo": float, "hi": float})


def _headlines(board: Board) -> list[Column]:
    """Return the columns of the headline measure, clean and under attack: what one axis can show."""
    shown = [column for column in board.columns if column.metric in (*ROBUST, *HEADLINES)]
    attacked = [column.metric.removeprefix("robust_") for column in shown if column.metric in ROBUST]
    order = [*attacked, *(name for name in HEADLINES if name in {column.metric for column in shown})]
    return [column for column in shown if column.metric.removeprefix("robust_") == order[0]]


def _glanced(line: pd.Series[Any], column: Column) -> dict[str, Any]:
    times = scale(column.unit)
    bound = is_upper_bound(column.metric, line[f"{column.name}_status"], column.higher_is_better)
    lo, hi = (times * line[f"{column.name}_{end}"] if bounded(line, column) else None for end in ("lo", "hi"))
    return {"bound": bound, "value": times * line[column.name], "lo": None if bound else lo, "hi": hi}


def robustness_frame(details: Mapping[str, Any], unit: str = "fraction") -> pd.DataFrame:
    """Return an attack's curve: size, then the headline measure under it and every control, with intervals.

    Shares are in percent, other units as they are.
    """
    frame = pd.DataFrame(details.get("curve", []))
    if frame.empty:
        return frame
    numbers: pd.DataFrame = frame.drop(columns="size").apply(pd.to_numeric) * scale(unit)
    return numbers.assign(size=pd.to_numeric(frame["size"])).sort_values("size")


def rationale_frame(details: Mapping[str, Any]) -> pd.DataFrame:
    """Return how far the score falls without, and with only, the first features: method, kind, share, fall (%)."""
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
    """Return what the data report dropped: reason, sample, detail."""
    lines = [
        {"reason": printable(reason), "sample": printable(entry[0]), "detail": printable(entry[1])}
        for reason, entries in data.get("dropped", {}).items()
        for entry in entries
    ]
    return pd.DataFrame(lines, columns=["reason", "sample", "detail"])


def _wilson_percent(share: float | None, count: int) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a bin's share of right answers in percent."""
    if share is None or not count:
        return None, None
    lo, hi = wilson(round(share * count), count)
    return 100 * lo, 100 * hi


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
