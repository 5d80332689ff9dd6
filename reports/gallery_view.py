"""The gallery: what an attack, a corruption or an occlusion changes, and which pixels an explanation highlights."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from suite.leaderboard.metrics import ROBUST
from suite.reports import (
    damage_gallery,
    drawing,
    images,
    outputs,
    samples_gallery,
    sources,
    text_gallery,
    texts,
    verdicts,
)
from suite.reports.parts import how_to_read, put, slots
from suite.reports.text import plain

READING = """
Each row is one test sample. The **change** is the perturbation, amplified by the factor below it: mid-gray is no
change, brighter pixels were raised, darker ones lowered. In the **map**, orange pixels support the prediction, blue
striped pixels oppose it, white pixels have no effect. Small images are enlarged; every square is one pixel.
"""

LATENT_READING = """
Each row is one test sample. The attack changes the latent vector that the model decodes; the images are decoded from
the clean and from the attacked vector.
"""

REGION = "The **dashed outline** in a map is what is explained: one detected box, or the region of one class."

LATENTS, IMAGES = 2, 4
"""Dimensions of an array of latent vectors, and of images."""

ATTACKS = "Attacks and explanations"
VIEWS = {
    "Corruptions": ("corruption", damage_gallery.corruption),
    "Occlusion": ("occlusion", damage_gallery.occlusion),
    "Word and latent attributions": ("rationale", text_gallery.explained),
    "Samples": ("clean", samples_gallery.show),
}
"""Further views by title: the axis, and the function that shows its arrays."""


def show(folder: str, task: str, model: str, now: sources.State) -> None:
    """Show the stored samples of a model."""
    rows = sources.selection(folder, task, now).rows
    rows = rows[(rows["model"] == model) & ~rows["cell_status"].isin(["failed", "skipped"])]
    st.header("Gallery")
    st.markdown(f"{plain(model)} on task {plain(task)}")
    records = {axis: _records(folder, rows[rows["axis"] == axis]) for axis in rows["axis"].unique()}
    options = [ATTACKS] if records.get("robustness") or records.get("attribution") else []
    options += [title for title, (axis, _) in VIEWS.items() if records.get(axis)]
    if not options:
        st.info("No samples are stored for this model: neither an attack nor an attribution was measured.")
        return
    view = options[0]
    if len(options) > 1:
        view = str(st.radio("Show", options, horizontal=True, key=f"pictures {task} {model}"))
    classes = _classes(folder, rows)
    if view == ATTACKS:
        _attacks(folder, rows, records, classes)
        return
    axis, section = VIEWS[view]
    setting = str(st.selectbox("Setting", list(records[axis]), key=f"{axis} {task} {model}"))
    section(sources.arrays(folder, records[axis][setting]), classes, f"{task} {model}")


def _attacks(folder: str, rows: pd.DataFrame, records: Mapping[str, dict[str, str]], classes: list[str]) -> None:
    key = f"{rows['task'].iloc[0]} {rows['model'].iloc[0]}"
    attacks, attributions = records.get("robustness", {}), records.get("attribution", {})
    maps = sources.arrays(folder, next(iter(attributions.values()))) if attributions else {}
    left, right = st.columns(2)
    attack = left.selectbox("Attack", list(attacks), key=f"attack {key}") if attacks else None
    methods = [name.removeprefix("map_") for name in maps if name.startswith("map_")]
    method = right.selectbox("Attribution method", methods, key=f"method {key}") if methods else None
    attacked = sources.arrays(folder, attacks[str(attack)]) if attack else {}
    is_text = texts.is_codes(attacked.get("clean"))
    if is_text:
        st.html(texts.change_legend())
    else:
        inputs = np.asarray(attacked.get("clean", maps.get("images", ())))
        st.markdown(LATENT_READING if inputs.ndim == LATENTS else READING)
    how_to_read(attacked or maps, classes)
    if "region" in maps:
        st.markdown(REGION)
    if attack:
        st.markdown(_verdict(rows[rows["record"] == attacks[str(attack)]]))
    for at, sample in enumerate(map(str, (attacked or maps)["ids"])):
        if is_text:
            text_gallery.attacked(attacked, at, classes)
        else:
            _row(sample, attacked, maps, method, classes)


def _verdict(rows: pd.DataFrame) -> str:
    """Return the verdict on an attack's numbers, and what it means for the images."""
    verdict = verdicts.worst(rows.loc[rows["metric"].isin(ROBUST), "status"])
    meaning = {
        "valid": "every check passed.",
        "suspect": "a check failed. Adversarial examples shown here are real, but a sample that withstood this attack "
        "may not withstand a better one.",
        "invalid": "there is no usable number, so the images are only examples.",
    }
    return f"This attack's numbers are **{verdicts.SIGNS[verdict]} {verdict}**: {meaning[verdict]}"


