"""The COCO format: boxes, classes, splits, and errors that name their position in the file."""

import json
import os

import numpy as np
import pytest

from suite import load
from suite.data.formats.coco import read_coco
from suite.data.formats.coco_paths import CocoFiles
from suite.data.formats.pixel_format import PixelFormat
from suite.errors import DataError
from suite.types import ClassNames, Remark
from tests.data.formats.files import SPLITS, over_splits, photo, sorted_out, text

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


def test_crowds_are_ignored(tmp_path):
    files = dataset(tmp_path, document([image(1)], [annotation(1, iscrowd=1), annotation(1, box=(15, 5, 10, 10))]))
    [sample] = sorted_out(read_coco(files, "test", seed=0))[0].values()
    assert sample.target["ignore"].tolist() == [True, False]
    assert sample.target["boxes"].tolist() == [[2, 3, 6, 8], [15, 5, 25, 15]]


def test_width_and_height_may_be_missing(tmp_path):
    record = image(1)
    del record["width"], record["height"]
    [sample] = sorted_out(read_coco(dataset(tmp_path, document([record], [annotation(1)])), "test", seed=0))[0].values()
    assert sample.target["boxes"].tolist() == [[2, 3, 6, 8]]


def test_images_that_cannot_be_used_are_rejected_with_the_position_in_the_file(tmp_path):
    images = [image(1), image(2, width=21), image(3), image(4), image(4), {"id": 5}, image(77)]
    images += [image(8), image(8, file_name="eight.png"), image(9), image(10, file_name="0009.png")]
    annotations = [annotation(1), annotation(8), annotation(500), annotation([1]), "nothing"]
    files = dataset(tmp_path, document(images, annotations))
    (tmp_path / "val2017" / "0003.png").write_bytes(b"no image")
    kept, rejected = sorted_out(read_coco(files, "test", seed=0))
    assert {name: len(sample.target["boxes"]) for name, sample in kept.items()} == {
        "validation/0001.png": 1,
        "validation/0004.png": 0,
    }
    unclear = "is also that of another image, so it is unclear which objects belong to this one"
    expected = {
        "validation/0002.png": "20x10 pixels, but the annotation was made for 21x10",
        "validation/0003.png": "not an image",
        "validation/0077.png": "no such image in",
        "instances_val2017.json: images[4]": "repeats images[3], id 4 and file_name '0004.png'",
        "instances_val2017.json: images[5]": "an id and a file_name",
        "instances_val2017.json: images[7]": f"id 8 {unclear}",
        "instances_val2017.json: images[8]": f"id 8 {unclear}",
        "instances_val2017.json: images[9]": f"file_name '0009.png' {unclear}",
        "instances_val2017.json: images[10]": f"file_name '0009.png' {unclear}",
        "instances_val2017.json: annotations[2]": "there is no image 500",
        "instances_val2017.json: annotations[3]": "there is no image [1]",
        "instances_val2017.json: annotations[4]": "got 'nothing'",
    }
    assert rejected.keys() == expected.keys()
    for name, part in expected.items():
        assert part in rejected[name], rejected[name]


