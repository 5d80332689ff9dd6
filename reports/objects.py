"""What a detector said about one image, box by box: pure functions, no Streamlit."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from suite.metrics.detection.arrays import BoolArray, Detected, IndexArray, Truth, flat
from suite.metrics.detection.matching import HIT, IGNORED, assign, states_of
from suite.metrics.detection.overlap import overlapping
from suite.metrics.detection.states import IOU

FOUND, WRONG, MISSED, EXTRA, NOTHING, ASIDE = "found", "wrong class", "missed", "extra", "nothing there", "not counted"
"""What became of a true box (found, wrong class, missed), and what a detection is (found, wrong class, extra, nothing
there); neither counts where the truth is ignored."""


@dataclass(frozen=True)
class Box:
    """A true box, or a detection.

    Attributes:
        corners: x1, y1, x2, y2 in pixels of the image.
        label: index of the class.
        score: of a detection, in [0, 1]; None for a true box.
        state: one of the words of this module.
    """

    corners: tuple[float, float, float, float]
    label: int
    score: float | None
    state: str


@dataclass(frozen=True)
class Scene:
    """The detections of an image by class and falling score, and its true boxes in their order on file."""

    detections: tuple[Box, ...]
    truth: tuple[Box, ...]


def judged(detections: ArrayLike, truth: ArrayLike) -> Scene:
    """Return every box of one image with its state, by the rule of `suite.metrics.detection.states`.

    Args:
        detections: (D, 6), rows x1, y1, x2, y2, score, class; padding has class -1.
        truth: (M, 6), rows x1, y1, x2, y2, class, ignored; padding has class -1.

    Raises:
        ModelError, DataError: a detection, or a true box, cannot be used.
    """
    detected, true = flat(np.asarray(detections)[None], np.asarray(truth)[None])
    partner = assign(overlapping(detected, true, IOU), detected, true, true.crowd, (IOU,))[0]
    state = states_of(partner, true.crowd)[:, 0]
    found = np.zeros(true.image.size, dtype=bool)
    found[partner[state == HIT, 0]] = True
    near = overlapping(detected, true, IOU, same_class=False)
    other = (state[near.detection] != HIT) & (state[near.detection] != IGNORED)
    other &= detected.label[near.detection] != true.label[near.truth]
    confused = np.zeros(true.image.size, dtype=bool)
    confused[near.truth[other]] = True
    said = _said(detected, true, state, near.detection, near.truth)
    became = [
        ASIDE if aside else FOUND if hit else WRONG if taken else MISSED
        for aside, hit, taken in zip(true.crowd, found, confused, strict=True)
    ]
    return Scene(
        tuple(
            Box(_corners(detected, at), int(detected.label[at]), float(detected.score[at]), said[at])
            for at in range(len(said))
        ),
        tuple(Box(_corners(true, at), int(true.label[at]), None, became[at]) for at in range(len(became))),
    )


def _said(
    detected: Detected, true: Truth, state: IndexArray | np.ndarray, near: IndexArray, of: IndexArray
) -> list[str]:
    """Return the state of each detection; `near` and `of` are the pairs that overlap, of whatever class."""
    touches = np.zeros(detected.image.size, dtype=bool)
    touches[near] = True
    counted: BoolArray = ~true.crowd[of]
    same = detected.label[near] == true.label[of]
    named = dict.fromkeys(near[counted & same].tolist(), EXTRA)
    named |= dict.fromkeys(near[counted & ~same].tolist(), WRONG)
    lone = [named.get(at, ASIDE if touches[at] else NOTHING) for at in range(len(touches))]
    return [{HIT: FOUND, IGNORED: ASIDE}.get(int(own), other) for own, other in zip(state, lone, strict=True)]


def _corners(boxes: Detected | Truth, at: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in boxes.box[:, at])
    return left, top, right, bottom


def sentence(scene: Scene, before: Scene | None = None) -> str:
    """Return a scene in words, such as ``3 objects: 2 found, 1 gone; 2 boxes where nothing is``.

    Args:
        scene: what is told.
        before: the same image without interference; an object is gone if it was found there and now is missed.
    """
    known = [box for box in scene.truth if box.state != ASIDE]
    states = Counter(box.state for box in known)
    gone = _gone(scene, before) if before else 0
    states[MISSED] -= gone
    parts = {FOUND: states[FOUND], WRONG: states[WRONG], MISSED: states[MISSED], "gone": gone}
    became = ", ".join(f"{count} {word}" for word, count in parts.items() if count)
    told = [f"{_counted(len(known), 'object')}{': ' if became else ''}{became}"]
    told += [
        f"{_counted(count, 'box', 'boxes')} {words}"
        for state, words in ((NOTHING, "where nothing is"), (EXTRA, "too many of a found object"))
        if (count := sum(box.state == state for box in scene.detections))
    ]
    return "; ".join(told)


def _gone(scene: Scene, before: Scene) -> int:
    pairs = zip(before.truth, scene.truth, strict=False)
    return sum(then.state == FOUND and now.state == MISSED for then, now in pairs)


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
