"""The YOLO format: boxes, polygons, malformed lines, and class names."""

import numpy as np
import pytest

from suite import load
from suite.data.formats.yolo import read_yolo
from suite.data.formats.yolo_names import class_names
from suite.errors import DataError
from suite.types import ClassNames, Remark
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


BOX = "0 0.5 0.5 0.2 0.4"
"""A line whose box is 8, 3, 12, 7."""

SPELLINGS = {
    "tabs": "0\t0.5\t0.5\t0.2\t0.4",
    "commas": "0,0.5,0.5,0.2,0.4",
    "commas and spaces": "0, 0.5, 0.5, 0.2, 0.4",
    "class as 0.0": "0.0 0.5 0.5 0.2 0.4",
    "exponents": "0 5e-1 .5 2E-1 4.0e-1",
    "windows": f"{BOX}\r\n",
    "old Macintosh": f"{BOX}\r",
    "byte order mark": f"\ufeff{BOX}",
    "blank lines": f"\n  \n{BOX}\n\n",
    "sixth column": f"{BOX} 0.87",
    "polygon": "0 0.4 0.3 0.6 0.4 0.5 0.7",
    "four corners": "0 0.4 0.3 0.6 0.3 0.6 0.7 0.4 0.7",
}


@pytest.mark.parametrize("content", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_of_a_line_is_read(tmp_path, content):
    path = dataset(tmp_path, a="")
    (tmp_path / "labels" / "test" / "a.txt").write_bytes(content.encode())
    kept, rejected = read(path)
    np.testing.assert_allclose(kept["test/a"].target["boxes"], [[8, 3, 12, 7]], atol=1e-12)
    assert kept["test/a"].target["labels"] == ["cat"] and not rejected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le"])
def test_label_files_may_be_in_every_unicode_encoding(tmp_path, encoding):
    path = dataset(tmp_path, a="")
    (tmp_path / "labels" / "test" / "a.txt").write_bytes(f"{BOX}\n".encode(encoding))
    assert read(path)[0]["test/a"].target["labels"] == ["cat"]


UNREADABLE = {
    "four columns": ("0 0.5 0.5 0.2", "4 columns; expected class, x, y, width, height"),
    "polygon with half a point": ("0 0.4 0.3 0.6 0.3 0.6 0.7 0.4", "8 columns; expected class"),
    "class beyond the names": ("2 0.5 0.5 0.2 0.4", "class '2'; expected a number from 0 to 1"),
    "negative class": ("-1 0.5 0.5 0.2 0.4", "class '-1'; expected a number from 0 to 1"),
    "half a class": ("0.5 0.5 0.5 0.2 0.4", "class '0.5'"),
    "long class": (f"{'9' * 5000} 0.5 0.5 0.2 0.4", "class '999"),
    "name for a class": ("cat 0.5 0.5 0.2 0.4", "class 'cat'"),
    "a word": ("0 a 0.5 1 1", "'a'; expected a finite number"),
    "nan": ("0 nan 0.5 0.1 0.1", "'nan'; expected a finite number"),
    "infinite": ("0 1e999 0.5 0.1 0.1", "'1e999'; expected a finite number"),
    "decimal commas": ("0 0,1 0,1 0,2 0,1", "class '0 0'"),
    "pixels": (
        "0 120 80 40 60",
        "the coordinate 120; expected fractions of the image's width and height, from 0 to 1. Are",
    ),
    "pixels of a polygon": ("0 12 3 20 3 20 30", "Are these pixels?"),
    "negative width": ("0 0.5 0.5 -0.2 0.4", "width -0.2 and height 0.4; expected fractions above 0"),
    "no height": ("0 0.5 0.5 0.2 0", "width 0.2 and height 0; expected fractions above 0"),
    "a comment": (f"{BOX} # cat", "'#'; expected a finite number"),
}


@pytest.mark.parametrize(("line", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_image_is_rejected_if_a_line_of_its_label_file_cannot_be_read(tmp_path, line, reason):
    kept, rejected = read(dataset(tmp_path, a=f"{BOX}\n\n{line}\n", b=BOX))
    assert set(kept) == {"test/b"} and set(rejected) == {"test/a"}
    assert rejected["test/a"].startswith("a.txt:3: ") and reason in rejected["test/a"]


def test_images_and_label_files_without_the_other_are_rejected(tmp_path):
    path = dataset(tmp_path, a=BOX, b=None, c="", d="", e="")
    (tmp_path / "images" / "test" / "c.jpg").write_bytes(b"")
    (tmp_path / "images" / "test" / "d.jpg").unlink()
    (tmp_path / "labels" / "test" / "e.txt").write_bytes(b"\xff\xfe\x00")
    kept, rejected = read(path)
    assert set(kept) == {"test/a"}
    expected = {
        "test/b": "an empty file means that the image has no objects",
        "test/c": "c.jpg",
        "test/d": "image of this name",
        "test/e": "e.txt:1: not utf-16",
    }
    assert rejected.keys() == expected.keys()
    for name, part in expected.items():
        assert part in rejected[name]


def said(path, split="test", **options):
    return [item.text for item in read_yolo(path, split, seed=0, **options) if isinstance(item, Remark)]


def test_lines_that_say_more_than_a_box_are_counted(tmp_path):
    path = dataset(tmp_path, a=f"{BOX} 0.9\n{BOX}\n{BOX}", b=f"1 0.5 0.5 0.2 0.4 0.8\n{SPELLINGS['polygon']}")
    text(tmp_path / "names.txt", "cat\ndog")
    kept, _ = read(path)
    assert [sample.target["labels"] for sample in kept.values()] == [["cat"], ["dog", "cat"]]
    assert said(path, classes=CLASSES) == [
        "test: lines with a sixth column, perhaps a score, which is not used: 2, such as a.txt:1",
        "test: labels that repeat another one of their image (same class and box) and count once: 2, such as a.txt:2",
        "test: polygons, read as the boxes around them: 1, such as b.txt:2",
    ]


def test_keypoints_are_not_read_as_polygons(tmp_path):
    path = dataset(tmp_path, a=f"{BOX} 0.4 0.3 2 0.6 0.7 2")
    assert "12 columns" not in read(path)[1].get("test/a", "")
    text(tmp_path / "data.yaml", "names: [cat, dog]\nkpt_shape: [2, 2]\n")
    text(tmp_path / "labels" / "test" / "a.txt", f"{BOX} 0.4 0.3 0.6 0.7")
    for classes in (None, CLASSES):
        kept, _ = sorted_out(read_yolo(path, "test", seed=0, classes=classes))
        np.testing.assert_allclose(kept["test/a"].target["boxes"], [[8, 3, 12, 7]], atol=1e-12)
    assert "test: lines with keypoints, which are not used: 1, such as a.txt:1" in said(path)


def test_labels_may_be_beside_their_images(tmp_path):
    for number in range(10):
        photo(tmp_path / f"a{number}.jpg", seed=number)
        text(tmp_path / f"a{number}.txt", BOX)
    text(tmp_path / "classes.txt", "cat\ndog\n")
    ids, rejected = over_splits(lambda split: read_yolo(str(tmp_path), split, seed=0))
    assert sum(map(len, ids.values())) == 10 and not rejected
    path = dataset(tmp_path / "other", "images/test", "images/test", a=BOX)
    assert set(read(path)[0]) == {"test/a"}


@pytest.mark.parametrize("above", ["", "../", "/home/me/data/", "./"])
def test_parts_are_those_that_data_yaml_gives_if_folders_have_other_names(tmp_path, above):
    for part in ("train2017", "val2017"):
        dataset(tmp_path, f"images/{part}", f"labels/{part}", **{f"{part}_{number}": BOX for number in range(5)})
    text(tmp_path / "data.yaml", f"names: [cat]\ntrain: {above}images/train2017\nval: {above}images/val2017\ntest:\n")
    ids, rejected = over_splits(lambda split: read_yolo(str(tmp_path), split, seed=0))
    assert ids["test"] == {f"validation/val2017_{number}" for number in range(5)} and not rejected
    assert len(ids["train"] | ids["validation"]) == 5


def test_a_part_of_data_yaml_that_is_not_there_is_said(tmp_path):
    path = dataset(tmp_path, "images", "labels", **{f"a{number}": BOX for number in range(10)})
    text(tmp_path / "data.yaml", "names: [cat]\ntrain: train.txt\nval: images\n")
    assert said(path) == ["data.yaml gives train: 'train.txt', which is no folder here; all images are one part"]
    text(tmp_path / "data.yaml", "names: [cat]\ntrain: images\nval: images\n")
    assert said(path) == []


def test_one_class_may_be_given_as_a_text(tmp_path):
    path = dataset(tmp_path, a=BOX)
    assert load(f"yolo(path='{path}', classes='cat')").info.classes == ("cat",)


def test_a_list_of_classes_among_label_files_is_none_of_them(tmp_path):
    path = dataset(tmp_path, a="1 0.5 0.5 1 1")
    text(tmp_path / "labels" / "test" / "classes.txt", "cat\ndog\n")
    kept, rejected = sorted_out(read_yolo(path, "test", seed=0))
    assert kept["test/a"].target["labels"] == ["dog"] and not rejected


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
    "merge key": ("data.yaml", "base: &all\n  names: [cat, dog]\n  nc: 5\n<<: *all\nnc: 2\n"),
    "merged names": ("data.yaml", "base: &one {0: bird, 1: dog}\nnames:\n  <<: [*one]\n  0: cat\n"),
    "tags": ("data.yaml", "names: !!python/tuple [!!str cat, dog]\nnc: !!int 2\n"),
    "keys of Ultralytics": (
        "data.yaml",
        "path: ../data\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n",
    ),
    "another name": ("mine.yaml", "names: [cat, dog]\n"),
    "another suffix": ("coco128.yml", "names: [cat, dog]\n"),
    "among labels": ("labels/train/classes.txt", "cat\ndog\n"),
    "block scalar": ("data.yaml", "names:\n- >-\n  cat\n- dog\n"),
}


@pytest.mark.parametrize(("file", "content"), NAMED.values(), ids=NAMED)
def test_names_are_read_from_every_form_of_a_file(tmp_path, file, content):
    text(tmp_path / file, content)
    assert class_names(tmp_path) == ClassNames(CLASSES, file.rpartition("/")[2])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
@pytest.mark.parametrize(
    ("file", "content"), [("data.yaml", "names: [cat, ch\u00eane]"), ("names.txt", "cat\nch\u00eane")]
)
def test_names_may_be_in_every_unicode_encoding(tmp_path, encoding, file, content):
    (tmp_path / file).write_bytes(content.encode(encoding))
    assert class_names(tmp_path).names == ("cat", "ch\u00eane")


def test_classes_have_the_order_of_the_file(tmp_path):
    path = dataset(tmp_path, a=BOX)
    text(tmp_path / "data.yaml", "names: [zebra, unused, ant]")
    items = list(read_yolo(path, "test", seed=0))
    assert [item for item in items if isinstance(item, ClassNames)] == [
        ClassNames(("zebra", "unused", "ant"), "data.yaml")
    ]
    data = load(f"yolo(path='{path}')")
    assert data.info.classes == ("zebra", "unused", "ant") and data.test.targets[0, :, 4].tolist() == [0]
    assert "classes in the order of data.yaml" in data.report.sentence()


def test_given_classes_order_the_outputs_and_the_file_still_says_what_numbers_mean(tmp_path):
    path = dataset(tmp_path, a="0 0.5 0.5 1 1\n2 0.5 0.5 0.5 0.5", b="1 0.5 0.5 1 1")
    text(tmp_path / "data.yaml", "names: [zebra, unused, ant]")
    data = load(f"yolo(path='{path}', classes=[ant, zebra])")
    assert data.info.classes == ("ant", "zebra") and data.test.targets[..., 4].tolist() == [[1, 0]]
    assert data.report.dropped == {"unusable": [("test/b", "box 0: the class 'unused' is not one of ant, zebra")]}
    assert "numbers in label files are those of data.yaml, outputs those of classes=" in data.report.remarks


def test_given_classes_replace_names_that_have_nothing_in_common_or_cannot_be_read(tmp_path):
    path = dataset(tmp_path, a="1 0.5 0.5 1 1")
    assert said(path, classes=CLASSES) == []
    text(tmp_path / "data.yaml", "names: [chat, chien]")
    assert said(path, classes=CLASSES) == ["classes= replaces the names in data.yaml: chat, chien"]
    assert read(path)[0]["test/a"].target["labels"] == ["dog"]
    text(tmp_path / "data.yaml", "names: [chat, chat]")
    assert said(path, classes=CLASSES) == [
        "classes= says what numbers in label files mean, as no file of names can be used"
    ]
    assert read(path)[0]["test/a"].target["labels"] == ["dog"]


def test_two_files_of_names_must_agree(tmp_path):
    text(tmp_path / "names.txt", "cat\ndog\n")
    text(tmp_path / "data.yaml", "names: [cat, dog]")
    assert class_names(tmp_path) == ClassNames(CLASSES, "names.txt")
    text(tmp_path / "data.yaml", "nc: 2\n")
    assert class_names(tmp_path) == ClassNames(CLASSES, "names.txt")
    text(tmp_path / "data.yaml", "names: [dog, cat]")
    with pytest.raises(DataError, match=r"names\.txt' gives the class names .*data\.yaml' gives .*give classes="):
        class_names(tmp_path)


def test_a_blank_line_among_names_is_an_error_with_its_line(tmp_path):
    text(tmp_path / "names.txt", "cat\n\ndog\n\n")
    with pytest.raises(DataError, match=r"names\.txt' has no class name in line 2.*give classes="):
        class_names(tmp_path)


def test_aliases_do_not_multiply_the_work(tmp_path):
    bomb = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30))
    text(tmp_path / "data.yaml", f"a0: &a0 {{x: 1}}\n{bomb}<<: *a29\nnames: [cat, dog]\n")
    assert class_names(tmp_path).names == CLASSES