UNREADABLE = {
    "category": (annotation(1, category=2), "there is no category 2"),
    "three numbers": (annotation(1, box=(1, 2, 3)), "bbox [1, 2, 3]; expected [x, y, width, height]"),
    "a word": (annotation(1, box=("a", 2, 3, 4)), "expected [x, y, width, height]"),
    "a text of four digits": (annotation(1) | {"bbox": "1234"}, "bbox '1234'; expected [x, y, width, height]"),
    "not a number": (annotation(1, box=(float("nan"), 2, 3, 4)), "bbox [nan, 2, 3, 4]; expected"),
    "infinite": (annotation(1, box=(1, 2, float("inf"), 4)), "expected [x, y, width, height]"),
    "negative width": (annotation(1, box=(5, 5, -3, 2)), "expected a width and a height above 0"),
    "no height": (annotation(1, box=(5, 5, 3, 0)), "expected a width and a height above 0"),
    "no box": ({"image_id": 1, "category_id": 1}, "no bbox, nor polygons in segmentation"),
    "null": ({"image_id": 1, "category_id": 1, "bbox": None}, "no bbox, nor polygons in segmentation"),
    "run lengths": (annotation(1, box=(), segmentation={"counts": "a", "size": [1, 2]}), "no bbox, nor polygons"),
    "odd polygon": (annotation(1, box=(), segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "no bbox, and a polygon"),
    "short polygon": (annotation(1, box=(), segmentation=[[1, 2, 3, 4]]), "a polygon of 2 points"),
    "crowd as a word": (annotation(1, iscrowd="maybe"), "iscrowd is 'maybe'; expected 1 or 0, or a word"),
    "crowd of two": (annotation(1, iscrowd=2), "iscrowd is 2; expected 1 or 0"),
}


@pytest.mark.parametrize(("unreadable", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_image_is_rejected_if_one_of_its_annotations_cannot_be_read(tmp_path, unreadable, reason):
    files = dataset(tmp_path, document([image(1), image(2)], [annotation(2), annotation(1), unreadable]))
    kept, rejected = sorted_out(read_coco(files, "test", seed=0))
    assert set(kept) == {"validation/0002.png"} and set(rejected) == {"validation/0001.png"}
    assert rejected["validation/0001.png"].startswith("annotations[2]: ") and reason in rejected["validation/0001.png"]


def test_further_unreadable_annotations_of_an_image_are_counted(tmp_path):
    wrong = annotation(1, category=2)
    _, rejected = sorted_out(read_coco(dataset(tmp_path, document([image(1)], [wrong, wrong])), "test", seed=0))
    assert rejected == {"validation/0001.png": "annotations[0]: there is no category 2 (and 1 more of this image)"}


NOT_CROWDS, CROWDS = (0, "0", False, "false", "False", "no", 0.0, "0.0", None, ""), (1, "1", True, "true", "Yes", 1.0)


@pytest.mark.parametrize("value", [*NOT_CROWDS, *CROWDS], ids=repr)
def test_flags_are_read_in_every_spelling(tmp_path, value):
    files = dataset(tmp_path, document([image(1)], [annotation(1, iscrowd=value)]))
    [sample] = sorted_out(read_coco(files, "test", seed=0))[0].values()
    assert sample.target["ignore"].tolist() == [(isinstance(value, bool) and value) or value in CROWDS]


@pytest.mark.parametrize("spell", [str, float, lambda number: f" {number} ", lambda number: f"{number:03d}"])
@pytest.mark.parametrize("where", ["images", "annotations"])
def test_ids_may_be_text_in_one_list_and_numbers_in_the_other(tmp_path, spell, where):
    images, annotations = [image(1), image(2)], [annotation(1, 90), annotation(2, 13)]
    for record in images if where == "images" else annotations:
        record |= {key: spell(record[key]) for key in ("id", "image_id", "category_id") if key in record}
    kept, rejected = sorted_out(read_coco(dataset(tmp_path, document(images, annotations)), "test", seed=0))
    assert [sample.target["labels"] for sample in kept.values()] == [["toothbrush"], ["stop sign"]] and not rejected


def test_ids_may_be_words(tmp_path):
    images, categories = [image(1, id="one"), image(2, id="two")], [{"id": "z", "name": "a"}, {"id": "b", "name": "c"}]
    content = document(images, [annotation("two", "b")], categories=categories)
    items = list(read_coco(dataset(tmp_path, content), "test", seed=0))
    kept, _ = sorted_out(items)
    assert [sample.target["labels"] for sample in kept.values()] == [[], ["c"]]
    assert [item.names for item in items if isinstance(item, ClassNames)] == [("a", "c")]  # as in the file


def test_numbers_of_boxes_may_be_text(tmp_path):
    files = dataset(
        tmp_path, document([image(1, width="20", height="10.0")], [annotation(1, box=("1.5", "2", 3, "4e0"))])
    )
    [sample] = sorted_out(read_coco(files, "test", seed=0))[0].values()
    assert sample.target["boxes"].tolist() == [[1.5, 2, 4.5, 6]]


def test_a_file_is_refused_if_no_annotation_belongs_to_an_image_of_it(tmp_path):
    files = dataset(tmp_path, document([image(1)], [annotation("a"), annotation("b")]))
    with pytest.raises(
        DataError, match=r"None of the 2 annotations.*no image 'a'; the ids of its images are such as 1"
    ):
        list(read_coco(files, "test", seed=0))


def test_polygons_without_a_box_become_the_box_around_them(tmp_path):
    polygons = [[2, 3, 8, 3.5, 5, 9], [1, 4, 2, 4, 2, 5]]
    records = [annotation(1, box=(), segmentation=polygons), annotation(1, segmentation=polygons)]
    [sample] = sorted_out(read_coco(dataset(tmp_path, document([image(1)], records)), "test", seed=0))[0].values()
    assert sample.target["boxes"].tolist() == [[1, 3, 8, 9], [2, 3, 6, 8]]


def test_repeated_annotations_count_once_and_are_said(tmp_path):
    records = [annotation(1), annotation(1, 90), annotation(1), annotation(2), annotation(2), annotation(1, iscrowd=1)]
    items = list(read_coco(dataset(tmp_path, document([image(1), image(2)], records), count=2), "test", seed=0))
    assert [len(sample.target["labels"]) for sample in sorted_out(items)[0].values()] == [3, 1]
    assert [item.text for item in items if isinstance(item, Remark)][1:] == [
        "instances_val2017.json: labels that repeat another one of their image (same class and box) and count once: 2, "
        "such as annotations[2]"
    ]


def order(items):
    return [(item.names, item.source) for item in items if isinstance(item, ClassNames)]


def test_classes_have_the_order_of_the_category_ids(tmp_path):
    files = dataset(tmp_path, document([image(1)], [annotation(1, 13)]))
    items = list(read_coco(files, "test", seed=0))
    assert order(items) == [(("person", "stop sign", "toothbrush"), "the category ids in instances_val2017.json")]
    text_ids = [record | {"id": str(record["id"])} for record in CATEGORIES]
    files = dataset(tmp_path, document([image(1)], [annotation(1, 13)], categories=text_ids))
    assert order(read_coco(files, "test", seed=0)) == order(items)
    assert order(read_coco(files, "test", seed=0, classes=["stop sign"])) == []


def test_parts_with_other_categories_are_an_error_that_names_the_file(tmp_path):
    for part, categories in (("train", CATEGORIES), ("val", CATEGORIES[::2]), ("test", CATEGORIES)):
        numbers = {"train": (1, 2), "val": (3, 4), "test": (5, 6)}[part]
        content = document([image(n) for n in numbers], [annotation(n) for n in numbers], categories=categories)
        text(tmp_path / "annotations" / f"instances_{part}.json", content)
        for number in numbers:
            photo(tmp_path / "images" / f"{number:04d}.png", seed=number)
    with pytest.raises(DataError, match=r"category ids in instances_val\.json"):
        load(f"coco(path='{tmp_path}')")
    data = load(f"coco(path='{tmp_path}', classes=['stop sign', 'person'])")
    assert data.info.classes == ("stop sign", "person") and data.test.targets[..., 4].tolist() == [[1], [1]]


def test_two_categories_of_one_name_need_an_order_from_the_user(tmp_path):
    files = dataset(
        tmp_path, document([image(1)], [annotation(1)], categories=[{"id": n, "name": "a"} for n in (1, 2)])
    )
    with pytest.raises(DataError, match=r"several categories of the name 'a'.*give classes="):
        list(read_coco(files, "test", seed=0))
    items = read_coco(files, "test", seed=0, classes=["a"])
    assert "several categories of the name 'a' are one class" in " ".join(str(item) for item in items)


PATHS = {
    "backslashes": "sub\\0001.png",
    "URL escapes": "sub/%30001.png",
    "a way up inside": "../val2017/sub/0001.png",
    "a URL": "http://images.cocodataset.org/sub/0001.png?size=full",
}


@pytest.mark.parametrize("name", PATHS.values(), ids=PATHS)
def test_images_are_found_by_every_spelling_of_their_path(tmp_path, name):
    photo(tmp_path / "val2017" / "sub" / "0001.png")
    kept, rejected = sorted_out(
        read_coco(dataset(tmp_path, document([image(1, file_name=name)], []), count=0), "test", seed=0)
    )
    assert len(kept) == 1 and not rejected


def test_an_image_without_a_file_name_has_the_name_in_its_url(tmp_path):
    record = {"id": 1, "coco_url": "http://images.cocodataset.org/val2017/0001.png"}
    kept, _ = sorted_out(read_coco(dataset(tmp_path, document([record], [])), "test", seed=0))
    assert set(kept) == {"validation/0001.png"}


@pytest.mark.parametrize("absolute", [False, True])
def test_images_outside_the_folder_are_refused(tmp_path, absolute):
    photo(tmp_path / "secret.png")
    name = str(tmp_path / "secret.png") if absolute else "../../secret.png"
    files = dataset(tmp_path / "data", document([image(1, file_name=name), image(2)], []))
    kept, rejected = sorted_out(read_coco(files, "test", seed=0))
    assert set(kept) == {"validation/0002.png"}
    assert list(rejected.values()) == [f"{name!r} is outside the data set's folder; move the image into it"]


@pytest.mark.parametrize("name", ["\ud800.png", "a\0.png", "a" * 5000, "/", "sub"], ids=ascii)
def test_names_that_no_image_can_have_are_rejected(tmp_path, name):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    content = document([image(1, file_name=name), *map(image, range(2, 8))], [])
    files = dataset(tmp_path, content, "labels.json", "images", 7)
    kept, rejected = [], {}
    for split in ("train", "validation", "test"):
        some, reasons = sorted_out(read_coco(files, split, seed=0))
        kept += some
        rejected |= reasons
    assert len(kept) == 6 and set(rejected) == {name}


def test_a_number_of_5000_digits_is_no_number_of_a_box(tmp_path):
    content = document([image(1), image(2)], [annotation(2), annotation(1)]).replace(
        "[2, 3, 4, 5]}]", f"[{'9' * 5000}, 3, 4, 5]}}]"
    )
    kept, rejected = sorted_out(read_coco(dataset(tmp_path, content), "test", seed=0))
    assert set(kept) == {"validation/0002.png"} and "expected [x, y, width, height]" in rejected["validation/0001.png"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_encoding_of_json_is_read(tmp_path, encoding):
    files = dataset(tmp_path, "")
    content = document([image(1)], [annotation(1)], categories=[{"id": 1, "name": "caf\u00e9"}])
    (tmp_path / "annotations" / "instances_val2017.json").write_bytes(
        json.dumps(json.loads(content), ensure_ascii=False).encode(encoding)
    )
    [sample] = sorted_out(read_coco(files, "test", seed=0))[0].values()
    assert sample.target["labels"] == ["caf\u00e9"]


BROKEN = {
    "no categories": (json.dumps({"images": [], "annotations": []}), "no list 'categories'"),
    "no annotations": (json.dumps({"images": [], "categories": []}), "no list 'annotations'"),
    "a list": ("[]", "'images' nor 'annotations' nor 'categories'"),
    "no JSON": ('{"images": [],\n"annotations": [}', "line 2"),
    "a category without a name": (document([], [], categories=[{"id": 1}]), "has a category {'id': 1}"),
    "two names": (document([], [], categories=[{"id": 1, "name": n} for n in "ab"]), "category 1 two names"),
    "empty": ("", "is not JSON but an empty file"),
    "a page": ("<!DOCTYPE html><html>", "is not JSON but an HTML page"),
    "a pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "a Git LFS pointer: run git lfs pull"),
    "truncated": (document([], [])[:-20], "the file ends too early"),
    "JSON lines": ('{"images": []}\n{"images": []}', "line 2, column 1: Extra data; expected one object"),
    "nested": ("[" * 100_000, "nested too deeply"),
    "a key twice": ('{"images": [{"id": 1, "id": 2}]}', "an object has the key 'id' twice"),
    "no category": (document([], [], categories=[]), "has no categories"),
    "an empty name": (document([], [], categories=[{"id": 1, "name": ""}]), "has a category {'id': 1, 'name': ''}"),
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
    dataset(
        tmp_path,
        document(records[:3], [annotation(98), annotation(1)]),
        "annotations/instances_val.json",
        "images/val",
        3,
    )
    ids, rejected = over_splits(lambda split: read_coco(CocoFiles(str(tmp_path)), split, seed=0))
    assert len(ids["train"] | ids["validation"]) == 10 and len(ids["train"]) > len(ids["validation"]) > 0
    assert ids["test"] == {f"validation/{number:04d}.png" for number in (1, 2, 3)}
    assert set(rejected) == {"instances_train.json: annotations[1]", "instances_val.json: annotations[0]"}
    again, _ = over_splits(lambda split: read_coco(CocoFiles(str(tmp_path)), split, seed=1))
    assert again["validation"] != ids["validation"]


def test_a_single_file_is_split_by_seed_and_its_errors_are_reported_once(tmp_path):
    records = [image(number) for number in range(1, 11)]
    files = dataset(tmp_path, document(records, [annotation(99), annotation(1)]), "labels.json", "images", 10)
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
    assert [len(sorted_out(read_coco(files, split, seed=0))[0]) for split in ("train", "test")] == [0, 1]
    with pytest.raises(DataError, match=r"three\.json"):
        list(read_coco(CocoFiles(str(tmp_path), test="three.json"), "test", seed=0))


def test_missing_files_are_an_error(tmp_path):
    with pytest.raises(DataError, match="no JSON file"):
        list(read_coco(CocoFiles(str(tmp_path)), "test", seed=0))
    with pytest.raises(DataError, match="not a folder"):
        list(read_coco(CocoFiles(str(tmp_path / "none")), "test", seed=0))


def test_boxes_are_scaled_with_their_image(tmp_path):
    files = dataset(tmp_path, document([image(1)], [annotation(1, box=(2, 3, 4, 5))]))
    [sample] = sorted_out(read_coco(files, "test", seed=0, pixels=PixelFormat(40)))[0].values()
    assert sample.input.shape == (3, 40, 40) and sample.input.dtype == np.uint8
    assert sample.target["boxes"].tolist() == [[4, 12, 12, 32]]


def unlisted(files):
    remarks = {item.text for split in SPLITS for item in read_coco(files, split, seed=0) if isinstance(item, Remark)}
    return sorted(text for text in remarks if "annotation files" in text)


def test_images_that_no_annotation_file_lists_are_counted(tmp_path):
    files = dataset(tmp_path, document([image(1), image(3, file_name="./0003.png")], []))
    assert unlisted(files) == ["2 of 4 images are in none of the annotation files that are used, such as 0002.png"]


def test_images_of_another_part_in_the_same_folder_are_listed(tmp_path):
    text(tmp_path / "annotations" / "instances_train.json", document([image(1), image(2)], []))
    files = dataset(tmp_path, document([image(3), image(4)], []), images="images")
    assert unlisted(files) == []
    photo(tmp_path / "images" / "more" / "0001.png")
    assert unlisted(files) == ["1 of 5 images are in none of the annotation files that are used, such as 0001.png"]


def test_a_record_that_cannot_be_used_lists_its_image_all_the_same(tmp_path):
    files = dataset(tmp_path, document([image(1), image(1, file_name="0002.png"), image(3)], []), count=3)
    assert unlisted(files) == []


def test_a_folder_of_images_that_is_none_is_an_error(tmp_path):
    dataset(tmp_path, document([image(1)], []))
    for name in ("nowhere", "x" * 300):
        with pytest.raises(DataError, match=f"{name}' is not a folder"):
            list(read_coco(CocoFiles(str(tmp_path), images=name), "test", seed=0))


def test_an_annotation_file_that_is_a_fifo_is_an_error_and_not_waited_for(tmp_path):
    dataset(tmp_path, document([image(1)], []))
    os.mkfifo(tmp_path / "train.json")
    with pytest.raises(DataError, match=r"train.json' cannot be read: a FIFO \(named pipe\), not a file with data"):
        list(read_coco(CocoFiles(str(tmp_path), train="train.json"), "test", seed=0))
