"""The COCO format: boxes, splits, and errors that name their position in the file."""

import json

import numpy as np
import pytest

from suite.data.formats.coco import read_coco
from suite.data.formats.coco_paths import CocoFiles
from suite.errors import DataError
from tests.data.formats.files import over_splits, photo, sorted_out, text

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}, {"id": 13, "name": "stop sign"}]


def image(number, **fields):
    return {"id": number, "file_name": f"{number:04d}.png", "width": 20, "height": 10} | fields


def annotation(number, category=1, box=(2, 3, 4, 5), **fields):
    return {"image_id": number, "category_id": category, "bbox": list(box)} | fields


def document(images, annotations, **changes):
    return json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES} | changes)


def dataset(folder, content, name="annotations/instances_val2017.json", images="val2017", count=4):
    text(folder / name, content)
    for number in range(1, count + 1):
        photo(folder / images / f"{number:04d}.png", seed=number)
    return CocoFiles(str(folder))


def test_boxes_become_corners_and_category_ids_become_names(tmp_path):
    files = dataset(
        tmp_path, document([image(1)], [annotation(1, 90, (2.5, 3, 4, 5.25)), annotation(1, 13, (0, 0, 20, 10))])
    )
    kept, rejected = sorted_out(read_coco(files, "test", seed=0))
    [sample] = kept.values()
    assert sample.id == "validation/0001.png" and sample.input.shape == (3, 10, 20) and not rejected
    assert sample.target["boxes"].tolist() == [[2.5, 3, 6.5, 8.25], [0, 0, 20, 10]]
    assert sample.target["labels"] == ["toothbrush", "stop sign"]
    assert sample.target["ignore"].tolist() == [False, False]


def test_an_image_without_objects_is_kept(tmp_path):
    kept, _ = sorted_out(read_coco(dataset(tmp_path, document([image(1), image(2)], [annotation(1)])), "test", seed=0))
    assert kept["validation/0002.png"].target["boxes"].shape == (0, 4)
    assert kept["validation/0002.png"].target["labels"] == []


def test_crowds_are_ignored_and_invalid_boxes_are_left_to_the_kind(tmp_path):
    boxes = [(1, 1, 0, 5), (15, 5, 10, 10), (5, 5, -3, 2), (float("nan"), 0, 1, 1)]
    files = dataset(
        tmp_path, document([image(1)], [annotation(1, iscrowd=1), *(annotation(1, box=box) for box in boxes)])
    )
    [sample] = sorted_out(read_coco(files, "test", seed=0))[0].values()
    assert sample.target["ignore"].tolist() == [True, False, False, False, False]
    assert sample.target["boxes"][1:4].tolist() == [[1, 1, 1, 6], [15, 5, 25, 15], [5, 5, 2, 7]]
    assert np.isnan(sample.target["boxes"][4, 0])


def test_width_and_height_may_be_missing(tmp_path):
    record = image(1)
    del record["width"], record["height"]
    [sample] = sorted_out(read_coco(dataset(tmp_path, document([record], [annotation(1)])), "test", seed=0))[0].values()
    assert sample.target["boxes"].tolist() == [[2, 3, 6, 8]]


def test_each_error_is_reported_with_its_position(tmp_path):
    images = [image(1), image(2, width=21), image(3), image(4), image(4), {"id": 5}, image(77)]
    annotations = [
        annotation(1),
        annotation(500),
        annotation(1, category=2),
        annotation(1, box=(1, 2, 3)),
        annotation(1, box=("1", 2, 3, 4)),
        {"image_id": 1, "category_id": 1},
        annotation([1]),
        "nothing",
    ]
    files = dataset(tmp_path, document(images, annotations))
    (tmp_path / "val2017" / "0003.png").write_bytes(b"no image")
    kept, rejected = sorted_out(read_coco(files, "test", seed=0))
    assert set(kept) == {"validation/0001.png", "validation/0004.png"}
    assert len(kept["validation/0001.png"].target["boxes"]) == 1
    expected = {
        "validation/0002.png": "20x10 pixels, but the annotation was made for 21x10",
        "validation/0003.png": "not an image",
        "validation/0077.png": "no such image in",
        "instances_val2017.json: images[4]": "file_name '0004.png' and id 4",
        "instances_val2017.json: images[5]": "an id and a file_name",
        "instances_val2017.json: annotations[1]": "no image 500",
        "instances_val2017.json: annotations[2]": "no category 2",
        "instances_val2017.json: annotations[3]": "expected [x, y, width, height]",
        "instances_val2017.json: annotations[4]": "expected [x, y, width, height]",
        "instances_val2017.json: annotations[5]": "bbox None",
        "instances_val2017.json: annotations[6]": "no image [1]",
        "instances_val2017.json: annotations[7]": "got nothing",
    }
    assert rejected.keys() == expected.keys()
    for name, part in expected.items():
        assert part in rejected[name], rejected[name]


