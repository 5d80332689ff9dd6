"""Pictures: what an attack changed, what corruptions and occlusion do, and where an explanation looks."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from suite.leaderboard.columns import ROBUST
from suite.reports import (
    answers,
    damage_gallery,
    drawing,
    images,
    rationale_gallery,
    samples_gallery,
    sources,
    text_gallery,
    texts,
    verdicts,
)
from suite.reports.text import plain

READING = """
Each line is one test sample. The **change** is what the attack added, amplified as said under it: mid-grey is no
change, brighter pixels were raised, darker ones lowered. In the **map**, orange pixels speak for the answer,
blue striped ones against it, white ones do not matter. Small images are enlarged; every square is one pixel.
"""

MADE = """
Each line is one test sample. The attack moves the numbers that the model makes an image from; the pictures are what it
makes of them as they are, and as the attack left them.
"""

REGION = "The **dashed outline** in a map is what is explained: the box of one detection, or the region of one class."

LATENTS, IMAGES = 2, 4
"""Dimensions of an array of latents, and of images."""

ATTACKS = "Attacks and explanations"
VIEWS = {
    "Corruptions": ("corruption", damage_gallery.corruption),
    "Occlusion": ("occlusion", damage_gallery.occlusion),
    "Words and numbers": ("rationale", rationale_gallery.show),
    "Samples": ("clean", samples_gallery.show),
}
"""Further views by title: the axis, and what shows its arrays."""


def show(folder: str, task: str, model: str, now: sources.State) -> None:
    """Show the stored sample pictures of a model."""
    rows = sources.selection(folder, task, now).rows
    rows = rows[(rows["model"] == model) & ~rows["cell_status"].isin(["failed", "skipped"])]
    st.header("Gallery")
    st.markdown(f"{plain(model)} on task {plain(task)}")
    stored = {axis: _records(folder, rows[rows["axis"] == axis]) for axis in rows["axis"].unique()}
    options = [ATTACKS] if stored.get("robustness") or stored.get("attribution") else []
    options += [title for title, (axis, _) in VIEWS.items() if stored.get(axis)]
    if not options:
        st.info("No pictures are stored for this model: neither an attack nor an attribution was measured.")
        return
    view = options[0]
    if len(options) > 1:
        view = str(st.radio("Pictures of", options, horizontal=True, key=f"pictures {task} {model}"))
    classes = _classes(folder, rows)
    if view == ATTACKS:
        _attacks(folder, rows, stored, classes, f"{task} {model}")
        return
    axis, section = VIEWS[view]
    records = stored[axis]
    setting = str(st.selectbox("Setting", list(records), key=f"{axis} {task} {model}"))
    section(sources.arrays(folder, records[setting]), classes, f"{task} {model}")


def _attacks(
    folder: str, rows: pd.DataFrame, stored: Mapping[str, dict[str, str]], classes: list[str], key: str
) -> None:
    attacks, mapped = stored.get("robustness", {}), stored.get("attribution", {})
    maps = sources.arrays(folder, next(iter(mapped.values()))) if mapped else {}
    left, right = st.columns(2)
    attack = left.selectbox("Attack", list(attacks), key=f"attack {key}") if attacks else None
    methods = [name.removeprefix("map_") for name in maps if name.startswith("map_")]
    method = right.selectbox("Attribution method", methods, key=f"method {key}") if methods else None
    found = sources.arrays(folder, attacks[str(attack)]) if attack else {}
    is_text = texts.is_codes(found.get("clean"))
    if is_text:
        st.html(texts.change_legend())
    else:
        seen = np.asarray(found.get("clean", maps.get("images", ())))
        st.markdown(MADE if seen.ndim == LATENTS else READING)
    for text in (answers.reading(found or maps), REGION if "region" in maps else ""):
        if text:
            st.markdown(text)
    damage_gallery.legend(found or maps, classes)
    if attack:
        st.markdown(_verdict(rows[rows["record"] == attacks[str(attack)]]))
    for sample in [str(sample) for sample in (found if found else maps)["ids"]]:
        if is_text:
            text_gallery.attacked(found, [str(name) for name in found["ids"]].index(sample), classes)
            continue
        _line(sample, found, maps, method, classes)


def _verdict(rows: pd.DataFrame) -> str:
    """Say what the numbers of an attack are worth, and what that means for its pictures."""
    verdict = verdicts.worst(rows.loc[rows["metric"].isin(ROBUST), "status"])
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
        stored = sources.arrays(folder, str(record))
        if "ids" in stored or samples_gallery.known(stored):
            details = sources.details(folder, str(record))
            counted = f" ({details['norm']})" if details.get("norm") in ("words", "characters") else ""
            name = f"{details.get('attack') or part['spec'].iloc[0]}{counted}"
            found[name if name not in found else str(part["spec"].iloc[0])] = str(record)
    return found


def _classes(folder: str, rows: pd.DataFrame) -> list[str]:
    clean = rows[rows["axis"] == "clean"]
    details = sources.details(folder, str(clean["record"].iloc[0])) if len(clean) else {}
    return [str(name) for name in details.get("classes", [])]


def _line(sample: str, found: dict[str, Any], maps: dict[str, Any], method: str | None, classes: list[str]) -> None:
    """Show one sample: clean, changed and attacked, and its map; scenes are large, and wrap where they must."""
    st.markdown(f"Sample {plain(sample)}")
    at, place = _place(found, sample), _place(maps, sample)
    said = answers.told(found, at, "clean_{}") if at is not None else answers.told(maps, place or 0)
    scene = answers.is_scene(said)
    several = at is not None and bool(answers.asides(found, at, "clean_{}", 3))
    spots = damage_gallery.places(_width(scene)) if scene or several else iter(st.columns(4))
    if at is not None:
        _attacked(spots, found, at, classes)
    elif place is not None:
        truth = maps["label"][place] if "label" in maps else None
        first = next(spots)
        if "images" in maps:
            picture = answers.picture(maps["images"][place], said, truth, classes, _width(scene))
            damage_gallery.put(first, picture, f"clean: {answers.words(said, truth, classes)}")
        spots = spots if scene else iter(list(spots)[2:])
    if method:
        _map(next(spots), maps, place, method, _width(scene))


def _width(scene: bool) -> int:
    return drawing.WIDTH if scene else images.WIDTH


def _map(spot: Any, maps: dict[str, Any], place: int | None, method: str, width: int) -> None:
    values = maps.get(f"map_{method}")
    if place is None or values is None:
        spot.caption("No map was stored for this sample.")
        return
    picture = images.heat(values[place], width)
    if "region" in maps:
        picture = drawing.outlined(picture, maps["region"][place])
    damage_gallery.put(spot, picture, f"map: {plain(method.replace('_', ' '))}")


def _attacked(spots: Iterator[Any], found: dict[str, Any], at: int, classes: list[str]) -> None:
    if not {"clean", "adversarial"} <= set(found):
        next(spots).caption("No picture of this sample was stored.")
        return
    truth = found["label"][at] if "label" in found else None
    before, after = (answers.told(found, at, f"{name}_{{}}") for name in ("clean", "adversarial"))
    scene = answers.is_scene(before)
    if np.ndim(found["clean"]) == IMAGES:
        pictures = _both(found, at, classes, _width(scene))
    else:  # what was moved is no image, but may have been made into one
        pictures = []
        st.markdown(f"Clean {answers.words(before, truth, classes)}; attacked {answers.words(after, truth, classes)}")
    pictures += [*_made(found, at, "clean"), *_made(found, at, "adversarial")]
    if scene:
        pictures = [pictures[0], pictures[2], pictures[1]]
    if "mask" in before and truth is not None:
        shown = answers.picture(found["clean"][at], {"mask": truth}, None, classes, _width(scene))
        pictures.insert(2, (shown, "truth"))
    for picture, caption in pictures:
        damage_gallery.put(next(spots), picture, caption)


def _both(found: dict[str, Any], at: int, classes: list[str], width: int) -> list[tuple[Any, str]]:
    """Return an image clean, what was changed about it, and attacked, with captions."""
    clean, adversarial = found["clean"][at], found["adversarial"][at]
    truth = found["label"][at] if "label" in found else None
    before, after = (answers.told(found, at, f"{name}_{{}}") for name in ("clean", "adversarial"))
    known = answers.truth_words(before, truth, classes) if truth is not None else ""
    shown = answers.picture(clean, before, truth, classes, width)
    changed = answers.picture(adversarial, after, truth, classes, width)
    delta, factor = images.amplified(clean, adversarial)
    size = f"; size {float(found['eps'][at]):.3g}" if "eps" in found else ""
    return [
        (shown, f"clean{', ' if known else ''}{known}: {answers.words(before, truth, classes)}"),
        (images.enlarged(delta, width), f"change, amplified {factor:.3g} times{size}"),
        (changed, f"attacked: {answers.words(after, truth, classes, before)}"),
    ]


def _made(found: dict[str, Any], at: int, which: str) -> list[tuple[Any, str]]:
    """Return the images that the model made of an input, clean or attacked, with captions."""
    word = {"clean": "clean", "adversarial": "attacked"}[which]
    return [
        (answers.picture(image, {}, None, [], images.WIDTH), f"{plain(name.replace('_', ' '))}, {word}")
        for name, image in answers.asides(found, at, f"{which}_{{}}", 3).items()
    ]


def _place(stored: dict[str, Any], sample: str) -> int | None:
    ids = [str(name) for name in stored.get("ids", [])]
    return ids.index(sample) if sample in ids else None
