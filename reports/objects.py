"""A detector's output for one image, box by box: pure functions, no Streamlit."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from suite.metrics.detection.arrays import BoolArray, Detected, IndexArray, Truth, flat
from suite.metrics.detection.matching import HIT, IGNORED, assign, states_of
from suite.metrics.detection.overlap import overlapping
from suite.metrics.detection.states import IOU

DETECTED, WRONG_CLASS, MISSED = "detected", "wrong class", "missed"
"""States of a true box; a predicted box can also be `DETECTED` or `WRONG_CLASS`."""

DUPLICATE, FALSE_POSITIVE = "duplicate", "false positive"
"""Further states of a predicted box."""

NOT_SCORED = "not scored"
"""State of boxes where the truth is ignored."""


@dataclass(frozen=True)
class Box:
    """A true or a predicted box.

    Attributes:
        corners: x1, y1, x2, y2 in pixels of the image.
        label: index of the class.
        score: of a prediction, in [0, 1]; None for a true box.
        state: one of the states of this module.
    """

    corners: tuple[float, float, float, float]
    label: int
    score: float | None
    state: str


@dataclass(frozen=True)
class Scene:
    """The predicted boxes of an image by class and falling score, and its true boxes in the stored order."""

    detections: tuple[Box, ...]
    truth: tuple[Box, ...]


def match_boxes(detections: ArrayLike, truth: ArrayLike) -> Scene:
    """Return every box of one image with its state, by the rules of `suite.metrics.detection.states`.

    Args:
        detections: (D, 6), rows x1, y1, x2, y2, score, class; padding has class -1.
        truth: (M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.

    Raises:
        ModelError, DataError: a predicted or a true box is not valid.
    """
    detected, true = flat(np.asarray(detections)[None], np.asarray(truth)[None])
    partner = assign(overlapping(detected, true, IOU), detected, true, true.crowd, (IOU,))[0]
    state = states_of(partner, true.crowd)[:, 0]
    near = overlapping(detected, true, IOU, same_class=False)
    unmatched = (state[near.detection] != HIT) & (state[near.detection] != IGNORED)
    unmatched &= detected.label[near.detection] != true.label[near.truth]
    true_states = np.full(true.image.size, MISSED, dtype=object)
    true_states[near.truth[unmatched]] = WRONG_CLASS
    true_states[partner[state == HIT, 0]] = DETECTED
    true_states[true.crowd] = NOT_SCORED
    detected_states = _detected_states(detected, true, state, near.detection, near.truth)
    return Scene(
        tuple(
            Box(_corners(detected, at), int(detected.label[at]), float(detected.score[at]), name)
            for at, name in enumerate(detected_states)
        ),
        tuple(Box(_corners(true, at), int(true.label[at]), None, name) for at, name in enumerate(true_states)),
    )


def _detected_states(
    detected: Detected, true: Truth, state: IndexArray | np.ndarray, near: IndexArray, of: IndexArray
) -> list[str]:
    """Return the state of each predicted box; `near` and `of` are the overlapping pairs of any class."""
    scored: BoolArray = ~true.crowd[of]
    same = detected.label[near] == true.label[of]
    states = np.full(detected.image.size, FALSE_POSITIVE, dtype=object)
    for places, name in (
        (near, NOT_SCORED),
        (near[scored & same], DUPLICATE),
        (near[scored & ~same], WRONG_CLASS),
        (state == HIT, DETECTED),
        (state == IGNORED, NOT_SCORED),
    ):
        states[places] = name
    return states.tolist()


def _corners(boxes: Detected | Truth, at: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in boxes.box[:, at])
    return left, top, right, bottom


def summary(scene: Scene, before: Scene | None = None) -> str:
    """Return a scene in words, such as ``3 objects: 2 detected, 1 newly missed; 2 false positives``.

    Args:
        scene: the boxes to describe.
        before: those of the clean image; an object is newly missed if it was detected there.
    """
    states = Counter(box.state for box in scene.truth if box.state != NOT_SCORED)
    objects = states.total()
    if before:
        pairs = zip(before.truth, scene.truth, strict=False)
        lost = sum(then.state == DETECTED and now.state == MISSED for then, now in pairs)
        states.update({MISSED: -lost, "newly missed": lost})
    order = (DETECTED, WRONG_CLASS, MISSED, "newly missed")
    parts = ", ".join(f"{states[state]} {state}" for state in order if states[state])
    errors = Counter(box.state for box in scene.detections)
    counts = [_count(errors[state], state) for state in (FALSE_POSITIVE, DUPLICATE) if errors[state]]
    return "; ".join([f"{_count(objects, 'object')}{': ' if parts else ''}{parts}", *counts])


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