BROKEN = {
    "no categories": (json.dumps({"images": [], "annotations": []}), "no list 'categories'"),
    "no annotations": (json.dumps({"images": [], "categories": []}), "no list 'annotations'"),
    "a list": ("[]", "'images' nor 'annotations' nor 'categories'"),
    "no JSON": ('{"images": [],\n"annotations": [}', "line 2"),
    "a category without a name": (document([], [], categories=[{"id": 1}]), "has a category {'id': 1}"),
    "two names": (document([], [], categories=[{"id": 1, "name": n} for n in "ab"]), "category 1 two names"),
    "empty": ("", "line 1"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_malformed_annotation_file_is_an_error(tmp_path, content, message):
    with pytest.raises(DataError, match=r"instances_val2017\.json") as caught:
        list(read_coco(dataset(tmp_path, content), "test", seed=0))
    assert message in str(caught.value)


def test_files_for_all_splits_are_used_unchanged(tmp_path):
    for part, number in (("train2017", 1), ("val2017", 2), ("test2017", 3)):
        content = document([image(number)], [annotation(number)])
        dataset(tmp_path, content, f"annotations/instances_{part}.json", part, number)
    text(tmp_path / "annotations" / "captions_train2017.json", "{}")
    ids, rejected = over_splits(lambda split: read_coco(CocoFiles(str(tmp_path)), split, seed=0))
    assert ids == {"train": {"train/0001.png"}, "validation": {"validation/0002.png"}, "test": {"test/0003.png"}}
    assert not rejected


def test_without_a_test_file_validation_is_the_test_split_and_a_fifth_of_train_the_validation_split(tmp_path):
    records = [image(number) for number in range(1, 11)]
    dataset(
        tmp_path,
        document(records, [annotation(1), annotation(99)]),
        "annotations/instances_train.json",
        "images/train",
        10,
    )
    dataset(tmp_path, document(records[:3], [annotation(98)]), "annotations/instances_val.json", "images/val", 3)
    ids, rejected = over_splits(lambda split: read_coco(CocoFiles(str(tmp_path)), split, seed=0))
    assert len(ids["train"] | ids["validation"]) == 10 and len(ids["train"]) > len(ids["validation"]) > 0
    assert ids["test"] == {f"validation/{number:04d}.png" for number in (1, 2, 3)}
    assert set(rejected) == {"instances_train.json: annotations[1]", "instances_val.json: annotations[0]"}
    again, _ = over_splits(lambda split: read_coco(CocoFiles(str(tmp_path)), split, seed=1))
    assert again["validation"] != ids["validation"]


def test_a_single_file_is_split_by_seed_and_its_errors_are_reported_once(tmp_path):
    records = [image(number) for number in range(1, 11)]
    files = dataset(tmp_path, document(records, [annotation(99)]), "labels.json", "images", 10)
    ids, rejected = over_splits(lambda split: read_coco(files, split, seed=3))
    assert [len(ids[split]) for split in ids] == [5, 2, 3]
    assert set.union(*ids.values()) == {record["file_name"] for record in records}
    assert list(rejected) == ["labels.json: annotations[0]"]


def test_images_next_to_their_annotations_are_read(tmp_path):
    for part in ("train", "valid", "test"):
        dataset(tmp_path, document([image(1)], []), f"{part}/_annotations.coco.json", part, 1)
    ids, _ = over_splits(lambda split: read_coco(CocoFiles(str(tmp_path)), split, seed=0))
    assert ids == {split: {f"{split}/0001.png"} for split in ("train", "validation", "test")}


def test_files_can_be_given_by_name(tmp_path):
    dataset(tmp_path, document([image(1)], []), "one.json", "pictures", 1)
    dataset(tmp_path, document([image(1)], []), "two.json", "pictures", 1)
    with pytest.raises(DataError, match="name the files explicitly"):
        list(read_coco(CocoFiles(str(tmp_path)), "test", seed=0))
    files = CocoFiles(str(tmp_path), images="pictures", test="two.json")
    assert [len(list(read_coco(files, split, seed=0))) for split in ("train", "test")] == [0, 1]
    with pytest.raises(DataError, match=r"three\.json"):
        list(read_coco(CocoFiles(str(tmp_path), test="three.json"), "test", seed=0))


def test_missing_files_are_an_error(tmp_path):
    with pytest.raises(DataError, match="no JSON file"):
        list(read_coco(CocoFiles(str(tmp_path)), "test", seed=0))
    with pytest.raises(DataError, match="not a folder"):
        list(read_coco(CocoFiles(str(tmp_path / "none")), "test", seed=0))


def test_boxes_are_scaled_with_their_image(tmp_path):
    files = dataset(tmp_path, document([image(1)], [annotation(1, box=(2, 3, 4, 5))]))
    [sample] = sorted_out(read_coco(files, "test", seed=0, size=40))[0].values()
    assert sample.input.shape == (3, 40, 40) and sample.input.dtype == np.uint8
    assert sample.target["boxes"].tolist() == [[4, 12, 12, 32]]
