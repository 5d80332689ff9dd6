"""What became of boxes, against what the measures count, and scenes solved by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from suite.errors import DataError
from suite.metrics import detection as boxes
from suite.reports import objects
from tests.reports import synthetic_scenes as c


def crowded(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return detections (12, 6) and truth (7, 6) of an image in which much overlaps."""
    draw = np.random.default_rng(seed)
    truth, found = np.zeros((7, 6)), np.zeros((12, 6))
    truth[:, :2] = draw.uniform(0, 12, (7, 2))
    truth[:, 2:4] = truth[:, :2] + draw.uniform(8, 12, (7, 2))
    truth[:, 4], truth[:, 5] = draw.integers(-1, 3, 7), draw.random(7) < 0.2
    found[:, :4] = truth[draw.integers(7, size=12), :4] + draw.uniform(-2, 2, (12, 4))
    found[:, 4], found[:, 5] = np.sort(draw.random(12))[::-1], draw.integers(-1, 3, 12)
    return found, truth


@pytest.mark.parametrize("seed", range(40))
def test_boxes_are_counted_as_the_measures_count_them(seed: int) -> None:
    found, truth = crowded(seed)
    scene = objects.outcome_and_tally(found, truth)
    became = Counter(box.state for box in scene.truth)
    alone = sum(box.state == objects.NOTHING for box in scene.detections)
    expected = boxes.states(found[None], truth[None], 0.0)[0].tolist()
    assert [became[objects.FOUND], became[objects.WRONG], became[objects.MISSED], alone] == expected
    assert sum(box.state == objects.FOUND for box in scene.detections) == became[objects.FOUND]
    assert len(scene.detections) == (found[:, 5] >= 0).sum() and len(scene.truth) == (truth[:, 4] >= 0).sum()


def states(*rows: tuple[float, ...], image: int = 0) -> list[str]:
    return [box.state for box in objects.outcome_and_tally(c.detections(*rows)[image], c.truth()[image]).detections]


def test_every_state_of_a_detection_by_hand() -> None:
    assert states(c.FOUND) == [objects.FOUND]
    assert states(c.MISLABELLED) == [objects.WRONG]
    assert states(c.NOWHERE) == [objects.NOTHING]
    again = (3, 2, 12, 12, 0.5, 0)
    assert states(c.FOUND, again) == [objects.FOUND, objects.EXTRA]
    inside_the_crowd = (1, 21, 6, 28, 0.5, 2)
    assert states(inside_the_crowd, image=2) == states((1, 21, 6, 28, 0.5, 0), image=2) == [objects.ASIDE]
    assert states(inside_the_crowd) == [objects.NOTHING]


def test_a_scene_in_words() -> None:
    truth = c.truth()[0]
    before = objects.outcome_and_tally(c.detections(c.FOUND, c.MISLABELLED)[0], truth)
    after = objects.outcome_and_tally(c.detections(c.NOWHERE)[0], truth)
    assert objects.sentence(before) == "2 objects: 1 found, 1 wrong class"
    assert objects.sentence(after, before) == "2 objects: 1 missed, 1 gone; 1 box where nothing is"
    assert objects.sentence(after) == "2 objects: 2 missed; 1 box where nothing is"
    empty = objects.outcome_and_tally(c.detections()[0], np.full((1, 6), -1.0))
    assert objects.sentence(empty) == "0 objects"
    crowd = objects.outcome_and_tally(c.detections(c.FOUND)[2], c.truth()[2])
    assert objects.sentence(crowd) == "2 objects: 1 found, 1 missed"


def test_an_inverted_true_box_is_refused() -> None:
    with pytest.raises(DataError):
        objects.outcome_and_tally(c.detections(c.FOUND)[0], np.array([[9, 9, 2, 2, 0, 0]], float))
