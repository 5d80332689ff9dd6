"""The YOLO format: boxes, empty files, malformed lines, and class names."""

import numpy as np
import pytest

from suite.data.formats.yolo import read_yolo
from suite.data.formats.yolo_names import class_names
from suite.errors import DataError
from tests.data.formats.files import over_splits, photo, sorted_out, text

CLASSES = ("cat", "dog")


def dataset(root, images="images/test", labels="labels/test", **contents):
    for number, (name, content) in enumerate(contents.items()):
        photo(root / images / f"{name}.jpg", seed=number)
        if content is not None:
            text(root / labels / f"{name}.txt", content)
    return str(root)


def read(path, split="test", **options):
    return sorted_out(read_yolo(path, split, seed=0, classes=CLASSES, **options))


def test_relative_coordinates_become_pixels(tmp_path):
    kept, _ = read(dataset(tmp_path, a="1 0.5 0.5 0.2 0.4\n0 0.25 0.1 0.5 0.2\n"))
    np.testing.assert_allclose(kept["test/a"].target["boxes"], [[8, 3, 12, 7], [0, 0, 10, 2]], atol=1e-12)
    assert kept["test/a"].target["labels"] == ["dog", "cat"]


def test_an_empty_file_is_an_image_without_objects(tmp_path):
    kept, rejected = read(dataset(tmp_path, a="", b="\n \n"))
    assert [sample.target["boxes"].shape for sample in kept.values()] == [(0, 4), (0, 4)] and not rejected


def test_invalid_boxes_are_left_to_the_kind(tmp_path):
    kept, rejected = read(dataset(tmp_path, a="0 1.5 0.5 -0.2 0.4\n0 nan 0.5 0.1 0.1"))
    np.testing.assert_allclose(kept["test/a"].target["boxes"][0], [32, 3, 28, 7])
    assert np.isnan(kept["test/a"].target["boxes"][1, 0]) and not rejected


def test_errors_name_file_and_line(tmp_path):
    lines = (
        "0 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2\n0 0.5 0.5 0.2 0.4 0.9\n2 0.5 0.5 0.2 0.4\ncat 0.5 0.5 0.2 0.4\n0 a 0.5 1 1"
    )
    path = dataset(tmp_path, a=lines, b=None, c="", d="")
    (tmp_path / "images" / "test" / "c.jpg").write_bytes(b"")
    (tmp_path / "images" / "test" / "d.jpg").unlink()
    kept, rejected = read(path)
    assert set(kept) == {"test/a"} and len(kept["test/a"].target["boxes"]) == 1
    expected = {
        "test/a: a.txt:2": "4 columns",
        "test/a: a.txt:3": "6 columns",
        "test/a: a.txt:4": "class '2'; expected a number from 0 to 1",
        "test/a: a.txt:5": "class 'cat'",
        "test/a: a.txt:6": "expected four numbers",
        "test/b": "an empty file means that the image has no objects",
        "test/c": "not an image",
        "test/d": "no image",
    }
    assert rejected.keys() == expected.keys()
    for name, part in expected.items():
        assert part in rejected[name]


@pytest.mark.parametrize("order", ["images/{}", "{}/images"])
def test_both_layouts_of_splits_are_read(tmp_path, order):
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        folder = order.format(name)
        dataset(tmp_path, folder, folder.replace("images", "labels"), **{split: "0 0.5 0.5 1 1"})
    ids, rejected = over_splits(lambda split: read_yolo(str(tmp_path), split, seed=0, classes=CLASSES))
    assert ids == {split: {f"{split}/{split}"} for split in ids} and not rejected


def test_without_split_folders_the_seed_determines_the_split(tmp_path):
    path = dataset(tmp_path, "images", "labels", **{f"a{number}": "" for number in range(10)}, b=None)
    ids, rejected = over_splits(lambda split: read_yolo(path, split, seed=0, classes=CLASSES))
    assert sum(len(kept) for kept in ids.values()) == 10 and list(rejected) == ["b"]