def test_yaml_scalars_are_names_as_they_are_written(tmp_path):
    names = ("no", "off", "Yes", "null", "~", "1", "1.50", "0x10", "2020-01-01", "it's", "stop sign", "a:b", "x#y")
    for content in ("names: [" + ", ".join(names) + "]", "names:\n" + "".join(f"- {name}\n" for name in names)):
        text(tmp_path / "data.yaml", content)
        assert class_names(tmp_path).names == names
    text(tmp_path / "data.yaml", "names:\n" + "".join(f"  {number}: {name}\n" for number, name in enumerate(names)))
    assert class_names(tmp_path).names == names


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
    "names: [cat]\nnames: [dog]\n",
    "names: [cat, dog]\nnc: 3\n",
    "names: [cat, dog]\nnc: two\n",
    "names: {-1: cat, 0: dog}",
    f"names: {{{'9' * 500}: cat}}",
    "names: !include names.yaml",
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
    "merge of itself": ("&a\n<<: *a\nnames: [cat]\n", 4),
    "nested": ("names: " + "[" * 3000, 1),
    "unknown alias": ("nc: 2\n\nnames: *all\n", 3),
    "two documents": ("names: [cat]\n---\nnames: [dog]\n", 2),
    "a character beyond Unicode": ('nc: 1\nnames: ["\\UFFFFFFFF"]\n', 2),
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


