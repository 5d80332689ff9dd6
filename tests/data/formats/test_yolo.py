"""YOLO's format: empty files, broken lines, and class names from wherever they are."""

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


def test_shares_become_pixels(tmp_path):
    kept, _ = read(dataset(tmp_path, a="1 0.5 0.5 0.2 0.4\n0 0.25 0.1 0.5 0.2\n"))
    np.testing.assert_allclose(kept["test/a"].target["boxes"], [[8, 3, 12, 7], [0, 0, 10, 2]], atol=1e-12)
    assert kept["test/a"].target["labels"] == ["dog", "cat"]


def test_an_empty_file_is_an_image_with_nothing_to_find(tmp_path):
    kept, rejected = read(dataset(tmp_path, a="", b="\n \n"))
    assert [sample.target["boxes"].shape for sample in kept.values()] == [(0, 4), (0, 4)] and not rejected


def test_values_beyond_the_image_are_left_to_the_kind(tmp_path):
    kept, rejected = read(dataset(tmp_path, a="0 1.5 0.5 -0.2 0.4\n0 nan 0.5 0.1 0.1"))
    np.testing.assert_allclose(kept["test/a"].target["boxes"][0], [32, 3, 28, 7])
    assert np.isnan(kept["test/a"].target["boxes"][1, 0]) and not rejected


def test_faults_are_named_by_file_and_line(tmp_path):
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
        "test/b": "an empty one says that nothing is there",
        "test/c": "not an image",
        "test/d": "no image",
    }
    assert rejected.keys() == expected.keys()
    for name, part in expected.items():
        assert part in rejected[name]


@pytest.mark.parametrize("order", ["images/{}", "{}/images"])
def test_both_ways_to_lay_out_splits_are_known(tmp_path, order):
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        folder = order.format(name)
        dataset(tmp_path, folder, folder.replace("images", "labels"), **{split: "0 0.5 0.5 1 1"})
    ids, rejected = over_splits(lambda split: read_yolo(str(tmp_path), split, seed=0, classes=CLASSES))
    assert ids == {split: {f"{split}/{split}"} for split in ids} and not rejected


def test_without_split_folders_the_seed_decides(tmp_path):
    path = dataset(tmp_path, "images", "labels", **{f"a{number}": "" for number in range(10)}, b=None)
    ids, rejected = over_splits(lambda split: read_yolo(path, split, seed=0, classes=CLASSES))
    assert sum(len(kept) for kept in ids.values()) == 10 and list(rejected) == ["b"]


NAMED = {
    "names.txt": "cat\ndog\n",
    "classes.txt": "cat\r\ndog",
    "data.yaml": "train: ../train\nnc: 2\nnames: ['cat', \"dog\"]  # two\n",
    "data.yml": "names:\n  0: cat\n  1: 'dog' # barks\npath: .\n",
}


@pytest.mark.parametrize(("file", "content"), [*NAMED.items(), ("data.yaml", "names:\n- cat\n- dog\nnc: 2\n")])
def test_names_come_from_a_file(tmp_path, file, content):
    text(tmp_path / file, content)
    assert class_names(tmp_path) == CLASSES


WITHOUT_NAMES = [
    "",
    "nc: 2\n",
    "names: {a: b}\n",
    "names:\n  0: cat\n  2: dog\n",
    "names: [cat, cat]\n",
    "names: [a, ]",
]


@pytest.mark.parametrize("content", WITHOUT_NAMES)
def test_a_file_without_a_name_for_each_number_is_an_error(tmp_path, content):
    text(tmp_path / "data.yaml", content)
    with pytest.raises(DataError, match=r"data\.yaml.*give classes="):
        class_names(tmp_path)


def test_no_names_and_no_images_are_errors(tmp_path):
    with pytest.raises(DataError, match=r"names\.txt"):
        list(read_yolo(str(tmp_path), "test", seed=0))
    with pytest.raises(DataError, match="no folder 'images'"):
        list(read_yolo(str(tmp_path), "test", seed=0, classes=CLASSES))
