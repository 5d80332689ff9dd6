"""Validation of boxes: clipped, ignored or refused with a reason, and the data report says which."""

import numpy as np
import pytest
import torch

from suite.data import load
from suite.errors import DataError
from suite.kinds.detection.kind import Detection
from suite.kinds.detection.targets import objects
from suite.metrics.detection import image_errors
from suite.registry import Entry
from suite.spec import parse
from suite.types import Sample

NAMES = ("cat", "dog")
SIZE = (20, 30)
GOOD = (1.0, 2.0, 11.0, 12.0)


def image(value=100, shape=(3, *SIZE)):
    return np.full(shape, value, np.uint8)


def target(*boxes, labels=None, **more):
    return {"boxes": [list(box) for box in boxes], "labels": labels or ["cat"] * len(boxes), **more}


def loaded(*samples, classes=NAMES):
    """Load a task with these test samples, given as (input, target)."""
    meta = {"kind": "detection", "classes": classes, "version": "1", "source": ""}
    given = [Sample(f"s{place}", *sample) for place, sample in enumerate(samples)]
    entry = Entry("task", "given", lambda split, seed: iter(given if split == "test" else []), "here", meta=meta)
    return load(entry, parse("given"), seed=0, kind=Detection().kind())


def refused(value, truth, **fields):
    """Return why a sample is dropped from a task that also has a valid one."""
    data = loaded((value, truth), (image(7), target(GOOD)), **fields)
    assert data.test.ids == ("s1",) and set(data.report.dropped) == {"unusable"}
    ((name, reason),) = data.report.dropped["unusable"]
    assert name == "s0" and reason in data.report.sentence()
    return reason


def real(table):
    return table[table[:, 4] != -1].tolist()


def test_labels_may_be_names_or_indices_and_padding_has_no_class():
    data = loaded(
        (image(), target(GOOD, (0, 0, 5, 5), labels=["dog", 0], ignore=[False, True])), (image(1), target(GOOD))
    )
    assert data.test.targets.shape == (2, 2, 6) and data.test.targets.dtype == np.float32
    assert real(data.test.targets[0]) == [[*GOOD, 1, 0], [0, 0, 5, 5, 0, 1]]
    assert real(data.test.targets[1]) == [[*GOOD, 0, 0]]
    assert data.test.targets[1, 1].tolist() == [0, 0, 0, 0, -1, 0]
    assert data.report.dropped == {} and data.info.classes == NAMES


REFUSED = {
    "zero width": ((5, 5, 5, 9), "is inverted or has no area"),
    "zero height": ((5, 5, 9, 5), "is inverted or has no area"),
    "inverted in x": ((9, 5, 5, 9), "is inverted or has no area"),
    "inverted in y": ((5, 9, 9, 5), "is inverted or has no area"),
    "outside": ((40, 5, 50, 9), "covers nothing of the image of 20x30"),
    "left of the image": ((-9, 5, -1, 9), "covers nothing of the image of 20x30"),
    "touching the image": ((30, 5, 40, 9), "covers nothing of the image of 20x30"),
}


@pytest.mark.parametrize("way", REFUSED)
def test_an_image_with_an_invalid_box_is_dropped(way):
    box, reason = REFUSED[way]
    got = refused(image(), target(GOOD, box))
    assert f"box 1 ({box[0]:g}, {box[1]:g}, {box[2]:g}, {box[3]:g}) {reason}" in got


TINY = {
    "half a pixel inside": ((29.5, 5, 40, 9), [29.5, 5, 30, 9]),
    "tiny": ((5, 5, 5.5, 9), [5, 5, 5.5, 9]),
}


@pytest.mark.parametrize("way", TINY)
def test_a_box_of_less_than_a_pixel_is_ignored_and_counted(way):
    box, kept = TINY[way]
    data = loaded((image(), target(box, GOOD, labels=["dog", "cat"])))
    assert real(data.test.targets[0]) == [[*kept, 1, 1], [*GOOD, 0, 0]]
    ((name, remark),) = data.report.dropped["part of a sample"]
    assert name == "s0" and data.report.kept["test"] == 1 and "kept without a part (" in data.report.sentence()
    assert remark == (
        f"box 0 ({', '.join(f'{value:g}' for value in box)}) covers less than a pixel of the image of 20x30; "
        "it is ignored"
    )


