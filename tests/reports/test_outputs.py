"""Outputs as images and in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from suite.reports import drawing, images, objects, outputs
from suite.types import Display, DisplayType
from tests.reports import synthetic as s
from tests.reports import synthetic_scenes as c

GRAY = np.full((3, c.SIDE, c.SIDE), 0.5)


def parts(**values: Any) -> dict[str, Display]:
    """Return the parts of one sample's output."""
    return {name: Display(np.asarray(value), s.PARTS[name], "prediction") for name, value in values.items()}


def target(values: Any, what: DisplayType = "class") -> Display | None:
    return None if values is None else Display(np.asarray(values), what, "truth")


def drawn(output: dict[str, Any], truth: Any, classes: list[str] | None = None) -> np.ndarray:
    truth = target(truth, "boxes" if "boxes" in output else "mask")
    return np.asarray(outputs.draw(GRAY, parts(**output), truth, classes or ["cat", "dog", "cow"])).astype(int)


def with_color(picture: np.ndarray, code: str) -> np.ndarray:
    """Return where a picture has a color, as rows and columns of the image."""
    wanted = [int(code[at : at + 2], 16) for at in (1, 3, 5)]
    factor = picture.shape[0] // c.SIDE
    return np.argwhere((picture == wanted).all(axis=-1)) / factor


def test_detected_boxes_are_solid_and_others_dashed() -> None:
    shares = {}
    for state, row in (
        (objects.DETECTED, c.HIT),
        (objects.WRONG_CLASS, c.MISLABELED),
        (objects.FALSE_POSITIVE, c.FALSE_POSITIVE),
    ):
        picture = drawn({"boxes": c.detections(row)[0]}, c.truth()[0])
        places = with_color(picture, drawing.LINES[state][0])
        left, _, right, bottom = row[:4]
        bottoms = places[np.abs(places[:, 0] - bottom) < 0.5]
        assert np.abs(bottoms[:, 1] - (left + right) / 2).max() <= (right - left) / 2 + 0.5
        shares[state] = len(np.unique(bottoms[:, 1])) / (12 * (right - left))
    assert shares[objects.DETECTED] > 0.95
    assert 0.6 < shares[objects.WRONG_CLASS] < 0.95
    assert shares[objects.FALSE_POSITIVE] < 0.75
    assert len(set(drawing.LINES.values())) == len({pattern for _, pattern in drawing.LINES.values()}) == 5


def test_missed_objects_have_thicker_lines() -> None:
    def white(*rows: tuple[float, ...]) -> int:
        truth = c.truth()[0][:1]
        return len(with_color(drawn({"boxes": c.detections(*rows)[0]}, truth), drawing.WHITE))

    nearby = (3.5, 3.5, 13.5, 13.5, 0.9, 0)
    assert white() > 1.5 * white(nearby) > 0


def test_labels_do_not_overlap_where_there_is_room() -> None:
    taken: list[Any] = []
    for _ in range(5):
        x, y = drawing._room((10, 50), (40, 14), (200, 200), taken)
        taken.append((x, y, x + 40, y + 14))
    heights = sorted(place[1] for place in taken)
    assert (np.diff(heights) >= 14).all()
    assert drawing._room((500, -9), (40, 14), (200, 200), []) == (160, 0)


def test_only_wrong_pixels_are_striped() -> None:
    truth, mask = c.masks()[0], c.worse(c.masks())[0]
    picture = drawn({"mask": mask}, truth, c.SEGMENTS)
    plain = drawn({"mask": mask}, None, c.SEGMENTS)
    factor = picture.shape[0] // c.SIDE
    changed = (picture != plain).any(axis=2).reshape(c.SIDE, factor, c.SIDE, factor).any(axis=(1, 3))
    tags = (plain == 17).all(axis=2).reshape(c.SIDE, factor, c.SIDE, factor).any(axis=(1, 3))
    wrong = (mask != truth) & (truth != 255)
    assert (changed[~tags] == wrong[~tags]).all() and changed.any()


def test_background_keeps_its_colors() -> None:
    mask = np.zeros((c.SIDE, c.SIDE), np.uint8)
    mask[:, 16:] = 1
    picture = drawn({"mask": mask}, None, c.SEGMENTS)
    assert (picture[:, :180] == 128).all()
    assert (picture[:, 300:] != 128).any(axis=-1).all()
    assert (drawn({"mask": mask}, None, ["road", "car"])[:20, :20] != 128).any()


def test_a_region_is_outlined_in_two_colors() -> None:
    region = c.masks()[0] == 1
    picture = np.asarray(drawing.outlined(images.enlarged(np.full((c.SIDE, c.SIDE, 3), 128, np.uint8), 320), region))
    marked = np.argwhere((picture != 128).any(axis=2)) / 10
    assert marked.min() >= 2 and marked.max() < 12
    assert (picture[50:90, 50:90] == 128).all()
    assert {0, 255} <= set(np.unique(picture))


