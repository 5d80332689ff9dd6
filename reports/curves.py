"""Curves of a page as tables, from the facts and details of a record: pure functions, no Streamlit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from suite.leaderboard.text import printable
from suite.metrics.stats import clopper_pearson
from suite.reports.text import scale, span


def learning_frame(history: Mapping[str, Any]) -> pd.DataFrame:
    """Return a training history with columns epoch, part (train or validation), loss, quality (percent)."""
    lines = [
        {
            "epoch": epoch["epoch"],
            "part": part,
            "loss": epoch.get(f"{part}_loss"),
            "quality": _percent(epoch.get(f"{part}_accuracy")),
        }
        for epoch in history.get("epochs", [])
        for part in ("train", "validation")
    ]
    return pd.DataFrame(lines, columns=["epoch", "part", "loss", "quality"])


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
        clopper_pearson(round(share * count), count) if independent and share is not None else (np.nan, np.nan)
        for share, count in zip(diagram["accuracy"], diagram["count"], strict=True)
    ]
    return frame.assign(lo=[100 * lo for lo, _ in intervals], hi=[100 * hi for _, hi in intervals])


def robustness_frame(details: Mapping[str, Any], unit: str = "fraction") -> pd.DataFrame:
    """Return an attack's curve: size, then the headline metric (`value`) and every control, with intervals.

    Fractions are in percent, other units as they are.
    """
    frame = pd.DataFrame(details.get("curve", []))
    if frame.empty:
        return frame
    numbers: pd.DataFrame = frame.drop(columns="size").apply(pd.to_numeric) * scale(unit)
    return numbers.assign(size=pd.to_numeric(frame["size"])).sort_values("size")


def attribution_frame(details: Mapping[str, Any]) -> pd.DataFrame:
    """Return the curves of attributions: method, kind of curve, baseline, share of the features, score (percent).

    The baseline is empty where features are deleted in one way only; the score is then its drop.
    """
    lines = [
        {"method": method, "kind": kind, "baseline": baseline, "share": 100 * share, "score": _percent(score)}
        for method, curves in (details.get("curves") or details.get("rationale") or {}).items()
        for name, scores in curves.items()
        for kind, _, baseline in [name.partition("/")]
        for share, score in zip(details.get("fractions", []), scores, strict=False)
    ]
    return pd.DataFrame(lines, columns=["method", "kind", "baseline", "share", "score"])


def corruption_frame(details: Mapping[str, Any], unit: str = "fraction") -> pd.DataFrame:
    """Return one line per corruption: its name, and the headline metric at each severity; fractions in percent."""
    lines = [
        {"corruption": printable(name.replace("_", " "))}
        | {f"severity {point['severity']}": _rounded(point["value"], unit) for point in points}
        for name, points in details.get("corruptions", {}).items()
    ]
    return pd.DataFrame(lines)


def occlusion_frame(details: Mapping[str, Any], title: str, unit: str = "fraction") -> pd.DataFrame:
    """Return covered share and headline metric under its title, fractions in percent, with the interval as text."""
    lines = [
        {
            "covered %": round(100 * point["covered"], 1),
            title: _rounded(point["value"], unit),
            "95 % interval": span(point["lo"], point["hi"], unit),
        }
        for point in details.get("occlusion", [])
    ]
    return pd.DataFrame(lines)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _rounded(value: float | None, unit: str) -> float | None:
    """Return a number for a table: fractions in percent with one decimal, others with three digits."""
    if value is None:
        return None
    return round(100 * value, 1) if scale(unit) == 100 else float(f"{value:.3g}")