def test_what_is_beside_the_folders_of_parts_is_named_and_files_of_class_names_are_not(tmp_path):
    path = dataset(tmp_path, a=BOX)
    text(tmp_path / "labels" / "classes.txt", "cat\ndog\n")
    for name in ("images/extra/b.jpg", "images/c.jpg", "labels/train.cache"):
        text(tmp_path / name, "")
    reason = "it is not in the folder of a part, such as train"
    kept, rejected = read(path)
    assert set(kept) == {"test/a"} and rejected == dict.fromkeys(
        ("images/extra", "images/c.jpg", "labels/train.cache"), reason
    )
    assert read(path, "train") == ({}, {})


def test_folders_that_data_yaml_gives_are_not_beside_the_parts(tmp_path):
    for part in ("one", "two"):
        dataset(tmp_path, f"images/{part}", f"labels/{part}", **{part: BOX})
    text(tmp_path / "data.yaml", "train: images/one\ntest: images/two\nnames: [cat, dog]\n")
    assert set(read(str(tmp_path))[0]) == {"test/two"} and read(str(tmp_path))[1] == {}


def test_folders_of_parts_may_have_a_year(tmp_path):
    for part in ("train2017", "val2017"):
        dataset(tmp_path, f"images/{part}", f"labels/{part}", **{part: BOX})
    kept, rejected = read(str(tmp_path))
    assert set(kept) == {"validation/val2017"} and not rejected
