"""What is written in another format comes back as it was."""

import numpy as np
import pytest

from suite.data.builtin.scenes import boxed_scenes
from suite.data.formats.coco import read_coco
from suite.data.formats.coco_files import CocoFiles
from suite.data.formats.writing import to_coco, to_yolo
from suite.data.formats.yolo import read_yolo
from suite.errors import DataError
from suite.types import Sample

CLASSES = ("a", "b", "c")


def samples(seed, ignoring):
    """Return images of odd sizes with 0 to 6 boxes, some of them without area, inverted or outside."""
    generator = np.random.default_rng(seed)
    made = []
    for number in range(12):
        height, width = generator.integers(7, 60, size=2)
        count = number % 7
        boxes = generator.uniform(-5, 65, size=(count, 4))
        boxes[: count // 3, 2] = boxes[: count // 3, 0]
        target = {"boxes": boxes, "labels": [CLASSES[label] for label in generator.integers(3, size=count)]}
        target["ignore"] = generator.random(count) < 0.3 if ignoring else np.zeros(count, dtype=bool)
        made.append(Sample(f"s/{number}", generator.integers(0, 256, (3, height, width), dtype=np.uint8), target))
    return made


def assert_same(before, after, tolerance):
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert (one.input == other.input).all()
        np.testing.assert_allclose(other.target["boxes"], one.target["boxes"], rtol=0, atol=tolerance)
        assert other.target["boxes"].shape == one.target["boxes"].shape
        assert other.target["labels"] == one.target["labels"]
        assert other.target["ignore"].tolist() == list(one.target["ignore"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("part", ["test", "validation", "train"])
def test_coco_keeps_every_box(tmp_path, seed, part):
    before = samples(seed, ignoring=True)
    file = to_coco(before, CLASSES, tmp_path, part=part)
    files = CocoFiles(str(tmp_path), test=str(file), images=part)
    assert_same(before, list(read_coco(files, "test", seed=0)), 1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_yolo_keeps_every_box(tmp_path, seed):
    before = samples(seed, ignoring=False)
    to_yolo(before, CLASSES, tmp_path)
    assert_same(before, list(read_yolo(str(tmp_path), "test", seed=0)), 1e-8)


def test_scenes_of_three_splits_go_through_both_formats(tmp_path):
    scenes = {split: list(boxed_scenes(split, seed=0, count=3)) for split in ("train", "validation", "test")}
    for split, before in scenes.items():
        to_coco(before, "0123456789", tmp_path / "coco", part=split)
        to_yolo(before, "0123456789", tmp_path / "yolo", part=split)
    for split, before in scenes.items():
        assert_same(before, list(read_coco(CocoFiles(str(tmp_path / "coco")), split, seed=0)), 1e-12)
        assert_same(before, list(read_yolo(str(tmp_path / "yolo"), split, seed=0)), 1e-8)


UNWRITABLE = {
    "unknown label": ({"boxes": [[0, 0, 1, 1]], "labels": ["d"]}, "'d' is not one of a, b, c"),
    "unknown index": ({"boxes": [[0, 0, 1, 1]], "labels": [3]}, "3 is not one of"),
    "NaN": ({"boxes": [[0, 0, 1, float("nan")]], "labels": [0]}, "not finite"),
}


@pytest.mark.parametrize("write", [to_coco, to_yolo])
@pytest.mark.parametrize(("target", "message"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_the_formats_cannot_hold_is_an_error(tmp_path, write, target, message):
    with pytest.raises(DataError, match=message):
        write([Sample("s", np.zeros((3, 4, 4), np.uint8), target)], CLASSES, tmp_path)


def test_yolo_has_no_ignored_objects_and_images_are_eight_bit(tmp_path):
    target = {"boxes": [[0, 0, 1, 1]], "labels": [0], "ignore": [True]}
    with pytest.raises(DataError, match="no ignored objects"):
        to_yolo([Sample("s", np.zeros((3, 4, 4), np.uint8), target)], CLASSES, tmp_path)
    with pytest.raises(DataError, match="of float64"):
        to_coco([Sample("s", np.zeros((3, 4, 4)), target)], CLASSES, tmp_path)