@pytest.mark.parametrize("finds_it", [True, False])
def test_a_detector_is_not_blamed_for_a_tiny_object(finds_it):
    data = loaded((image(), target((5, 5, 5.5, 9), GOOD)))
    detections = np.array([[[*GOOD, 0.9, 0], [5, 5, 5.5, 9, 0.9, 0]]], np.float32)
    assert image_errors(detections[:, : 1 + finds_it], data.test.targets, 0.5).tolist() == [0]


def test_every_tiny_box_is_counted():
    data = loaded(
        (image(), target((5, 5, 5.5, 9), GOOD, (9, 5, 9.5, 9))),
        (image(1), target((1, 5, 1.5, 9))),
        (image(2), target()),
    )
    assert [name for name, _ in data.report.dropped["part of a sample"]] == ["s0", "s0", "s1"]
    assert [[row[5] for row in real(table)] for table in data.test.targets] == [[1, 0, 1], [1], []]


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((-5, -5, 10, 10), [0, 0, 10, 10]),
        ((20, 10, 99, 99), [20, 10, 30, 20]),
        ((-1, -1, 31, 21), [0, 0, 30, 20]),
        ((29, 5, 40, 9), [29, 5, 30, 9]),
        ((5, 5, 6, 6), [5, 5, 6, 6]),
    ],
)
def test_box_is_clipped_to_the_image(box, kept):
    data = loaded((image(), target(box)))
    assert real(data.test.targets[0]) == [[*kept, 0, 0]] and data.report.dropped == {}


@pytest.mark.parametrize("empty", [np.zeros((0, 4)), np.zeros(0), [], (), np.zeros((0, 4), int)], ids=repr)
def test_image_without_boxes_is_valid(empty):
    data = loaded((image(), {"boxes": empty, "labels": []}))
    assert data.test.targets.shape == (1, 1, 6) and real(data.test.targets[0]) == []
    assert data.report.dropped == {}


UNUSABLE = {
    "nan": (target((1, 2, np.nan, 9)), r"box 0 \(1, 2, nan, 9\) has coordinates that are not finite"),
    "infinite": (target(GOOD, (1, 2, np.inf, 9)), r"box 1 \(1, 2, inf, 9\) has coordinates that are not finite"),
    "as many as classes": (target(GOOD, labels=[2]), "box 0: the label 2; expected .* from 0 to 1"),
    "minus one": (target(GOOD, labels=[-1]), "box 0: the label -1; expected .* from 0 to 1"),
    "unknown name": (target(GOOD, labels=["cow"]), "box 0: the class 'cow' is not one of cat, dog"),
    "float label": (target(GOOD, labels=[1.0]), "the label 1.0; expected a class name or an index"),
    "bool label": (target(GOOD, labels=[True]), "the label True; expected a class name or an index"),
    "no label": (target(GOOD, labels=["cat", "dog"]), r"boxes of shape \(1, 4\) with 2 labels"),
    "xywh and class": (target((1, 2, 3, 4, 5)), r"boxes of shape \(1, 5\) .*expected \(k, 4\)"),
    "one flat box": ({"boxes": list(GOOD), "labels": ["cat"]}, r"boxes of shape \(4,\)"),
    "two marks": (target(GOOD, ignore=[0, 1]), "2 ignore flags"),
    "no mapping": ([GOOD], "the target is list; expected a mapping with boxes and labels"),
    "no labels": ({"boxes": [GOOD]}, "the target is a mapping with boxes; expected"),
    "label alone": (0, "the target is int"),
}


@pytest.mark.parametrize("way", UNUSABLE)
def test_invalid_sample_is_dropped_with_its_id_and_the_reason(way):
    import re

    truth, reason = UNUSABLE[way]
    assert re.search(reason, refused(image(), truth))


