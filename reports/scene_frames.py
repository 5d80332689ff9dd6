"""Tables that only tasks with boxes or regions fill: pure functions, no Streamlit."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from suite.leaderboard.cells import DASH
from suite.leaderboard.text import printable
from suite.reports.measures import STATES, described, size_of
from suite.reports.text import around, number, with_mark

PLAUSIBLE = {"pointing_game": "strongest pixel inside", "energy_inside": "weight inside"}
"""What says where a map lies, and not what the model uses."""

COMPANIONS = {
    "disappearance_rate": "objects missed (%)",
    "mislabel_rate": "objects of the wrong class (%)",
    "false_positives_per_image": "boxes where nothing is, per image",
}
"""What an attack does to objects, as titles of panels."""


def wording_frame(rows: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
    """Return the measures that `words` names, in its order: what it says in words, value and interval."""
    lines = []
    for metric, text in words.items():
        found = [row for row in rows[rows["metric"] == metric].to_dict("records") if "class" not in _params(row)]
        for row in found:
            line = {"measure": _named(row, found), "in words": text, "value": with_mark(row)}
            lines.append(line | {"95 % interval": around(row)})
    return pd.DataFrame(lines, columns=["measure", "in words", "value", "95 % interval"])


def _named(row: Mapping[Any, Any], alike: Sequence[Mapping[Any, Any]]) -> str:
    """Return the name of a measure, with what tells it from the rows of the same name, and whether it is a proxy."""
    params = _params(row)
    differing = {name for name in params for other in alike if _params(other).get(name) != params[name]}
    told = {name: value for name, value in params.items() if name in differing or name == "proxy"}
    return printable(described(str(row["metric"]).replace("_", " "), told))


def _params(row: Mapping[Any, Any]) -> dict[str, Any]:
    return dict(json.loads(row["params"]))


def states_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what became of the objects of the clean images, in words."""
    return wording_frame(rows, STATES).drop(columns="measure").rename(columns={"in words": "objects"})


def companion_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what an attack did to objects by size: columns metric, title, size, value, lo, hi, control.

    Shares are in percent, hallucinations per image; size 0 is the clean image.
    """
    lines = []
    for row in rows[rows["metric"].isin(COMPANIONS)].to_dict("records"):
        params, scale = json.loads(row["params"]), 100.0 if row["unit"] == "fraction" else 1.0
        size = size_of(params)
        if size is not None and not pd.isna(row["value"]):
            numbers = {name: _scaled(row[name], scale) for name in ("value", "lo", "hi", "control")}
            lines.append({"metric": row["metric"], "title": COMPANIONS[row["metric"]], "size": size, **numbers})
    frame = pd.DataFrame(lines, columns=["metric", "title", "size", "value", "lo", "hi", "control"])
    order = frame["metric"].map(list(COMPANIONS).index) if len(frame) else frame["metric"]
    return frame.assign(order=order).sort_values(["order", "size"]).drop(columns="order").reset_index(drop=True)


def plausibility_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, by method, how much of a map lies inside what is explained, with interval and that of random maps."""
    lines: dict[str, dict[str, str]] = {}
    for row in rows[rows["metric"].isin(PLAUSIBLE) & rows["value"].notna()].to_dict("records"):
        method = printable(json.loads(row["params"]).get("method", DASH)).replace("_", " ")
        spread = around(row)
        shown = with_mark(row | {"status": "ok"}) + ("" if spread == DASH else f" ({spread})")
        title = PLAUSIBLE[row["metric"]]
        line = lines.setdefault(method, {"method": method})
        line |= {title: shown, f"{title}, random map": number(row["control"], row["unit"])}
    return pd.DataFrame(list(lines.values())).fillna(DASH)


def _scaled(value: Any, scale: float) -> float | None:
    return None if value is None or pd.isna(value) else scale * float(value)
