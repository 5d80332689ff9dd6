"""A model's output for a stored sample, as an image and in words: pure functions, no Streamlit.

Stored arrays declare what they show (`Display.type`) and the part that they play (`Display.role`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from suite.errors import SuiteError
from suite.reports import drawing, images
from suite.reports.drawing import IGNORED
from suite.reports.objects import Scene, match_boxes, summary
from suite.reports.text import number, plain
from suite.types import Display, DisplayType

Arrays = Mapping[str, Display]
"""The arrays of a record, or the parts of one sample's output, by name."""

INPUT_OF = {"prediction": "input", "changed_prediction": "changed"}
"""Role of an output to that of its input."""

BOXES_KEY = (
    "**Thin white dashes**: true boxes. Predicted boxes, with class and score: **solid blue** detects an object, "
    "**dashed orange** has the wrong class, **dotted pink** is a false positive, **long dashed yellow** is a "
    "duplicate. **Thick white dashes** labeled *missed*: objects without a detection. A box matches an object if their "
    "IoU is at least 0.5."
)

MASK_KEY = (
    "Colors and labels show the **class of each pixel**; background keeps the colors of the image. **Black and white "
    "stripes** mark wrong pixels."
)


def of_role(
    stored: Arrays, role: str, params: Mapping[str, Any] | None = None, *, per_sample: bool = True
) -> dict[str, Display]:
    """Return the arrays of a role with an entry per sample, under one condition unless `params` is None.

    If `per_sample` is false, arrays of anything else, such as generated images, are among them.
    """
    return {
        name: shown
        for name, shown in stored.items()
        if shown.role == role and params in (None, dict(shown.params)) and shown.per_sample >= per_sample
    }


def has_type(stored: Arrays, role: str, kind: DisplayType) -> bool:
    """Return whether any array of a role shows something of a type."""
    return any(shown.type == kind for shown in of_role(stored, role, per_sample=False).values())


def part(stored: Arrays, role: str, at: int, params: Mapping[str, Any] | None = None) -> Display | None:
    """Return what the first array of a role holds for the sample at an index, None if it is not stored."""
    shown = next(iter(of_role(stored, role, params).values()), None)
    if shown is None or at >= len(shown.values):
        return None
    return replace(shown, values=shown.values[at])


def output_of(
    stored: Arrays, at: int, role: str = "prediction", params: Mapping[str, Any] | None = None
) -> dict[str, Display]:
    """Return the parts of the output for the sample at an index, by the words in which they differ from the input."""
    known = {word for name in of_role(stored, INPUT_OF[role], params) for word in name.split("_")}
    parts = {}
    for name, shown in of_role(stored, role, params).items():
        if at < len(shown.values):
            own = " ".join(word for word in name.split("_") if word not in known)
            parts[own or name] = replace(shown, values=shown.values[at])
    return parts


def of_type(output: Arrays, kind: DisplayType) -> Any:
    """Return the first part of an output that is of a type, None if there is none."""
    return next((shown.values for shown in output.values() if shown.type == kind), None)


def sample_ids(stored: Arrays) -> list[str]:
    """Return the ids of the stored samples."""
    return [str(name) for shown in of_role(stored, "ids").values() for name in shown.values]


def index_of(stored: Arrays, sample: str) -> int | None:
    """Return the index of a sample among stored arrays, None if it is not there."""
    ids = sample_ids(stored)
    return ids.index(sample) if sample in ids else None


def is_scene(output: Arrays) -> bool:
    """Return whether an output is drawn on its image, which is then shown larger."""
    return any(shown.type in ("mask", "boxes") for shown in output.values())


def draw(
    image: Any, output: Arrays, truth: Display | None, classes: Sequence[str], width: int = drawing.WIDTH
) -> Image.Image:
    """Return an image (c, h, w) enlarged, with the output drawn on it.

    Args:
        image: in [0, 1], or uint8.
        output: from `output_of`.
        truth: the target; None where it is not known.
        classes: names of the classes.
        width: largest width of a small image.
    """
    pixels = images.rgb(images.in_unit(image))
    if scene := _scene(output, truth):
        return drawing.boxed(pixels, scene, classes, width)
    mask = of_type(output, "mask")
    if mask is not None and np.shape(mask) == pixels.shape[:2]:
        is_known = truth is not None and np.shape(truth.values) == pixels.shape[:2]
        return drawing.tinted(pixels, mask, classes, truth.values if truth and is_known else None, width)
    return images.enlarged(pixels, width)


def pictures(output: Arrays) -> dict[str, Any]:
    """Return the images (c, h, w) in an output, such as a reconstruction, by name."""
    return {name: shown.values for name, shown in output.items() if shown.type == "image"}


def _scene(output: Arrays, truth: Display | None) -> Scene | None:
    """Return the matched boxes of an output, None if it has none or they are not valid."""
    boxes = of_type(output, "boxes")
    try:
        return match_boxes(boxes, truth.values) if boxes is not None and truth is not None else None
    except SuiteError:
        return None


