"""Pascal VOC: the pitfalls of its annotation files, palettes and lists."""

import os

import numpy as np
import pytest

from suite.data.formats.voc import read_voc, read_voc_masks
from suite.errors import DataError
from suite.types import Remark
from tests.data.formats.files import SPLITS, mask, over_splits, photo, sorted_out, text, voc_annotation, voc_object


def dataset(root, **annotations):
    """Write images with annotations by name, all in the test list."""
    for number, (name, content) in enumerate(annotations.items()):
        photo(root / "JPEGImages" / f"{name}.jpg", seed=number)
        if content is not None:
            text(root / "Annotations" / f"{name}.xml", content)
    text(root / "ImageSets" / "Main" / "test.txt", "\n".join(annotations) + "\n\n")
    return str(root)


def read(path, **options):
    return sorted_out(read_voc(path, "test", seed=0, **options))


def test_one_based_pixels_become_zero_based_edges(tmp_path):
    kept, rejected = read(dataset(tmp_path, a=voc_annotation(voc_object(), voc_object("cat", (5, 3, 5, 3)))))
    assert kept["a"].target["boxes"].tolist() == [[0, 0, 20, 10], [4, 2, 5, 3]]  # the whole image, and a single pixel
    assert kept["a"].target["labels"] == ["dog", "cat"] and not rejected


def test_coordinates_may_be_fractional(tmp_path):
    kept, _ = read(dataset(tmp_path, a=voc_annotation(voc_object(box=("45.70000076293945", 2, 60.5, 9)))))
    np.testing.assert_allclose(kept["a"].target["boxes"], [[44.70000076293945, 1, 60.5, 9]])


def test_an_image_without_objects_is_kept(tmp_path):
    kept, _ = read(dataset(tmp_path, a=voc_annotation()))
    assert kept["a"].target["boxes"].shape == (0, 4)


WORDS = {word: True for word in ("1", "true", "True", "YES", "1.0", " 1 ")}
WORDS |= {word: False for word in ("0", "", "false", "False", "no", "No", "0.0", "Unspecified", " ")}


@pytest.mark.parametrize(("word", "ignored"), WORDS.items())
def test_only_a_true_word_or_1_means_difficult(tmp_path, word, ignored):
    difficult = voc_object(extra=f"<difficult>{word}</difficult>")
    kept, rejected = read(dataset(tmp_path, a=voc_annotation(difficult, voc_object(box=(1, 1, 2, 2)))))
    assert kept["a"].target["ignore"].tolist() == [ignored, False] and not rejected


def test_classes_of_which_voc_knows_nothing_are_left_to_the_kind(tmp_path):
    kept, _ = read(dataset(tmp_path, a=voc_annotation(voc_object(" unicorn\n"))))
    assert kept["a"].target["labels"] == ["unicorn"]


def test_repeated_objects_count_once_and_are_said(tmp_path):
    twice = voc_annotation(voc_object(), voc_object("cat"), voc_object())
    items = list(read_voc(dataset(tmp_path, a=twice, b=twice), "test", seed=0))
    assert [sample.target["labels"] for sample in sorted_out(items)[0].values()] == [["dog", "cat"]] * 2
    assert [item.text for item in items if isinstance(item, Remark)] == [
        "test: labels that repeat another one of their image (same class and box) and count once: 2, such as object 3 "
        "of a.xml"
    ]


def test_a_name_that_is_listed_twice_is_said(tmp_path):
    path = dataset(tmp_path, a=voc_annotation(), b=voc_annotation())
    text(tmp_path / "ImageSets" / "Main" / "test.txt", "a\nb\na\na\n")
    items = list(read_voc(path, "test", seed=0))
    assert set(sorted_out(items)[0]) == {"a", "b"}
    assert Remark("test.txt: images listed more than once, which count once: 1, such as a") in items


CORNERS = "<xmin>3</xmin><ymin>2</ymin><xmax>9</xmax><ymax>7</ymax>"
POLYGONS = {
    "points": "<pt><x>2</x><y>1</y></pt><pt><x>9</x><y>1.5</y></pt><pt><x>9</x><y>7</y></pt>",
    "numbered": "<x1>2</x1><y1>1</y1><x2>9</x2><y2>1.5</y2><x3>9</x3><y3>7</y3>",
}


