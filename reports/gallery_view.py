"""Pictures: what an attack changed, and where an explanation looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from suite.reports import images, sources, verdicts
from suite.reports.text import number, plain

READING = """
Each line is one test sample. The **change** is what the attack added, amplified as said under it: mid-grey is no
change, brighter pixels were raised, darker ones lowered. In the **map**, orange pixels speak for the answer,
blue striped ones against it, white ones do not matter. Small images are enlarged; every square is one pixel.
"""


def show(folder: str, task: str, model: str, now: sources.State) -> None:
    """Show the stored sample pictures of a model."""
    rows = sources.selection(folder, task, now).rows
    rows = rows[(rows["model"] == model) & ~rows["cell_status"].isin(["failed", "skipped"])]
    st.header("Gallery")
    st.markdown(f"{plain(model)} on task {plain(task)}")
    attacks = _records(folder, rows[rows["axis"] == "robustness"])
    mapped = _records(folder, rows[rows["axis"] == "attribution"])
    maps = sources.arrays(folder, next(iter(mapped.values()))) if mapped else {}
    if not attacks and not maps:
        st.info("No pictures are stored for this model: neither an attack nor an attribution was measured.")
        return
    st.markdown(READING)
    left, right = st.columns(2)
    attack = left.selectbox("Attack", list(attacks), key=f"attack {task} {model}") if attacks else None
    methods = [name.removeprefix("map_") for name in maps if name.startswith("map_")]
    method = right.selectbox("Attribution method", methods, key=f"method {task} {model}") if methods else None
    classes = _classes(folder, rows)
    found = sources.arrays(folder, attacks[str(attack)]) if attack else {}
    if attack:
        st.markdown(_verdict(rows[rows["record"] == attacks[str(attack)]]))
    for sample in [str(sample) for sample in (found if found else maps)["ids"]]:
        _line(sample, found, maps, method, classes)


def _verdict(rows: pd.DataFrame) -> str:
    """Say what the numbers of an attack are worth, and what that means for its pictures."""
    verdict = verdicts.worst(rows.loc[rows["metric"] == "robust_accuracy", "status"])
    meaning = {
        "valid": "every check of it has passed.",
        "suspect": "a check of it failed. A picture that fools the model does so all the same; that others do not fool "
        "it is no sign of safety.",
        "invalid": "there is no number to believe, and so the pictures are no more than examples.",
    }
    return f"This attack's numbers are **{verdicts.SIGNS[verdict]} {verdict}**: {meaning[verdict]}"


def _records(folder: str, rows: pd.DataFrame) -> dict[str, str]:
    """Return the records that have pictures, by what a reader would call them."""
    found: dict[str, str] = {}
    for record, part in rows.sort_values("spec", kind="stable").groupby("record", sort=False):
        if "ids" in sources.arrays(folder, str(record)):
            name = str(sources.details(folder, str(record)).get("attack") or part["spec"].iloc[0])
            found[name if name not in found else str(part["spec"].iloc[0])] = str(record)
    return found


def _classes(folder: str, rows: pd.DataFrame) -> list[str]:
    clean = rows[rows["axis"] == "clean"]
    details = sources.details(folder, str(clean["record"].iloc[0])) if len(clean) else {}
    return [str(name) for name in details.get("classes", [])]


def _line(sample: str, found: dict[str, Any], maps: dict[str, Any], method: str | None, classes: list[str]) -> None:
    st.markdown(f"Sample {plain(sample)}")
    columns = st.columns(4)
    at = _place(found, sample)
    if at is not None:
        _attacked(columns, found, at, classes)
    place = _place(maps, sample)
    if place is not None and at is None:
        _image(columns[0], images.rgb(maps["images"][place]), f"clean: {_said(maps, '', place, classes)}")
    if place is not None and method:
        picture = images.heat(maps[f"map_{method}"][place])
        columns[3].image(images.png(picture), caption=f"map: {plain(method.replace('_', ' '))}")
    elif method:
        columns[3].caption("No map was stored for this sample.")


def _attacked(columns: Sequence[Any], found: dict[str, Any], at: int, classes: list[str]) -> None:
    clean, adversarial = found["clean"][at], found["adversarial"][at]
    change, factor = images.amplified(clean, adversarial)
    truth = plain(_name(found["label"][at], classes))
    _image(columns[0], images.rgb(clean), f"clean, truly {truth}: {_said(found, 'clean_', at, classes)}")
    _image(columns[1], change, f"change, amplified {factor:.3g} times; size {float(found['eps'][at]):.3g}")
    _image(columns[2], images.rgb(adversarial), f"attacked: {_said(found, 'adversarial_', at, classes)}")


def _said(stored: dict[str, Any], prefix: str, at: int, classes: list[str]) -> str:
    answer = _name(stored[f"{prefix}prediction"][at], classes)
    right = "right" if int(stored[f"{prefix}prediction"][at]) == int(stored["label"][at]) else "wrong"
    return f"says {plain(answer)} ({right}), {number(float(stored[f'{prefix}confidence'][at]), 'fraction')} sure"


def _image(column: Any, image: Any, caption: str) -> None:
    column.image(images.png(images.enlarged(image)), caption=caption)


def _name(index: Any, classes: list[str]) -> str:
    return classes[int(index)] if 0 <= int(index) < len(classes) else f"class {int(index)}"


def _place(stored: dict[str, Any], sample: str) -> int | None:
    ids = [str(name) for name in stored.get("ids", [])]
    return ids.index(sample) if sample in ids else None