@pytest.mark.parametrize("count", [1, 3, 30])
def test_the_legend_has_room_for_every_name(count: int) -> None:
    names = [f"class number {at}" for at in range(count)]
    picture = drawing.legend(range(count), names, 400)
    assert picture.width <= 400 and picture.height == 24 * -(-count // max(1, 400 // (picture.width // min(count, 3))))
    assert np.asarray(picture).min() < 60


def test_labels_in_words() -> None:
    one = parts(prediction=1, confidence=0.8)
    assert outputs.describe(one, target(1), ["a", "b"]) == "predicts `b` (correct), confidence 80.0 %"
    assert outputs.describe(one, target(0), ["a"]) == "predicts `class 1` (wrong), confidence 80.0 %"
    assert outputs.describe(parts(prediction=0), target(0), ["a"]) == "predicts `a` (correct)"
    assert outputs.describe({}, target(0), []) == "no output was stored"
    assert outputs.describe(one, None, []) == "the target was not stored"
    boxes = parts(boxes=c.detections((9, 9, 2, 2, 0.5, 0))[0])
    assert outputs.describe(boxes, target(c.truth()[0], "boxes"), []) == "invalid boxes"


def test_a_mask_in_words() -> None:
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 255]])
    mask = np.array([[0, 0, 1, 0], [3, 3, 1, 1]])
    # IoU of the classes 0, 1, 2 and 3: 2/3, 1/2, 0, 0; three of six pixels are correct.
    text = outputs.describe(parts(mask=mask), target(truth, "mask"), c.SEGMENTS)
    named = f"missed entirely: `{s.HOSTILE_CLASS}`; predicted but absent: `{c.NAMES[2]}`"
    assert text == f"mean IoU 29.2 %; pixel accuracy 50.0 %; {named}"
    assert outputs.describe(parts(mask=mask), target(np.full((2, 4), 255), "mask"), []) == "no pixel is scored"


def test_invalid_outputs_leave_the_plain_image() -> None:
    plain = drawn({}, None)
    assert (drawn({"boxes": c.detections((9, 9, 2, 2, 0.5, 0))[0]}, c.truth()[0]) == plain).all()
    assert (drawn({"mask": np.zeros((3, 3), int)}, None) == plain).all()
    assert (np.asarray(outputs.draw(np.uint8(255 * GRAY), {}, None, [])) == plain - 1).all()


def test_numbers_and_flags_in_words() -> None:
    output = {"divergence": Display(np.float64(12.34), "number"), "on manifold": Display(np.True_, "flag")}
    assert outputs.describe(output, None, []) == "`divergence` 12.3, `on manifold` yes"
    one = {"prediction": Display(np.float64(151.6), "number")}
    truth = target(140.0, "number")
    assert outputs.clean_caption(one, truth, []) == "clean, true value 140: `prediction` 152"


def test_type_and_role_determine_the_output() -> None:
    stored = s.typed(
        {
            "label": c.masks(),
            **{f"{part}_{name}": c.masks() for part in ("mask", "image") for name in ("clean", "fog")},
        },
        truth="mask",
    )
    foggy = outputs.output_of(stored, 0, "changed_prediction", {"corruption": "fog"})
    assert {name: part.type for name, part in foggy.items()} == {"mask": "mask"} and outputs.is_scene(foggy)
    assert outputs.output_of(stored, 9, "changed_prediction") == {}
    assert outputs.output_of(stored, 0, "changed_prediction", {"corruption": "snow"}) == {}
    assert outputs.how_to_read(stored) == outputs.MASK_KEY
    assert outputs.how_to_read(s.typed({"clean_boxes": c.detections()})) == outputs.BOXES_KEY
    assert outputs.how_to_read(s.typed({"clean_prediction": np.zeros(1)})) == ""
    assert outputs.legend(stored, c.SEGMENTS) and outputs.legend(s.typed({"clean_boxes": c.detections()}), []) is None
    assert outputs.describe_truth(parts(prediction=0), target(1), ["a", "b"]) == "true class `b`"
    assert outputs.describe_truth(parts(mask=0), target(1), ["a", "b"]) == ""


def test_names_of_parts_are_without_the_words_of_their_input() -> None:
    one = np.zeros((1, 1, 2, 2))
    stored = s.typed({"clean": np.zeros((1, 4)), "clean_on_manifold": [True], "clean_generated": one}, "latent")
    output = outputs.output_of(stored, 0)
    assert outputs.describe(output, None, []) == "`on manifold` yes"
    assert set(outputs.pictures(output)) == {"generated"}
    stored = s.typed({"image_gaussian_noise": one, "divergence_gaussian_noise": [3.0]})
    assert list(outputs.output_of(stored, 0, "changed_prediction")) == ["divergence"]
    assert outputs.output_of(stored, 0) == {}


def test_character_predictions_in_words() -> None:
    output = parts(prediction=[9, 9, 1, 2, 3], confidence=[0, 0, 0.5, 0.5, 0.8])
    expected = "predicts 2 of the 3 scored characters correctly, mean confidence 60.0 %"
    assert outputs.describe(output, target([1, 2, 4]), []) == expected
    assert outputs.describe(output, target(np.zeros(9)), []) == "predicts 5 characters"
    assert outputs.describe_truth(output, target([1, 2, 4]), ["a"]) == ""