NAMED = {
    "lines of names.txt": ("names.txt", "cat\ndog\n"),
    "lines of classes.txt": ("classes.txt", "cat\r\ndog"),
    "flow list": ("data.yaml", "train: ../train\nnc: 2\nnames: ['cat', \"dog\"]  # two\n"),
    "flow list over lines": ("data.yaml", "names: [\n  cat,  # first\n  dog,\n]\n"),
    "block list": ("data.yaml", "names:\n- cat\n- dog\nnc: 2\n"),
    "indented block list": ("data.yaml", "names:\n\n  - cat\n  # second\n  - 'dog'\n"),
    "block mapping": ("data.yml", "names:\n  0: cat\n  1: 'dog' # barks\npath: .\n"),
    "mapping in any order": ("data.yaml", "names:\n  1: dog\n  0: cat\n"),
    "flow mapping": ("data.yaml", "names: {0: cat, 1: dog}"),
    "quoted numbers": ("data.yaml", "names: {'1': dog, \"0\": cat}"),
    "quoted key": ("data.yaml", '"names": [cat, dog]'),
    "alias": ("data.yaml", "classes: &all [cat, dog]\nnames: *all\n"),
    "JSON": ("data.yaml", '{"nc": 2, "names": ["cat", "dog"]}'),
    "byte order mark": ("data.yaml", "\ufeffnames: [cat, dog]\r\n"),
    "document markers": ("data.yaml", "%YAML 1.1\n---\nnames: [cat, dog]\n...\n"),
    "block scalar": ("data.yaml", "names:\n- >-\n  cat\n- dog\n"),
}


@pytest.mark.parametrize(("file", "content"), NAMED.values(), ids=NAMED)
def test_names_are_read_from_every_form_of_a_file(tmp_path, file, content):
    text(tmp_path / file, content)
    assert class_names(tmp_path) == CLASSES


def test_yaml_scalars_are_names_as_they_are_written(tmp_path):
    names = ("no", "off", "Yes", "null", "~", "1", "1.50", "0x10", "2020-01-01", "it's", "stop sign", "a:b", "x#y")
    for content in ("names: [" + ", ".join(names) + "]", "names:\n" + "".join(f"- {name}\n" for name in names)):
        text(tmp_path / "data.yaml", content)
        assert class_names(tmp_path) == names
    text(tmp_path / "data.yaml", "names:\n" + "".join(f"  {number}: {name}\n" for number, name in enumerate(names)))
    assert class_names(tmp_path) == names


def test_tags_in_yaml_construct_nothing(tmp_path):
    text(tmp_path / "data.yaml", "names: [!!python/object/apply:os.getcwd [], dog]")
    with pytest.raises(DataError, match=r"data\.yaml.*give classes="):
        class_names(tmp_path)


WITHOUT_NAMES = [
    "",
    "nc: 2\n",
    "- cat\n- dog\n",
    "names:\n",
    "names: cat\n",
    "names: {a: b}\n",
    "names: {0: a, x: b}\n",
    "names:\n  0: cat\n  2: dog\n",
    "names:\n  1: cat\n  2: dog\n",
    "names:\n  0: cat\n  0: dog\n",
    "names:\n  0: cat\n  1:\n",
    "names: [cat, cat]\n",
    "names: [cat, [dog]]\n",
    "names: [a, '']",
]


@pytest.mark.parametrize("content", WITHOUT_NAMES)
def test_a_file_without_a_name_for_each_number_is_an_error(tmp_path, content):
    text(tmp_path / "data.yaml", content)
    with pytest.raises(DataError, match=r"data\.yaml.*give classes="):
        class_names(tmp_path)


MALFORMED = {
    "open bracket": ("nc: 2\nnames: [cat,\n  dog\n", 4),
    "tab": ("nc: 2\nnames:\n\t- cat\n", 3),
    "two colons": ("nc: 2\nnames: cat: dog\n", 2),
    "unknown alias": ("nc: 2\n\nnames: *all\n", 3),
    "two documents": ("names: [cat]\n---\nnames: [dog]\n", 2),
    "control character": ("nc: 2\nnames: [cat\x01]\n", 2),
}


@pytest.mark.parametrize(("content", "line"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_yaml_is_an_error_with_file_and_line(tmp_path, content, line):
    text(tmp_path / "data.yaml", content)
    with pytest.raises(DataError, match=rf"data\.yaml' is not YAML: line {line}: "):
        class_names(tmp_path)


def test_no_names_and_no_images_are_errors(tmp_path):
    with pytest.raises(DataError, match=r"names\.txt"):
        list(read_yolo(str(tmp_path), "test", seed=0))
    with pytest.raises(DataError, match="no folder 'images'"):
        list(read_yolo(str(tmp_path), "test", seed=0, classes=CLASSES))