@pytest.mark.parametrize("points", POLYGONS.values(), ids=POLYGONS)
def test_polygons_without_a_box_become_the_box_around_them(tmp_path, points):
    polygon = f"<polygon><username>me</username>{points}</polygon>"
    objects = (
        f"<object><name>{name}</name>{box}{polygon}</object>"
        for name, box in (("a", ""), ("b", f"<bndbox>{CORNERS}</bndbox>"))
    )
    kept, _ = read(dataset(tmp_path, a=voc_annotation(*objects)))
    assert kept["a"].target["boxes"].tolist() == [[2, 1, 9, 7], [2, 1, 9, 7]]


def test_objects_that_were_deleted_in_labelme_are_none(tmp_path):
    objects = (voc_object(extra=f"<deleted>{number}</deleted>", box=(1, 1, 5, number + 5)) for number in (0, 1))
    assert read(dataset(tmp_path, a=voc_annotation(*objects)))[0]["a"].target["boxes"].tolist() == [[0, 0, 5, 5]]


def test_namespaces_and_capitals_of_elements_do_not_matter(tmp_path):
    content = voc_annotation(voc_object(box=(3, 2, 9, 7))).replace(
        "<annotation>", '<annotation xmlns="http://example.org/voc">'
    )
    shouted = voc_annotation(voc_object(box=(3, 2, 9, 7))).replace("object>", "Object>").replace("bndbox>", "BndBox>")
    kept, _ = read(dataset(tmp_path, a=content, b=shouted))
    assert [sample.target["boxes"].tolist() for sample in kept.values()] == [[[2, 1, 9, 7]]] * 2


ENCODINGS = {
    "latin1": ("latin1", "latin1"),
    "ISO-8859-1": ("ISO-8859-1", "latin1"),
    "windows-1252": ("windows-1252", "cp1252"),
    "GB2312": ("GB2312", "gb2312"),
    "Shift_JIS": ("Shift_JIS", "shift_jis"),
    "UTF-16": ("UTF-16", "utf-16"),
    "UTF-16 without a mark": ("UTF-16", "utf-16-le"),
    "UTF-8 with a mark": ("UTF-8", "utf-8-sig"),
    "UTF-8 that says UTF-16": ("utf-16", "utf-8"),
}


@pytest.mark.parametrize(("declared", "encoding"), ENCODINGS.values(), ids=ENCODINGS)
def test_the_declared_encoding_counts(tmp_path, declared, encoding):
    name = {"gb2312": "\u72d7", "shift_jis": "\u72ac"}.get(encoding, "b\u00eate")
    path = dataset(tmp_path, a="")
    content = f"<?xml version='1.0' encoding='{declared}'?>\n{voc_annotation(voc_object(name))}"
    (tmp_path / "Annotations" / "a.xml").write_bytes(content.encode(encoding))
    kept, rejected = read(path)
    assert not rejected and kept["a"].target["labels"] == [name]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-7"])
def test_a_document_type_is_refused_in_every_encoding(tmp_path, encoding):
    path = dataset(tmp_path, a="")
    content = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    (tmp_path / "Annotations" / "a.xml").write_bytes(content.encode(encoding))
    assert "has a document type" in read(path)[1]["a"]


def test_parts_of_a_person_are_not_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    kept, _ = read(dataset(tmp_path, a=voc_annotation(voc_object("person", (3, 3, 9, 9), part))))
    assert kept["a"].target["boxes"].tolist() == [[2, 2, 9, 9]]


def boxed(corners):
    return f"<object><name>dog</name><bndbox>{corners}</bndbox></object>"


