"""Answers drawn and told: where the lines are, what is hatched, and what is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from suite.reports import answers, drawing, images
from tests.reports import synthetic as s
from tests.reports import synthetic_scenes as c

GREY = np.full((3, c.SIDE, c.SIDE), 0.5)


def drawn(said: dict[str, Any], truth: Any, classes: list[str] | None = None) -> np.ndarray:
    return np.asarray(answers.picture(GREY, said, truth, classes or ["cat", "dog", "cow"])).astype(int)


def colour(picture: np.ndarray, code: str) -> np.ndarray:
    """Return where a picture has a colour, as rows and columns of the image."""
    wanted = [int(code[at : at + 2], 16) for at in (1, 3, 5)]
    factor = picture.shape[0] // c.SIDE
    return np.argwhere((picture == wanted).all(axis=-1)) / factor


def test_a_found_box_is_a_whole_line_and_others_are_broken() -> None:
    shares = {}
    for state, row in (("found", c.FOUND), ("wrong class", c.MISLABELLED), ("nothing there", c.NOWHERE)):
        picture = drawn({"boxes": c.detections(row)[0]}, c.truth()[0])
        places = colour(picture, drawing.LINES[state][0])
        left, _, right, bottom = row[:4]
        bottoms = places[np.abs(places[:, 0] - bottom) < 0.5]
        assert np.abs(bottoms[:, 1] - (left + right) / 2).max() <= (right - left) / 2 + 0.5
        shares[state] = len(np.unique(bottoms[:, 1])) / (12 * (right - left))
    assert shares["found"] > 0.95
    assert 0.6 < shares["wrong class"] < 0.95
    assert shares["nothing there"] < 0.75
    assert len(set(drawing.LINES.values())) == len({pattern for _, pattern in drawing.LINES.values()}) == 5


def test_a_missed_object_is_thicker_than_a_found_one() -> None:
    def white(*rows: tuple[float, ...]) -> int:
        truth = c.truth()[0][:1]
        return len(colour(drawn({"boxes": c.detections(*rows)[0]}, truth), drawing.WHITE))

    beside = (3.5, 3.5, 13.5, 13.5, 0.9, 0)
    assert white() > 1.5 * white(beside) > 0


def test_tags_never_lie_on_each_other_where_there_is_room() -> None:
    taken: list[Any] = []
    for _ in range(5):
        x, y = drawing._room((10, 50), (40, 14), (200, 200), taken)
        taken.append((x, y, x + 40, y + 14))
    heights = sorted(place[1] for place in taken)
    assert (np.diff(heights) >= 14).all()
    assert drawing._room((500, -9), (40, 14), (200, 200), []) == (160, 0)


def test_wrong_pixels_alone_are_striped_and_ignored_ones_never() -> None:
    truth, said = c.masks()[0], c.worse(c.masks())[0]
    picture = drawn({"mask": said}, truth, c.SEGMENTS)
    plain = drawn({"mask": said}, None, c.SEGMENTS)
    factor = picture.shape[0] // c.SIDE
    changed = (picture != plain).any(axis=2).reshape(c.SIDE, factor, c.SIDE, factor).any(axis=(1, 3))
    tags = (plain == 17).all(axis=2).reshape(c.SIDE, factor, c.SIDE, factor).any(axis=(1, 3))
    wrong = (said != truth) & (truth != 255)
    assert (changed[~tags] == wrong[~tags]).all() and changed.any()


def test_background_keeps_its_colours_and_a_class_does_not() -> None:
    mask = np.zeros((c.SIDE, c.SIDE), np.uint8)
    mask[:, 16:] = 1
    picture = drawn({"mask": mask}, None, c.SEGMENTS)
    assert (picture[:, :180] == 128).all()
    assert (picture[:, 300:] != 128).any(axis=-1).all()
    assert (drawn({"mask": mask}, None, ["road", "car"])[:20, :20] != 128).any()


def test_a_region_is_outlined_in_two_colours() -> None:
    region = c.masks()[0] == 1
    picture = np.asarray(drawing.outlined(images.enlarged(np.full((c.SIDE, c.SIDE, 3), 128, np.uint8), 320), region))
    marked = np.argwhere((picture != 128).any(axis=2)) / 10
    assert marked.min() >= 2 and marked.max() < 12
    assert (picture[50:90, 50:90] == 128).all()
    assert {0, 255} <= set(np.unique(picture))


@pytest.mark.parametrize("count", [1, 3, 30])
def test_the_key_has_room_for_every_name(count: int) -> None:
    names = [f"class number {at}" for at in range(count)]
    picture = drawing.key(range(count), names, 400)
    assert picture.width <= 400 and picture.height == 24 * -(-count // max(1, 400 // (picture.width // min(count, 3))))
    assert np.asarray(picture).min() < 60


def test_answers_in_words() -> None:
    one = {"prediction": np.int64(1), "confidence": np.float64(0.8)}
    assert answers.words(one, np.int64(1), ["a", "b"]) == "says `b` (right), 80.0 % sure"
    assert answers.words(one, np.int64(0), ["a"]) == "says `class 1` (wrong), 80.0 % sure"
    assert answers.words({"prediction": 0}, 0, ["a"]) == "says `a` (right)"
    assert answers.words({}, 0, []) == "no answer was stored"
    assert answers.words(one, None, []) == "what is true was not stored"
    assert (
        answers.words({"boxes": c.detections((9, 9, 2, 2, 0.5, 0))[0]}, c.truth()[0], []) == "boxes that cannot be read"
    )


def test_a_mask_in_words_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 255]])
    said = np.array([[0, 0, 1, 0], [3, 3, 1, 1]])
    # IoU of the classes 0, 1, 2 and 3: 2/3, 1/2, 0, 0; three of six pixels are right.
    found = answers.words({"mask": said}, truth, c.SEGMENTS)
    named = f"not seen at all: `{s.HOSTILE_CLASS}`; seen but not there: `{c.NAMES[2]}`"
    assert found == f"mean IoU 29.2 %; 50.0 % of the pixels right; {named}"
    assert answers.words({"mask": said}, np.full((2, 4), 255), []) == "no pixel counts"


def test_unreadable_answers_leave_the_plain_image() -> None:
    plain = drawn({}, None)
    assert (drawn({"boxes": c.detections((9, 9, 2, 2, 0.5, 0))[0]}, c.truth()[0]) == plain).all()
    assert (drawn({"mask": np.zeros((3, 3), int)}, None) == plain).all()
    assert (np.asarray(answers.picture(np.uint8(255 * GREY), {}, None, [])) == plain - 1).all()


def test_what_is_stored_says_what_it_is() -> None:
    stored = {"mask_fog": c.masks(), "image_fog": c.images(), "label": c.masks()}
    assert set(answers.told(stored, 0, "{}_fog")) == {"mask"} and answers.told(stored, 9, "{}_fog") == {}
    assert answers.reading(stored) == answers.MASK_KEY
    assert answers.reading({"clean_boxes": 0}) == answers.BOXES_KEY and answers.reading({"clean_prediction": 0}) == ""
    assert answers.key(stored, c.SEGMENTS) and answers.key({"clean_boxes": c.detections()}, []) is None
    assert answers.truth_words({"prediction": 0}, np.int64(1), ["a", "b"]) == "truly `b`"
    assert answers.truth_words({"mask": 0}, np.int64(1), ["a", "b"]) == ""
