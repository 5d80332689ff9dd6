"""States of boxes, compared with the counts of the metrics and worked out by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from suite.errors import DataError
from suite.metrics import detection as boxes
from suite.reports import objects
from tests.reports import synthetic_scenes as c


def crowded(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return detections (12, 6) and truth (7, 6) of an image with many overlapping boxes."""
    draw = np.random.default_rng(seed)
    truth, detected = np.zeros((7, 6)), np.zeros((12, 6))
    truth[:, :2] = draw.uniform(0, 12, (7, 2))
    truth[:, 2:4] = truth[:, :2] + draw.uniform(8, 12, (7, 2))
    truth[:, 4], truth[:, 5] = draw.integers(-1, 3, 7), draw.random(7) < 0.2
    detected[:, :4] = truth[draw.integers(7, size=12), :4] + draw.uniform(-2, 2, (12, 4))
    detected[:, 4], detected[:, 5] = np.sort(draw.random(12))[::-1], draw.integers(-1, 3, 12)
    return detected, truth


@pytest.mark.parametrize("seed", range(40))
def test_states_match_the_counts_of_the_metrics(seed: int) -> None:
    detected, truth = crowded(seed)
    scene = objects.match_boxes(detected, truth)
    states = Counter(box.state for box in scene.truth)
    false_positives = sum(box.state == objects.FALSE_POSITIVE for box in scene.detections)
    expected = boxes.states(detected[None], truth[None], 0.0)[0].tolist()
    assert [states[objects.DETECTED], states[objects.WRONG_CLASS], states[objects.MISSED], false_positives] == expected
    assert sum(box.state == objects.DETECTED for box in scene.detections) == states[objects.DETECTED]
    assert len(scene.detections) == (detected[:, 5] >= 0).sum() and len(scene.truth) == (truth[:, 4] >= 0).sum()


def states(*rows: tuple[float, ...], image: int = 0) -> list[str]:
    return [box.state for box in objects.match_boxes(c.detections(*rows)[image], c.truth()[image]).detections]


def test_every_state_of_a_predicted_box() -> None:
    assert states(c.HIT) == [objects.DETECTED]
    assert states(c.MISLABELED) == [objects.WRONG_CLASS]
    assert states(c.FALSE_POSITIVE) == [objects.FALSE_POSITIVE]
    again = (3, 2, 12, 12, 0.5, 0)
    assert states(c.HIT, again) == [objects.DETECTED, objects.DUPLICATE]
    inside_the_crowd = (1, 21, 6, 28, 0.5, 2)
    assert states(inside_the_crowd, image=2) == states((1, 21, 6, 28, 0.5, 0), image=2) == [objects.NOT_SCORED]
    assert states(inside_the_crowd) == [objects.FALSE_POSITIVE]


def test_a_scene_in_words() -> None:
    truth = c.truth()[0]
    before = objects.match_boxes(c.detections(c.HIT, c.MISLABELED)[0], truth)
    after = objects.match_boxes(c.detections(c.FALSE_POSITIVE)[0], truth)
    assert objects.summary(before) == "2 objects: 1 detected, 1 wrong class"
    assert objects.summary(after, before) == "2 objects: 1 missed, 1 newly missed; 1 false positive"
    assert objects.summary(after) == "2 objects: 2 missed; 1 false positive"
    empty = objects.match_boxes(c.detections()[0], np.full((1, 6), -1.0))
    assert objects.summary(empty) == "0 objects"
    crowd = objects.match_boxes(c.detections(c.HIT)[2], c.truth()[2])
    assert objects.summary(crowd) == "2 objects: 1 detected, 1 missed"


def test_an_inverted_true_box_is_refused() -> None:
    with pytest.raises(DataError):
        objects.match_boxes(c.detections(c.HIT)[0], np.array([[9, 9, 2, 2, 0, 0]], float))
