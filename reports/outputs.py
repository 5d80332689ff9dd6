"""A model's output for a stored sample, as an image and in words: pure functions, no Streamlit.

The names of the arrays say what kind of output it is: ``prediction`` and ``confidence`` of a label, the ``mask`` of
pixel classes, or ``boxes``. Without any of these the image is shown as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from suite.errors import SuiteError
from suite.reports import drawing, images
from suite.reports.drawing import IGNORED
from suite.reports.objects import Scene, match_boxes, summary
from suite.reports.text import number, plain

PARTS = ("prediction", "confidence", "mask", "boxes")
"""Names of the arrays of an output."""

NUMBERS = "numbers"
"""Key of an output under which further numbers are stored, by name."""

OTHERS = ("ids", "label", "eps", "severity", "patch")
"""Names of stored arrays that belong to no output."""

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


def output_of(stored: Mapping[str, Any], at: int, pattern: str = "{}") -> dict[str, Any]:
    """Return the parts of an output that are stored for a sample.

    Args:
        stored: arrays of a record.
        at: index of the sample.
        pattern: names of the arrays, such as ``clean_{}``.
    """
    names = {part: pattern.format(part) for part in PARTS}
    output = {part: stored[name][at] for part, name in names.items() if name in stored and at < len(stored[name])}
    numbers = extra_values(stored, at, pattern, 0)
    return output | {NUMBERS: {name: value.item() for name, value in numbers.items()}} if numbers else output


def extra_values(stored: Mapping[str, Any], at: int, pattern: str, dimensions: int) -> dict[str, Any]:
    """Return the stored values of an output that are not one of `PARTS`, by name.

    Args:
        stored: arrays of a record.
        at: index of the sample.
        pattern: names of the arrays, such as ``clean_{}``; ``{}`` alone would match any array, and gives nothing.
        dimensions: of the value of one sample: 0 for numbers, 3 for images.
    """
    prefix, _, suffix = pattern.partition("{}")
    values = {}
    for name, array in stored.items() if prefix or suffix else ():
        part = name[len(prefix) : len(name) - len(suffix)]
        fits = name.startswith(prefix) and name.endswith(suffix) and part and part not in (*PARTS, *OTHERS)
        fits = fits and not (suffix and part == "image")  # with a suffix, this is the input
        if fits and np.ndim(array) == dimensions + 1 and at < len(array) and np.asarray(array).dtype.kind in "fiub":
            values[part] = array[at]
    return values


def truth_of(stored: Mapping[str, Any], at: int) -> Any:
    """Return the target of a stored sample, None if it is not stored."""
    return stored["label"][at] if "label" in stored else None


def index_of(stored: Mapping[str, Any], sample: str) -> int | None:
    """Return the index of a sample among stored arrays, None if it is not there."""
    ids = [str(name) for name in stored.get("ids", [])]
    return ids.index(sample) if sample in ids else None


def is_scene(output: Mapping[str, Any]) -> bool:
    """Return whether an output is drawn on its image, which is then shown larger."""
    return "mask" in output or "boxes" in output


def draw(
    image: Any, output: Mapping[str, Any], truth: Any, classes: Sequence[str], width: int = drawing.WIDTH
) -> Image.Image:
    """Return an image (c, h, w) enlarged, with the output drawn on it.

    Args:
        image: in [0, 1], or uint8.
        output: from `output_of`.
        truth: the target: (M, 6) for boxes, (h, w) for a mask; None where it is not known.
        classes: names of the classes.
        width: largest width of a small image.
    """
    pixels = images.rgb(image / 255 if np.asarray(image).dtype == np.uint8 else image)
    if scene := _scene(output, truth):
        return drawing.boxed(pixels, scene, classes, width)
    if "mask" in output and np.shape(output["mask"]) == pixels.shape[:2]:
        known = truth if np.shape(truth) == pixels.shape[:2] else None
        return drawing.tinted(pixels, output["mask"], classes, known, width)
    return images.enlarged(pixels, width)


def _scene(output: Mapping[str, Any], truth: Any) -> Scene | None:
    """Return the matched boxes of an output, None if it has none or they are not valid."""
    try:
        return match_boxes(output["boxes"], truth) if "boxes" in output and truth is not None else None
    except SuiteError:
        return None


def describe(
    output: Mapping[str, Any], truth: Any, classes: Sequence[str], before: Mapping[str, Any] | None = None
) -> str:
    """Return an output in markdown, such as ``predicts `7` (correct), confidence 99.0 %``.

    Args:
        output: from `output_of`.
        truth: the target.
        classes: names of the classes.
        before: the output for the clean input, if `output` is that for a changed one.
    """
    if not output.keys() & set(PARTS):
        numbers = ", ".join(_number(name, value) for name, value in output.get(NUMBERS, {}).items())
        return numbers or "no output was stored"
    if truth is None:
        return "the target was not stored"
    if "prediction" in output:
        return (_characters if np.ndim(output["prediction"]) else _label)(output, truth, classes)
    if "boxes" in output:
        scene = _scene(output, truth)
        return summary(scene, _scene(before or {}, truth)) if scene else "invalid boxes"
    return _pixels(np.asarray(output.get("mask")), np.asarray(truth), classes)


def _number(name: str, value: Any) -> str:
    shown = ("yes" if value else "no") if isinstance(value, bool) else f"{value:.3g}"
    return f"{plain(name.replace('_', ' '))} {shown}"


def _label(output: Mapping[str, Any], truth: Any, classes: Sequence[str]) -> str:
    label = output["prediction"]
    correct = "correct" if int(label) == int(truth) else "wrong"
    confidence = f", confidence {_percent(output['confidence'])}" if "confidence" in output else ""
    return f"predicts {plain(class_name(label, classes))} ({correct}){confidence}"


def _characters(output: Mapping[str, Any], truth: Any, classes: Sequence[str]) -> str:
    """Return how many characters of a text are predicted correctly; only the last ones are scored."""
    predictions, count = np.ravel(output["prediction"]), np.size(truth)
    if not 0 < count <= len(predictions):
        return f"predicts {len(predictions)} characters"
    correct = int((predictions[-count:] == np.ravel(truth)).sum())
    confidence = (
        f", mean confidence {_percent(np.mean(np.ravel(output['confidence'])[-count:]))}"
        if "confidence" in output
        else ""
    )
    return f"predicts {correct} of the {count} scored characters correctly{confidence}"


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


def describe_truth(output: Mapping[str, Any], truth: Any, classes: Sequence[str]) -> str:
    """Return the target where it is one class, such as ``true class `7```; empty for scenes."""
    is_class = truth is not None and "prediction" in output and np.ndim(truth) == np.ndim(output["prediction"]) == 0
    return f"true class {plain(class_name(truth, classes))}" if is_class else ""


def clean_caption(output: Mapping[str, Any], truth: Any, classes: Sequence[str]) -> str:
    """Return the caption of a clean image: the target, then the output."""
    title = ", ".join(filter(None, ["clean", describe_truth(output, truth, classes)]))
    return f"{title}: {describe(output, truth, classes)}"


def class_name(index: Any, classes: Sequence[str]) -> str:
    """Return the name of a class, its number where it has none."""
    return classes[int(index)] if 0 <= int(index) < len(classes) else f"class {int(index)}"


def how_to_read(stored: Mapping[str, Any]) -> str:
    """Return how to read the boxes or masks of stored arrays, in markdown; empty for plain images."""
    parts = {part for name in stored for part in name.split("_")}
    return BOXES_KEY if "boxes" in parts else MASK_KEY if "mask" in parts else ""


def legend(stored: Mapping[str, Any], classes: Sequence[str]) -> Image.Image | None:
    """Return the legend of the classes that occur in stored masks, None where there is no mask."""
    masks = [values for name, values in stored.items() if "mask" in name.split("_")]
    if not masks:
        return None
    present = {int(index) for values in (*masks, stored.get("label", masks[0])) for index in np.unique(values)}
    colored = sorted(index for index in present if drawing.has_color(index, classes))
    return drawing.legend(colored, classes) if colored else None