@pytest.mark.parametrize(
    "truth",
    [
        {"boxes": [[1, 2, 3], [1, 2, 3, 4]], "labels": ["cat", "cat"]},
        {"boxes": [["a", "b", "c", "d"]], "labels": ["cat"]},
        {"boxes": None, "labels": []},
        {"boxes": [GOOD], "labels": 0},
    ],
    ids=["ragged", "text", "none", "one number for labels"],
)
def test_ragged_targets_raise_data_error(truth):
    assert refused(image(), truth)


def test_targets_may_be_tensors():
    data = loaded((image(), {"boxes": torch.tensor([GOOD]), "labels": torch.tensor([1]).numpy()}))
    assert real(data.test.targets[0]) == [[*GOOD, 1, 0]]


def test_undeclared_classes_are_collected_and_indices_are_invalid():
    data = loaded((image(), target(GOOD, labels=["owl"])), (image(1), target(GOOD, labels=["ant"])), classes=None)
    assert data.info.classes == ("ant", "owl")
    assert [real(table)[0][4] for table in data.test.targets] == [1, 0]
    reason = refused(image(), target(GOOD, labels=[0]), classes=None)
    assert "box 0: the label 0; expected a class name" in reason


IMAGES = {
    "0 to 255 floats": (np.full((3, *SIZE), 200.0), "expected 0..1 .divide 8-bit values by 255"),
    "negative": (np.full((3, *SIZE), -0.1), "pixels from -0.1"),
    "nan": (np.full((3, *SIZE), np.nan), "1800 pixels are NaN or infinite"),
    "channels last": (np.zeros((*SIZE, 3), np.uint8), "has its channels last"),
    "int64": (np.zeros((3, *SIZE), np.int64), "pixels of type int64"),
    "four axes": (np.zeros((1, 3, *SIZE), np.uint8), "an image of shape"),
    "nothing": (np.zeros((3, 0, 5), np.uint8), "an image of shape"),
}


@pytest.mark.parametrize("way", IMAGES)
def test_invalid_image_is_dropped_with_a_reason(way):
    import re

    value, reason = IMAGES[way]
    assert re.search(reason, refused(value, target(GOOD)))


@pytest.mark.parametrize("shape", [SIZE, (1, *SIZE)])
def test_grayscale_keeps_one_channel_and_its_boxes(shape):
    data = loaded((image(shape=shape), target((20, 10, 99, 99))))
    assert data.test.inputs.shape == (1, 1, *SIZE)
    assert real(data.test.targets[0]) == [[20, 10, 30, 20, 0, 0]]


def test_uint8_and_float_images_have_equal_pixels_and_cannot_be_mixed():
    whole = loaded((image(51), target(GOOD)))
    parts = loaded((np.full((3, *SIZE), 0.2), target(GOOD)))
    assert whole.test.inputs.dtype == np.uint8 and parts.test.inputs.dtype == np.float32
    assert np.allclose(whole.test.pixels(), parts.test.pixels())
    with pytest.raises(DataError, match="mixes inputs of type"):
        loaded((image(51), target(GOOD)), (np.full((3, *SIZE), 0.2), target(GOOD)))


def test_error_lists_the_reasons_if_no_sample_is_left():
    with pytest.raises(DataError, match=r"no usable test sample.*the label 7; expected"):
        loaded((image(), target(GOOD, labels=[7])))


def test_equal_images_with_different_boxes_are_reported():
    data = loaded((image(), target(GOOD)), (image(), target((0, 0, 5, 5))), (image(), target(GOOD)))
    assert [text for _, text in data.report.dropped["duplicate"]] == [
        "test sample equal to s0 in test, which has other targets",
        "test sample equal to s0 in test",
    ]


def test_digest_depends_on_every_box():
    one, same, other = (loaded((image(), target(box))).digest for box in (GOOD, GOOD, (1, 2, 11, 13)))
    assert one == same != other


def test_validation_does_not_modify_the_target():
    given = {"boxes": np.array([[-5.0, -5, 10, 10]]), "labels": ["cat"]}
    kept, remarks = objects(given, SIZE, NAMES)
    assert given["boxes"].tolist() == [[-5, -5, 10, 10]] and remarks == ()
    assert kept.boxes.tolist() == [[0, 0, 10, 10]] and kept.boxes.dtype == np.float32