def _records(folder: str, rows: pd.DataFrame) -> dict[str, str]:
    """Return the records that have samples to show, by display name."""
    records: dict[str, str] = {}
    for record, part in rows.sort_values("spec", kind="stable").groupby("record", sort=False):
        stored = sources.arrays(folder, str(record))
        if "ids" in stored or samples_gallery.kinds(stored):
            details, spec = sources.details(folder, str(record)), str(part["spec"].iloc[0])
            unit = f" ({details['norm']})" if details.get("norm") in ("words", "characters") else ""
            name = f"{details.get('attack') or spec}{unit}"
            records[spec if name in records else name] = str(record)
    return records


def _classes(folder: str, rows: pd.DataFrame) -> list[str]:
    clean = rows[rows["axis"] == "clean"]
    details = sources.details(folder, str(clean["record"].iloc[0])) if len(clean) else {}
    return [str(name) for name in details.get("classes", [])]


def _row(sample: str, attacked: dict[str, Any], maps: dict[str, Any], method: str | None, classes: list[str]) -> None:
    """Show one sample: clean, changed and attacked, and its map; scenes are larger, and wrap."""
    st.markdown(f"Sample {plain(sample)}")
    at, place = outputs.index_of(attacked, sample), outputs.index_of(maps, sample)
    output = outputs.output_of(maps, place or 0) if at is None else outputs.output_of(attacked, at, "clean_{}")
    is_scene = outputs.is_scene(output)
    is_long = at is not None and bool(outputs.extra_values(attacked, at, "clean_{}", 3))
    width = drawing.WIDTH if is_scene else images.WIDTH
    row = slots(width) if is_scene or is_long else iter(st.columns(4))
    if at is not None:
        _attacked(row, attacked, at, classes)
    elif place is not None:
        first = next(row)
        if "images" in maps:
            truth = outputs.truth_of(maps, place)
            image = outputs.draw(maps["images"][place], output, truth, classes, width)
            put(first, image, f"clean: {outputs.describe(output, truth, classes)}")
        row = row if is_scene else iter(list(row)[2:])
    if method:
        _map(next(row), maps, place, method, width)


def _map(slot: Any, maps: dict[str, Any], place: int | None, method: str, width: int) -> None:
    values = maps.get(f"map_{method}")
    if place is None or values is None:
        slot.caption("No map was stored for this sample.")
        return
    image = images.heat(values[place], width)
    if "region" in maps:
        image = drawing.outlined(image, maps["region"][place])
    put(slot, image, f"map: {plain(method.replace('_', ' '))}")


def _attacked(row: Iterator[Any], stored: dict[str, Any], at: int, classes: list[str]) -> None:
    """Show a sample clean, its change, and attacked; a scene has its truth and the change last."""
    if not {"clean", "adversarial"} <= set(stored):
        next(row).caption("No image of this sample was stored.")
        return
    truth, clean, adversarial = outputs.truth_of(stored, at), stored["clean"][at], stored["adversarial"][at]
    before, after = (outputs.output_of(stored, at, f"{name}_{{}}") for name in ("clean", "adversarial"))
    width = drawing.WIDTH if outputs.is_scene(before) else images.WIDTH
    attacked = f"attacked: {outputs.describe(after, truth, classes, before)}"
    shown = []
    if np.ndim(stored["clean"]) == IMAGES:
        change, factor = images.amplified(clean, adversarial)
        size = f"; size {float(stored['eps'][at]):.3g}" if "eps" in stored else ""
        shown = [
            (outputs.draw(clean, before, truth, classes, width), outputs.clean_caption(before, truth, classes)),
            (images.enlarged(change, width), f"change, amplified {factor:.3g} times{size}"),
            (outputs.draw(adversarial, after, truth, classes, width), attacked),
        ]
    else:  # latent vectors, perhaps with the images decoded from them
        st.markdown(f"clean: {outputs.describe(before, truth, classes)}; {attacked}")
    shown += [*_decoded(stored, at, "clean", "clean"), *_decoded(stored, at, "adversarial", "attacked")]
    if outputs.is_scene(before):
        shown = [shown[0], shown[2], shown[1]]
    if "mask" in before and truth is not None:
        shown.insert(2, (outputs.draw(clean, {"mask": truth}, None, classes, width), "truth"))
    for image, caption in shown:
        put(next(row), image, caption)


def _decoded(stored: dict[str, Any], at: int, prefix: str, word: str) -> list[tuple[Any, str]]:
    """Return the images that the model decoded from an input, with captions."""
    return [
        (outputs.draw(image, {}, None, [], images.WIDTH), f"{plain(name.replace('_', ' '))}, {word}")
        for name, image in outputs.extra_values(stored, at, f"{prefix}_{{}}", 3).items()
    ]