UNREADABLE = {
    "no box": ("<object><name>dog</name></object>", "no bndbox and 0 polygons"),
    "two boxes": (f"<object><name>a</name>{f'<bndbox>{CORNERS}</bndbox>' * 2}</object>", "1 names and 2 bndbox"),
    "no name": (f"<object><bndbox>{CORNERS}</bndbox></object>", "0 names and 1 bndbox"),
    "empty name": (voc_object(" "), "expected one of each, with a text in name"),
    "two names": (voc_object(extra="<name>cat</name>"), "2 names and 1 bndbox"),
    "a word": (voc_object(box=("x", 1, 2, 3)), "xmin is 'x'; expected a finite number"),
    "nan": (voc_object(box=("nan", 1, 2, 3)), "xmin is 'nan'; expected a finite number"),
    "infinite": (voc_object(box=(1, 1, "1e400", 3)), "xmax is '1e400'; expected a finite number"),
    "missing corner": (boxed(CORNERS.replace("<xmin>3</xmin>", "")), "0 xmin in bndbox; expected one"),
    "two corners": (boxed(CORNERS + "<xmin>3</xmin>"), "2 xmin in bndbox; expected one"),
    "inverted": (voc_object(box=(9, 8, 3, 2)), "expected no maximum below its minimum"),
    "unknown word": (
        voc_object(extra="<difficult>hard</difficult>"),
        "difficult is 'hard'; expected 1 or 0, or a word",
    ),
    "two points": ("<object><name>a</name><polygon><x1>1</x1><y1>2</y1></polygon></object>", "a polygon of 1 points"),
    "lost y": ("<object><name>a</name><polygon><x1>1</x1></polygon></object>", "a polygon with 1 x and 0 y"),
}


