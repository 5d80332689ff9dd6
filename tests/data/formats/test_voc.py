"""Pascal VOC: the pitfalls of its annotation files, palettes and lists."""

import numpy as np
import pytest

from suite.data.formats.voc import read_voc, read_voc_masks
from suite.errors import DataError
from tests.data.formats.files import mask, over_splits, photo, sorted_out, text, voc_annotation, voc_object


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


def test_difficult_objects_are_ignored_and_invalid_boxes_are_left_to_the_kind(tmp_path):
    difficult, easy = (voc_object(extra=f"<difficult>{value}</difficult>") for value in (1, 0))
    content = voc_annotation(
        difficult, easy, voc_object("unicorn"), voc_object(box=(9, 8, 3, 2)), voc_object(box=("nan", 1, 2, 3))
    )
    kept, rejected = read(dataset(tmp_path, a=content))
    target = kept["a"].target
    assert target["ignore"].tolist() == [True, False, False, False, False] and not rejected
    assert target["labels"][2] == "unicorn"
    assert target["boxes"][3].tolist() == [8, 7, 3, 2] and np.isnan(target["boxes"][4, 0])


def test_parts_of_a_person_are_not_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    kept, _ = read(dataset(tmp_path, a=voc_annotation(voc_object("person", (3, 3, 9, 9), part))))
    assert kept["a"].target["boxes"].tolist() == [[2, 2, 9, 9]]


def test_errors_name_file_and_object(tmp_path):
    path = dataset(
        tmp_path,
        good=voc_annotation(voc_object(), "<object><name>dog</name></object>", voc_object(box=("x", 1, 2, 3))),
        broken="<annotation>\n<object>\n</annotation>",
        other=voc_annotation(size=(21, 10)),
        lonely=None,
        bomb='<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
    )
    text(tmp_path / "ImageSets" / "Main" / "test.txt", "good\nbroken\nother\nlonely\nbomb\nmissing\n")
    kept, rejected = read(path)
    assert set(kept) == {"good"} and len(kept["good"].target["boxes"]) == 1
    expected = {
        "good.xml: object 2": "needs a name and a bndbox",
        "good.xml: object 3": "xmin is 'x'",
        "broken": "broken.xml:3: not XML",
        "other": "made for 21x10",
        "lonely": "no label file",
        "bomb": "has a document type",
        "missing": "no image",
    }
    assert rejected.keys() == expected.keys()
    for name, part in expected.items():
        assert part in rejected[name]


@pytest.mark.parametrize("size", [None, (0, 0), ("x", "y")])
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
    kept, rejected = sorted_out(read_voc_masks(str(tmp_path), "test", seed=0))
    assert (kept["a"].target == values).all() and kept["a"].target.dtype == np.uint8
    assert "20x10 pixels, but the annotation was made for 20x9" in rejected["b"]
    assert "mode RGB" in rejected["c"] and set(kept) == {"a"}
