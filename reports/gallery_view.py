"""The gallery: what an attack, a corruption or an occlusion changes, and which features an explanation highlights."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from suite.decorators import page
from suite.leaderboard.text import printable
from suite.reports import damage_gallery, drawing, images, outputs, samples_gallery, text_gallery, texts, verdicts
from suite.reports.outputs import Arrays
from suite.reports.pages import PageContext
from suite.reports.parts import choose, how_to_read, put, show_table, slots
from suite.reports.text import capital, entries, plain, prose

READING = """
Each row is one test sample. The **change** is the perturbation, amplified by the factor below it: mid-gray is no
change, brighter pixels were raised, darker ones lowered. In the **map**, orange pixels support the prediction, blue
striped pixels oppose it, white pixels have no effect. Small images are enlarged; every square is one pixel.
"""

OTHER_READING = """
Each row is one test sample. The attack changes its numbers; images are what the model makes of the clean and of the
attacked ones.
"""

REGION = "The **dashed outline** in a map is what is explained: one detected box, or the region of one class."

ATTACKS = "Attacks and explanations"
VIEWS = {
    "corruption": ("Corruptions", damage_gallery.corruption),
    "occlusion": ("Occlusion", damage_gallery.occlusion),
    "rationale": ("Feature attributions", text_gallery.explained),
    "clean": ("Samples", samples_gallery.show),
}
"""Further views by axis: the title, and the function that shows its arrays."""


@page(title="Gallery", rank=2)
def gallery(context: PageContext) -> None:
    """Show the stored samples of a model."""
    rows = context.model_rows
    rows = rows[~rows["cell_status"].isin(["failed", "skipped"])]
    st.header("Gallery")
    st.markdown(f"{plain(context.model)} on task {plain(context.task)}")
    records = {axis: _records(context, rows[rows["axis"] == axis]) for axis in rows["axis"].unique()}
    records = {axis: names for axis, names in records.items() if names}
    options = {ATTACKS: ""} if records.keys() & {"robustness", "attribution"} else {}
    options |= {title: axis for axis, (title, _) in VIEWS.items() if axis in records}
    others = records.keys() - {"robustness", "attribution", *VIEWS}
    options |= {capital(prose(axis)): axis for axis in sorted(others)}
    if not options:
        st.info("No samples are stored for this model: neither an attack nor an attribution was measured.")
        return
    key = f"{context.task} {context.model}"
    view = next(iter(options))
    if len(options) > 1:
        view = str(st.radio("Show", list(options), horizontal=True, key=f"pictures {key}"))
    axis = options[view]
    if not axis:
        _attacks(context, rows, records.get("robustness", {}), records.get("attribution", {}))
        return
    if axis in others:
        _attacks(context, rows, records[axis], {})
        return
    setting = choose(st, "Setting", list(records[axis]), f"{axis} {key}")
    record = context.record(records[axis][setting])
    VIEWS[axis][1](record.arrays, class_names(record.facts), key)


def class_names(facts: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes in the facts of a record."""
    return [str(name) for name in facts.get("classes", ())]


def _attacks(context: PageContext, rows: pd.DataFrame, attacks: dict[str, str], attributions: dict[str, str]) -> None:
    key = f"{context.task} {context.model}"
    explained = context.record(next(iter(attributions.values()))) if attributions else None
    maps = explained.arrays if explained else {}
    left, right = st.columns(2)
    attack = choose(left, "Attack", list(attacks), f"attack {key}") if attacks else None
    methods = {method_of(name, shown.params): name for name, shown in outputs.of_role(maps, "attribution").items()}
    method = choose(right, "Attribution method", list(methods), f"method {key}") if methods else None
    chosen = context.record(attacks[str(attack)]) if attack else explained
    attacked = chosen.arrays if attack and chosen else {}
    classes = class_names(chosen.facts) if chosen else []
    is_text = outputs.has_type(attacked, "input", "text")
    if is_text:
        st.html(texts.change_legend())
    else:
        st.markdown(READING if outputs.has_type(attacked or maps, "input", "image") else OTHER_READING)
    how_to_read(attacked or maps, classes)
    if outputs.of_role(maps, "region"):
        st.markdown(REGION)
    if attack:
        st.markdown(_verdict(rows[rows["record"] == attacks[str(attack)]]))
    for at, sample in enumerate(outputs.sample_ids(attacked or maps)):
        if is_text:
            text_gallery.attacked(attacked, at, classes)
        else:
            _row(sample, attacked, maps, methods.get(str(method)), classes)


def method_of(name: str, params: Mapping[str, Any]) -> str:
    """Return the method of an array of attributions: its param, else the name without its first word."""
    return str(params.get("method") or name.partition("_")[2])


def _verdict(rows: pd.DataFrame) -> str:
    """Return the verdict on an attack's numbers, and what it means for the images."""
    verdict = verdicts.worst(rows.loc[entries(rows).map(lambda metric: metric.is_headline), "status"])
    meaning = {
        "valid": "every check passed.",
        "suspect": "a check failed. Adversarial examples shown here are real, but a sample that withstood this attack "
        "may not withstand a better one.",
        "invalid": "there is no usable number, so the images are only examples.",
    }
    return f"This attack's numbers are **{verdicts.SIGNS[verdict]} {verdict}**: {meaning[verdict]}"


