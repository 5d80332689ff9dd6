"""What a model said about a stored sample, as a picture and in words: pure functions, no Streamlit.

A stored answer says itself what it is: ``prediction`` and ``confidence`` of one label, the ``mask`` of classes of the
pixels, or ``boxes``. What else is stored, or missing, leaves the plain image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from suite.errors import SuiteError
from suite.reports import drawing, images
from suite.reports.drawing import IGNORED
from suite.reports.objects import Scene, judged, sentence
from suite.reports.text import number, plain

PARTS = ("prediction", "confidence", "mask", "boxes")
"""What an answer may consist of."""

BOXES_KEY = (
    "**Thin white dashes** are the true boxes. Boxes of the model, with class and score: **solid blue** found it, "
    "**dashed orange** is at an object but names the wrong class, **dotted pink** is where nothing is, **long dashed "
    "yellow** is one too many. **Thick white dashes** with *missed* are objects that the model does not see. A box is "
    "at an object if the two overlap by half (IoU 0.5)."
)

MASK_KEY = (
    "Colours and names are the **classes of the pixels**; background keeps the colours of the image. **Striped black "
    "and white** is wherever the model is wrong."
)


def told(stored: Mapping[str, Any], at: int, pattern: str = "{}") -> dict[str, Any]:
    """Return the parts of an answer that are stored for a sample.

    Args:
        stored: arrays of a record.
        at: place of the sample.
        pattern: how the arrays are called, such as ``clean_{}``.
    """
    names = {part: pattern.format(part) for part in PARTS}
    said = {part: stored[name][at] for part, name in names.items() if name in stored and at < len(stored[name])}
    further = asides(stored, at, pattern, 0)
    return said | {NUMBERS: {name: value.item() for name, value in further.items()}} if further else said


NUMBERS = "numbers"
"""Part of an answer that holds what else was said of a sample in numbers, by name."""

STORED = ("ids", "label", "eps", "severity", "patch")
"""Arrays that are no answers."""


def asides(stored: Mapping[str, Any], at: int, pattern: str, dimensions: int) -> dict[str, Any]:
    """Return what else is stored of an answer to a sample, by name.

    Args:
        stored: arrays of a record.
        at: place of the sample.
        pattern: how the arrays are called, such as ``clean_{}``; a bare ``{}`` could mean any array, and finds none.
        dimensions: of the values of one sample: 0 for numbers, 3 for images.
    """
    before, _, behind = pattern.partition("{}")
    if not before and not behind:
        return {}
    found = {}
    for name, values in stored.items():
        part = name[len(before) : len(name) - len(behind)]
        fits = name.startswith(before) and name.endswith(behind) and part and part not in (*PARTS, *STORED)
        fits = fits and not (behind and part == "image")  # where the names come last, that is what was shown
        if fits and np.ndim(values) == dimensions + 1 and at < len(values) and np.asarray(values).dtype.kind in "fiub":
            found[part] = values[at]
    return found


def is_scene(said: Mapping[str, Any]) -> bool:
    """Return whether an answer is drawn on its image, which then has to be larger."""
    return "mask" in said or "boxes" in said


def picture(
    image: Any, said: Mapping[str, Any], truth: Any, classes: Sequence[str], width: int = drawing.WIDTH
) -> Image.Image:
    """Return an image (c, h, w) enlarged, with what was said about it drawn on it.

    Args:
        image: in [0, 1], or uint8.
        said: from `told`.
        truth: what is true: (M, 6) for boxes, (h, w) for a mask; None where it is not known.
        classes: names of the classes.
        width: largest width of a small image.
    """
    shown = images.rgb(image / 255 if np.asarray(image).dtype == np.uint8 else image)
    scene = scene_of(said, truth)
    if scene:
        return drawing.boxed(shown, scene, classes, width)
    if "mask" in said and np.shape(said["mask"]) == shown.shape[:2]:
        known = truth if np.shape(truth) == shown.shape[:2] else None
        return drawing.tinted(shown, said["mask"], classes, known, width)
    return images.enlarged(shown, width)


def scene_of(said: Mapping[str, Any], truth: Any) -> Scene | None:
    """Return the judged boxes of an answer, None if it has none or they cannot be read."""
    if "boxes" not in said or truth is None:
        return None
    try:
        return judged(said["boxes"], truth)
    except SuiteError:
        return None


def words(said: Mapping[str, Any], truth: Any, classes: Sequence[str], before: Mapping[str, Any] | None = None) -> str:
    """Return an answer in markdown, such as ``says `7` (right), 99.0 % sure``.

    Args:
        said: from `told`.
        truth: what is true.
        classes: names of the classes.
        before: the answer without interference, where this is the one with it.
    """
    numbers = ", ".join(_aside(name, value) for name, value in said.get(NUMBERS, {}).items())
    if not set(said) & set(PARTS):
        return numbers or "no answer was stored"
    if truth is None:
        return "what is true was not stored"
    if "prediction" in said and np.ndim(said["prediction"]):
        return _of_places(said, np.asarray(truth))
    if "prediction" in said:
        right = "right" if int(said["prediction"]) == int(truth) else "wrong"
        sure = f", {number(float(said['confidence']), 'fraction')} sure" if "confidence" in said else ""
        return f"says {plain(class_name(said['prediction'], classes))} ({right}){sure}"
    if "boxes" in said:
        scene = scene_of(said, truth)
        return sentence(scene, scene_of(before or {}, truth)) if scene else "boxes that cannot be read"
    return _of_pixels(np.asarray(said.get("mask")), np.asarray(truth), classes)


def _aside(name: str, value: Any) -> str:
    """Return one of the further numbers of an answer in markdown."""
    shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value:.3g}"
    return f"{plain(name.replace('_', ' '))} {shown}"


def _of_places(said: Mapping[str, Any], truth: Any) -> str:
    """Return how many places of a text are predicted rightly; those that are scored are the last ones."""
    told, count = np.ravel(said["prediction"]), np.size(truth)
    if not 0 < count <= len(told):
        return f"says something of {len(told)} places"
    right = int((told[-count:] == np.ravel(truth)).sum())
    sure = (
        f", {number(float(np.mean(np.ravel(said['confidence'])[-count:])), 'fraction')} sure"
        if "confidence" in said
        else ""
    )
    return f"gets {right} of the {count} characters that count right{sure}"


def _of_pixels(mask: Any, truth: Any, classes: Sequence[str]) -> str:
    counted = truth != IGNORED if mask.shape == truth.shape else np.zeros(1, dtype=bool)
    if not counted.any():
        return "no pixel counts"
    mask, truth = mask[counted], truth[counted]
    indices = np.union1d(mask, truth)
    ious = {int(k): ((mask == k) & (truth == k)).sum() / ((mask == k) | (truth == k)).sum() for k in indices}
    lines = [
        f"mean IoU {number(float(np.mean(list(ious.values()))), 'fraction')}",
        f"{number(float((mask == truth).mean()), 'fraction')} of the pixels right",
    ]
    for missing, held, phrase in ((mask, truth, "not seen at all"), (truth, mask, "seen but not there")):
        strange = [plain(class_name(k, classes)) for k in indices if (held == k).any() and not (missing == k).any()]
        lines += [f"{phrase}: {', '.join(strange)}"] if strange else []
    return "; ".join(lines)


def truth_words(said: Mapping[str, Any], truth: Any, classes: Sequence[str]) -> str:
    """Return what is true where one word says it, such as ``truly `7```; empty for scenes."""
    is_class = "prediction" in said and np.ndim(truth) == 0 and np.ndim(said["prediction"]) == 0
    return f"truly {plain(class_name(truth, classes))}" if is_class else ""


def class_name(index: Any, classes: Sequence[str]) -> str:
    """Return the name of a class, its number where it has none."""
    return classes[int(index)] if 0 <= int(index) < len(classes) else f"class {int(index)}"


def reading(stored: Mapping[str, Any]) -> str:
    """Return how to read the pictures of some arrays, in markdown; empty for plain images."""
    names = {part for part in PARTS if any(part in name.split("_") for name in stored)}
    return BOXES_KEY if "boxes" in names else MASK_KEY if "mask" in names else ""


def key(stored: Mapping[str, Any], classes: Sequence[str]) -> Image.Image | None:
    """Return the legend of the classes that occur in stored masks, None where there is no mask."""
    masks = [values for name, values in stored.items() if "mask" in name.split("_")]
    if not masks:
        return None
    seen = {int(index) for values in (*masks, stored.get("label", masks[0])) for index in np.unique(values)}
    tinted = sorted(index for index in seen if drawing.is_tinted(index, classes))
    return drawing.key(tinted, classes) if tinted else None