@pytest.mark.parametrize(("unreadable", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_an_image_is_rejected_if_one_of_its_objects_cannot_be_read(tmp_path, unreadable, reason):
    kept, rejected = read(dataset(tmp_path, a=voc_annotation(voc_object(), unreadable), b=voc_annotation()))
    assert set(kept) == {"b"} and set(rejected) == {"a"}
    assert rejected["a"].startswith("a.xml: object 2: ") and reason in rejected["a"]


def test_annotations_that_cannot_be_read_are_rejected_with_their_line(tmp_path):
    path = dataset(
        tmp_path,
        good=voc_annotation(),
        broken="<annotation>\n<object>\n</annotation>",
        other=voc_annotation(size=(21, 10)),
        lonely=None,
        page="<html><body/></html>",
        nested=f"<annotation><objects>{voc_object()}</objects></annotation>",
        unknown='<?xml version="1.0" encoding="klingon"?><annotation/>',
        binary='<?xml version="1.0" encoding="hex"?><annotation/>',
        empty="",
        entity="<annotation>&b;</annotation>",
    )
    (tmp_path / "Annotations" / "latin.xml").write_bytes(b"<annotation>\n<object>\xe9</object></annotation>")
    photo(tmp_path / "JPEGImages" / "latin.jpg", seed=50)
    listed = "good broken other lonely page nested unknown binary empty entity latin missing"
    text(tmp_path / "ImageSets" / "Main" / "test.txt", "\n".join(listed.split()))
    kept, rejected = read(path)
    assert set(kept) == {"good"}
    expected = {
        "broken": "broken.xml:3: not XML",
        "other": "made for 21x10",
        "lonely": "no label file",
        "page": "page.xml is XML with <html>; expected the <annotation> of Pascal VOC",
        "nested": "nested.xml has objects inside other elements",
        "unknown": "unknown.xml:1: the encoding 'klingon' is unknown",
        "binary": "binary.xml:1: the encoding 'hex' is unknown",
        "empty": "empty.xml:1: not XML",
        "entity": "entity.xml:1: not XML",
        "latin": "latin.xml:2: not utf-8: invalid continuation byte",
        "missing": "image of this name",
    }
    assert rejected.keys() == expected.keys()
    for name, part in expected.items():
        assert part in rejected[name], rejected[name]


@pytest.mark.parametrize("size", [None, (0, 0), ("x", "y"), ("20.0", "10.0"), ("", ""), (-1, -1), ("9" * 5000, 1)])
def test_an_unknown_size_is_accepted(tmp_path, size):
    assert set(read(dataset(tmp_path, a=voc_annotation(voc_object(), size=size)))[0]) == {"a"}


def test_an_image_that_was_labeled_unrotated_is_not_rotated(tmp_path):
    from PIL import Image

    rotated = Image.Exif()
    rotated[0x0112] = 6
    for name, size in (("raw", (20, 10)), ("upright", (10, 20))):
        photo(tmp_path / "JPEGImages" / f"{name}.jpg", exif=rotated)
        text(tmp_path / "Annotations" / f"{name}.xml", voc_annotation(voc_object(), size=size))
    kept, rejected = sorted_out(item for split in ("train", "test") for item in read_voc(str(tmp_path), split, seed=0))
    assert kept["raw"].input.shape == (3, 10, 20) and kept["upright"].input.shape == (3, 20, 10) and not rejected


def test_without_lists_images_without_annotations_are_rejected(tmp_path):
    names = [f"a{number}" for number in range(10)]
    path = dataset(tmp_path, **dict.fromkeys(names, voc_annotation()), lonely=None)
    (tmp_path / "ImageSets" / "Main" / "test.txt").unlink()
    ids, rejected = over_splits(lambda split: read_voc(path, split, seed=0))
    assert set.union(*ids.values()) == set(names) and rejected == {"lonely": "no label file of this name"}


def test_validation_is_the_test_split_if_there_is_no_test_list(tmp_path):
    names = [f"2007_{number:06d}" for number in range(13)]
    root = tmp_path / "VOCdevkit" / "VOC2012"
    dataset(root, **dict.fromkeys(names, voc_annotation()))
    lists = root / "ImageSets" / "Main"
    (lists / "test.txt").unlink()
    text(lists / "train.txt", "\n".join(names[:10]))
    text(lists / "val.txt", "\n".join(names[10:]))
    text(lists / "trainval.txt", "\n".join(names))
    text(lists / "dog_train.txt", "\n".join(f"{name} -1" for name in names))
    for path in (root, root.parent, tmp_path):
        ids, rejected = over_splits(lambda split, path=path: read_voc(str(path), split, seed=0))
        assert ids["test"] == set(names[10:]) and ids["train"] | ids["validation"] == set(names[:10])
        assert len(ids["train"]) > len(ids["validation"]) > 0 and not rejected


def test_two_years_in_one_folder_are_an_error(tmp_path):
    for year in ("VOC2007", "VOC2012"):
        photo(tmp_path / year / "JPEGImages" / "a.jpg")
    with pytest.raises(DataError, match="found VOC2007, VOC2012"):
        list(read_voc(str(tmp_path), "test", seed=0))


def test_palette_masks_are_read_as_indices(tmp_path):
    values = np.zeros((10, 20), dtype=np.uint8)
    values[2:5, 3:9], values[5, 3:9] = 15, 255
    for name in "abc":
        photo(tmp_path / "JPEGImages" / f"{name}.jpg", seed=ord(name))
    mask(tmp_path / "SegmentationClass" / "a.png", values, palette=True)
    mask(tmp_path / "SegmentationClass" / "b.png", values[:-1], palette=True)
    photo(tmp_path / "SegmentationClass" / "c.png")
    text(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "a\nb\nc")
    kept, rejected = sorted_out(read_voc_masks(str(tmp_path), "test", seed=0, classes=["none", "cat", "dog"]))
    assert (kept["a"].target == values).all() and kept["a"].target.dtype == np.uint8
    assert "20x10 pixels, but the annotation was made for 20x9" in rejected["b"]
    assert "mode RGB" in rejected["c"] and set(kept) == {"a"}


def test_names_in_lists_may_have_spaces_and_other_columns_after_them(tmp_path):
    path = dataset(tmp_path, **{"my dog": voc_annotation(), "my": voc_annotation(), "cat": voc_annotation()})
    text(tmp_path / "ImageSets" / "Main" / "test.txt", "my dog\ncat 1\nmy -1\nno file -1\n# comment\n")
    kept, rejected = read(path)
    assert set(kept) == {"my dog", "my", "cat"} and rejected == {"no": "no usable image of this name"}


def test_a_list_that_is_a_fifo_is_an_error_and_not_waited_for(tmp_path):
    path = dataset(tmp_path, a=voc_annotation())
    (tmp_path / "ImageSets" / "Main" / "test.txt").unlink()
    os.mkfifo(tmp_path / "ImageSets" / "Main" / "test.txt")
    with pytest.raises(DataError, match=r"test.txt' cannot be read: a FIFO \(named pipe\), not a file with data"):
        read(path)


def test_images_that_no_list_has_are_counted(tmp_path):
    path = dataset(tmp_path, a=voc_annotation(), b=voc_annotation(), c=voc_annotation())
    text(tmp_path / "ImageSets" / "Main" / "test.txt", "a\n")
    text(tmp_path / "ImageSets" / "Main" / "train.txt", "c\n")
    for split in SPLITS[::2]:
        remarks = [item.text for item in read_voc(path, split, seed=0) if isinstance(item, Remark)]
        assert remarks == ["1 of 3 images are in none of the lists that are used, such as b"]
