"""What readers call the measures, and what each means in plain words: pure data and functions, no Streamlit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from suite.leaderboard.columns import HEADLINES

NAMES = {"accuracy": "right answers", "map": "mAP", "miou": "mean IoU"}
"""Headline measures as they stand at an axis and in a sentence."""

MEANINGS = {
    "map": "**mAP** (mean average precision) says how well boxes are found: 100 % is every object found, in the right "
    "place and class, with no false box ahead of a true one; it is the mean over classes and over how exactly a box "
    "must fit (overlap 0.5 to 0.95).",
    "miou": "**mIoU** (mean intersection over union) says how well regions are found: of all pixels that are of a "
    "class or are called so, the share that is both, as the mean over classes; 100 % is every pixel right.",
}
"""Headline measures that need a sentence before they are read."""

IN_WORDS = {
    "map50": "mAP where a box need only overlap its object by half",
    "map75": "mAP where a box must overlap its object by three quarters",
    "ar1": "share of objects found by the best box of an image alone",
    "ar10": "share of objects found by the best 10 boxes of an image",
    "ar100": "share of objects found by the best 100 boxes of an image",
    "olrp": "missed, false and badly placed boxes in one error (LRP); lower is better",
    "pixel_accuracy": "share of pixels that are right; large classes, as the background, decide it",
    "mean_accuracy": "share of each class's pixels that is right, as the mean over classes",
}
"""Further measures of the clean axis that a reader meets as a table."""

STATES = {
    "found_rate": "found: a box of the right class at the object",
    "mislabel_rate": "wrong class: a box at the object, but of another class only",
    "disappearance_rate": "missed: no box at the object",
    "hallucinations": "boxes where nothing is, per image",
}
"""What became of the objects, in the order of reading."""

CALIBRATION = {
    "ece": "ECE",
    "classwise_ece": "ECE by class",
    "image_ece": "ECE of single images, on average",
    "d_ece": "D-ECE",
    "laece": "LaECE",
    "laace": "LaACE",
    "oce": "OCE",
    "aurc": "AURC",
}
"""Measures of calibration that stand under a reliability diagram, in the order of reading."""


def headline(details: Mapping[str, Any]) -> str:
    """Return what readers call the headline measure that the details of a record speak of."""
    return NAMES.get(str(details.get("headline", "accuracy")), "headline measure")


def capital(name: str) -> str:
    """Return a name as it begins a sentence; mAP is written as it is."""
    return name if name == NAMES["map"] else name[:1].upper() + name[1:]


def meanings(metrics: Iterable[str]) -> str:
    """Return the sentences about those headline measures among some metrics that need one, in markdown."""
    known = set(metrics)
    return " ".join(text for metric, text in MEANINGS.items() if known & {metric, f"robust_{metric}"})


def axis_title(metrics: Iterable[str]) -> str:
    """Return the title of an axis in percent that shows some headline measures, clean or under attack."""
    plain = {metric.removeprefix("robust_") for metric in metrics}
    named = [NAMES[name] for name in HEADLINES if name in plain]
    return f"{' or '.join(named) or 'headline measure'} (%)"