def describe(output: Arrays, truth: Display | None, classes: Sequence[str], before: Arrays | None = None) -> str:
    """Return an output in markdown, such as ``predicts `7` (correct), confidence 99.0 %``.

    Args:
        output: from `output_of`.
        truth: the target; None where it is not known.
        classes: names of the classes.
        before: the output for the clean input, if `output` is that for a changed one.
    """
    types = {shown.type for shown in output.values()}
    if not types & {"class", "boxes", "mask"}:
        parts = [_number(name, shown) for name, shown in output.items() if shown.type in ("number", "flag")]
        return ", ".join(parts) or "no output was stored"
    if truth is None:
        return "the target was not stored"
    if "class" in types:
        return (_label if np.size(of_type(output, "class")) == 1 else _characters)(output, truth.values, classes)
    if "boxes" in types:
        scene = _scene(output, truth)
        return summary(scene, _scene(before or {}, truth)) if scene else "invalid boxes"
    return _pixels(np.asarray(of_type(output, "mask")), np.asarray(truth.values), classes)


def _number(name: str, shown: Display) -> str:
    value = np.asarray(shown.values).item()
    return f"{plain(name)} {('yes' if value else 'no') if shown.type == 'flag' else f'{value:.3g}'}"


def _label(output: Arrays, truth: Any, classes: Sequence[str]) -> str:
    label = of_type(output, "class")
    correct = "correct" if int(label) == int(truth) else "wrong"
    return f"predicts {plain(class_name(label, classes))} ({correct}){_confidence(output)}"


def _confidence(output: Arrays, count: int = 1) -> str:
    """Return the mean of the last `count` probabilities in words; empty where none is stored."""
    values = of_type(output, "probability")
    mean = "mean " if count > 1 else ""
    return "" if values is None else f", {mean}confidence {_percent(np.mean(np.ravel(values)[-count:]))}"


def _characters(output: Arrays, truth: Any, classes: Sequence[str]) -> str:
    """Return how many characters of a text are predicted correctly; only the last ones are scored."""
    predictions, count = np.ravel(of_type(output, "class")), np.size(truth)
    if not 0 < count <= len(predictions):
        return f"predicts {len(predictions)} characters"
    correct = int((predictions[-count:] == np.ravel(truth)).sum())
    return f"predicts {correct} of the {count} scored characters correctly{_confidence(output, count)}"


def _pixels(mask: Any, truth: Any, classes: Sequence[str]) -> str:
    scored = truth != IGNORED if mask.shape == truth.shape else np.zeros(1, dtype=bool)
    if not scored.any():
        return "no pixel is scored"
    mask, truth = mask[scored], truth[scored]
    indices = np.union1d(mask, truth)
    ious = [((mask == k) & (truth == k)).sum() / ((mask == k) | (truth == k)).sum() for k in indices]
    parts = [f"mean IoU {_percent(np.mean(ious))}", f"pixel accuracy {_percent((mask == truth).mean())}"]
    for present, absent, phrase in ((truth, mask, "missed entirely"), (mask, truth, "predicted but absent")):
        names = [plain(class_name(k, classes)) for k in np.setdiff1d(present, absent)]
        parts += [f"{phrase}: {', '.join(names)}"] if names else []
    return "; ".join(parts)


def _percent(share: Any) -> str:
    return number(float(share), "fraction")


def describe_truth(output: Arrays, truth: Display | None, classes: Sequence[str]) -> str:
    """Return the target where it is one class or number, such as ``true class `7```; empty for any other output."""
    if truth is None or np.size(truth.values) != 1 or of_type(output, truth.type) is None:
        return ""
    value = np.asarray(truth.values).item()
    return f"true class {plain(class_name(value, classes))}" if truth.type == "class" else f"true value {value:.3g}"


def clean_caption(output: Arrays, truth: Display | None, classes: Sequence[str]) -> str:
    """Return the caption of a clean input: the target, then the output."""
    title = ", ".join(filter(None, ["clean", describe_truth(output, truth, classes)]))
    return f"{title}: {describe(output, truth, classes)}"


def class_name(index: Any, classes: Sequence[str]) -> str:
    """Return the name of a class, its number where it has none."""
    return classes[int(index)] if 0 <= int(index) < len(classes) else f"class {int(index)}"


def how_to_read(stored: Arrays) -> str:
    """Return how to read the boxes or masks of stored arrays, in markdown; empty where there are none."""
    types = {shown.type for shown in stored.values()}
    return BOXES_KEY if "boxes" in types else MASK_KEY if "mask" in types else ""


def legend(stored: Arrays, classes: Sequence[str]) -> Image.Image | None:
    """Return the legend of the classes that occur in stored masks, None where there is no mask."""
    masks = [shown.values for shown in stored.values() if shown.type == "mask"]
    present = {int(index) for values in masks for index in np.unique(values)}
    colored = sorted(index for index in present if drawing.has_color(index, classes))
    return drawing.legend(colored, classes) if colored else None