def _records(context: PageContext, rows: pd.DataFrame) -> dict[str, str]:
    """Return the records that have samples to show, by display name."""
    records: dict[str, str] = {}
    for name, part in rows.sort_values("spec", kind="stable").groupby("record", sort=False):
        record, spec = context.record(str(name)), str(part["spec"].iloc[0])
        if outputs.sample_ids(record.arrays) or samples_gallery.kinds(record.arrays):
            attack = record.facts.get("attack", {})
            unit = str(attack.get("unit") or "")
            counted = f" ({unit}s)" if unit.isalpha() else ""
            label = f"{attack.get('name') or spec}{counted}"
            records[spec if label in records else label] = str(name)
    return records


def _row(sample: str, attacked: Arrays, maps: Arrays, method: str | None, classes: Sequence[str]) -> None:
    """Show one sample: clean, changed and attacked, and its map; scenes are larger, and wrap."""
    st.markdown(f"Sample {plain(sample)}")
    at, place = outputs.index_of(attacked, sample), outputs.index_of(maps, sample)
    output = outputs.output_of(maps, place or 0) if at is None else outputs.output_of(attacked, at)
    is_scene = outputs.is_scene(output)
    is_long = at is not None and bool(outputs.pictures(output))
    width = drawing.WIDTH if is_scene else images.WIDTH
    row = slots(width) if is_scene or is_long else iter(st.columns(4))
    if at is not None:
        _attacked(row, attacked, at, classes)
    elif place is not None:
        first, image = next(row), outputs.part(maps, "input", place)
        if image is not None and image.type == "image":
            truth = outputs.part(maps, "truth", place)
            drawn = outputs.draw(image.values, output, truth, classes, width)
            put(first, drawn, f"clean: {outputs.describe(output, truth, classes)}")
        row = row if is_scene else iter(list(row)[2:])
    if method:
        _map(next(row), maps, place, method, width)


def _map(slot: Any, maps: Arrays, place: int | None, name: str, width: int) -> None:
    if place is None or place >= len(maps[name].values) or maps[name].type != "map":
        slot.caption("No map was stored for this sample.")
        return
    image, region = images.heat(maps[name].values[place], width), outputs.part(maps, "region", place)
    if region is not None:
        image = drawing.outlined(image, region.values)
    put(slot, image, f"map: {plain(method_of(name, maps[name].params).replace('_', ' '))}")


def _attacked(row: Iterator[Any], stored: Arrays, at: int, classes: Sequence[str]) -> None:
    """Show a sample clean, its change, and attacked; a scene has its truth and the change last."""
    clean, changed = (outputs.part(stored, role, at) for role in ("input", "changed"))
    if clean is None or changed is None:
        next(row).caption("No input of this sample was stored.")
        return
    truth = outputs.part(stored, "truth", at)
    before, after = (outputs.output_of(stored, at, role) for role in outputs.INPUT_OF)
    width = drawing.WIDTH if outputs.is_scene(before) else images.WIDTH
    attacked = f"attacked: {outputs.describe(after, truth, classes, before)}"
    shown = []
    if clean.type == "image":
        change, factor = images.amplified(images.in_unit(clean.values), images.in_unit(changed.values))
        size = outputs.part(stored, "size", at)
        at_size = "" if size is None else f"; size {float(size.values):.3g}"
        shown = [
            (outputs.draw(clean.values, before, truth, classes, width), outputs.clean_caption(before, truth, classes)),
            (images.enlarged(change, width), f"change, amplified {factor:.3g} times{at_size}"),
            (outputs.draw(changed.values, after, truth, classes, width), attacked),
        ]
    else:
        st.markdown(f"{outputs.clean_caption(before, truth, classes)}; {attacked}")
        if clean.type == "vector":
            show_table(_features(stored, at))
    shown += [*_decoded(before, "clean"), *_decoded(after, "attacked")]
    if outputs.is_scene(before) and clean.type == "image":
        shown = [shown[0], shown[2], shown[1]]
    if outputs.of_type(before, "mask") is not None and truth is not None:
        shown.insert(2, (outputs.draw(clean.values, {"truth": truth}, None, classes, width), "truth"))
    for image, caption in shown:
        put(next(row), image, caption)


def _features(stored: Arrays, at: int) -> pd.DataFrame:
    """Return the features of a vector before and after an attack, with their names where they are stored."""
    before, after = (np.ravel(outputs.of_role(stored, role).popitem()[1].values[at]) for role in ("input", "changed"))
    names = outputs.part(stored, "features", at)
    labels = (
        [f"feature {place}" for place in range(len(before))] if names is None else list(map(printable, names.values))
    )
    return pd.DataFrame({"feature": labels, "clean": before, "attacked": after, "change": after - before})


def _decoded(output: Arrays, word: str) -> list[tuple[Any, str]]:
    """Return the images that the model decoded from an input, with captions."""
    return [
        (outputs.draw(image, {}, None, [], images.WIDTH), f"{plain(name)}, {word}")
        for name, image in outputs.pictures(output).items()
    ]
