"""Data sets as people have them: read as their files say, or refused or reported with the cause."""

import json

import numpy as np
import pytest
from PIL import Image

from suite import load
from suite.data.formats.mask_files import meaning_of
from suite.data.formats.table_classes import check_forms, class_order, label_rules, with_minus_one
from suite.data.report import PART, DataReport
from suite.data.walking import walk
from suite.errors import DataError
from suite.types import Remark
from tests.data.formats.files import photo, text

BOX = "0 0.5 0.5 0.2 0.4\n"
OUTSIDE = "0 0.1 0.5 0.6 0.4\n"
"""A box that begins 4 pixels to the left of an image of 20 pixels."""


def yolo(root, data, labels=(BOX,) * 12):
    text(root / "data.yaml", data)
    for number, label in enumerate(labels):
        photo(root / f"images/i{number:02d}.png", seed=number)
        text(root / f"labels/i{number:02d}.txt", label)
    return f"yolo(path='{root}')"


def coco(root, names=("cat", "dog"), box=(2, 2, 5, 5)):
    images = [{"id": i, "file_name": f"i{i}.png", "width": 20, "height": 10} for i in range(12)]
    for image in images:
        photo(root / "images" / image["file_name"], seed=image["id"])
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": box} for i in range(12)]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    text(root / "all.json", json.dumps({"images": images, "annotations": objects, "categories": categories}))
    return f"coco(path='{root}')"


def folders(root, *names, count=6):
    for place, name in enumerate(names):
        for number in range(count):
            photo(root / name / f"{number}.png", 8, 8, seed=100 * place + number)
    return root


def masks(root, *values, palette=None):
    files = []
    for number, row in enumerate(values):
        image = Image.fromarray(np.array([row], np.uint8), "P" if palette else "L")
        if palette:
            image.putpalette(palette[number % len(palette)])
        files.append(root / f"{number}.png")
        image.save(files[-1])
    return files


def table(root, labels, header="text,label"):
    rows = "".join(f"text number {number} of all,{label}\n" for number, label in enumerate(labels))
    return f"texttable(path='{text(root / 'r.csv', f'{header}{chr(10)}{rows}')}')"


def test_lists_of_images_in_data_yaml_are_the_parts(tmp_path):
    spec = yolo(tmp_path, "names: [cat]\ntrain: train.txt\nval: val.txt\ntest: test.txt\n")
    text(tmp_path / "train.txt", "".join(f"../other/images/i{i:02d}.png\r\n" for i in range(6)))
    text(tmp_path / "val.txt", "images\\i06.png\nimages\\i07.png\n")
    text(tmp_path / "test.txt", "/home/me/images/i08.png\nimages/i09.png\nimages/i10.png\nimages/i77.png\n")
    data = load(spec)
    report = data.full_report()
    assert report.kept == {"train": 6, "validation": 2, "test": 3} and report.seen == 12
    assert data.test.ids == ("test/i08", "test/i09", "test/i10")
    assert report.dropped["unreadable"] == [
        ("test/images/i77.png", "the list of this part names it, and there is no such image")
    ]
    assert "1 of 12 images are in none of the lists of data.yaml, such as i11" in report.remarks


def test_one_folder_that_data_yaml_gives_for_two_parts_is_the_test_part(tmp_path):
    for name, seed in (("first", 0), ("second", 20)):
        for number in range(6):
            photo(tmp_path / name / f"{number}.png", seed=seed + number)
            text(tmp_path / f"labels/{name}/{number}.txt", BOX)
    text(tmp_path / "data.yaml", "names: [cat]\ntrain: first\nval: second\ntest: second\n")
    assert load(f"yolo(path='{tmp_path}')").test.ids == tuple(f"test/{number}" for number in range(6))


@pytest.mark.parametrize("names", ["{0: cat, 2: dog}", "{1: cat, 2: dog}", "cat, dog", "[]"])
def test_names_that_are_not_numbered_from_0_are_an_error_that_says_so(tmp_path, names):
    with pytest.raises(DataError, match="has names in line 1 that are neither a list nor numbered from 0 without gaps"):
        load(yolo(tmp_path, f"names: {names}\n"))


def test_keypoints_without_their_shape_are_not_read_as_polygons(tmp_path):
    with pytest.raises(DataError, match=r"11 columns with the number 2; .*kpt_shape: \[17, 3\]"):
        load(yolo(tmp_path, "names: [cat]\n", [f"{BOX.strip()} 0.5 0.5 2 0.4 0.4 2\n"] * 12))


def test_boxes_that_leave_their_image_are_counted(tmp_path):
    remarks = load(yolo(tmp_path / "yolo", "names: [cat]\n", [OUTSIDE] * 12)).full_report().remarks
    counts = [text for text in remarks if "boxes that reach beyond their image and are cut at its edge" in text]
    assert len(counts) == 3 and sum(int(text.split(": ")[2].split(",")[0]) for text in counts) == 12
    remarks = load(coco(tmp_path / "coco", box=(15, 2, 7, 5))).report.remarks
    assert (
        "all.json: boxes that reach beyond their image and are cut at its edge: 12, such as annotations[0]" in remarks
    )
    assert not any("beyond" in text for text in load(coco(tmp_path / "edge", box=(15, 2, 6, 5))).report.remarks)


def test_classes_without_objects_are_said(tmp_path):
    report = load(coco(tmp_path, ("animals", "cat", "dog"))).report
    assert "no test sample of 2 of 3 classes: animals, dog" in report.remarks


def test_classes_without_pixels_are_said(tmp_path):
    for number in range(12):
        photo(tmp_path / f"images/{number}.png", 4, 4, seed=number)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number % 2 + 1, np.uint8)).save(tmp_path / f"masks/{number}.png")
    report = load(f"maskfolder(path='{tmp_path}', classes=['sky', 'sea', 'land'])").report
    assert "no test sample of 1 of 3 classes: sky" in report.remarks


def test_shades_of_gray_are_no_classes(tmp_path):
    with pytest.raises(DataError, match="hold the values 85, 170 and 255, which look like shades of gray"):
        meaning_of(masks(tmp_path, [0, 85], [0, 170], [0, 255]), ("a", "b", "c", "d"))


BLACK_AND_RED, RED_AND_BLACK = [0, 0, 0, 200, 0, 0], [200, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("palettes", "said"),
    [
        ([BLACK_AND_RED], None),
        ([RED_AND_BLACK], "index 0, the first class, is the color (200, 0, 0)"),
        ([BLACK_AND_RED, RED_AND_BLACK], "index 0 is the color (0, 0, 0) in 0.png, and (200, 0, 0) in 1.png"),
    ],
)
def test_palettes_that_contradict_the_classes_are_said(tmp_path, palettes, said):
    remarks = meaning_of(masks(tmp_path, [0, 1], [1, 0], palette=palettes), ("a", "b")).remarks
    assert len(remarks) == (said is not None) and all(said in remark.text for remark in remarks)


@pytest.mark.parametrize("names", [("train_set", "test_set"), ("1-train", "2-test"), ("seg_train", "seg_val")])
def test_folders_that_look_like_splits_are_not_classes(tmp_path, names):
    folders(tmp_path, *(f"{split}/{name}" for split in names for name in "ab"))
    with pytest.raises(DataError, match="look like splits; rename them to"):
        load(f"imagefolder(path='{tmp_path}')")
    assert load(f"imagefolder(path='{tmp_path}', classes={list(names)})").info.classes == names


def test_classes_that_are_called_train_and_test_stay_classes(tmp_path):
    data = load(f"imagefolder(path='{folders(tmp_path, 'toy train', 'test tube')}')")
    assert data.info.classes == ("test tube", "toy train")


def test_other_words_for_splits_are_known(tmp_path):
    folders(tmp_path, *(f"{split}/{name}" for split in ("training", "dev", "testing") for name in "ab"))
    assert load(f"imagefolder(path='{tmp_path}')").full_report().kept == {"train": 12, "validation": 12, "test": 12}


def test_texts_and_images_in_folders_that_look_like_splits_are_refused(tmp_path):
    text(tmp_path / "texts/train_set.txt", "one text " * 200)
    text(tmp_path / "texts/test_set.txt", "another text " * 200)
    with pytest.raises(DataError, match=r"'test_set' and 'train_set' in .* look like splits"):
        load(f"textfile(path='{tmp_path}/texts')")
    folders(tmp_path / "images", "train_set", "test_set")
    with pytest.raises(DataError, match="look like splits"):
        load(f"yolo(path='{tmp_path}', classes=['a'])")


def test_folders_of_macos_archives_are_left_out(tmp_path):
    folders(tmp_path, "a", "b")
    text(tmp_path / "__MACOSX/a/._0.png", "Mac OS X")
    assert [folder.name for folder in walk(tmp_path).folders] == ["a", "b"]


def test_a_class_that_is_given_twice_is_an_error(tmp_path):
    with pytest.raises(DataError, match="classes= has 'a' more than once; give each class once"):
        load(f"imagefolder(path='{folders(tmp_path, 'a', 'b')}', classes=['a', 'b', 'a'])")


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_that_no_image_has_is_an_error(tmp_path, size):
    with pytest.raises(DataError, match=f"size={size}; expected the side of a square in pixels"):
        load(f"imagefolder(path='{folders(tmp_path, 'a', 'b')}', size={size})")


def test_an_empty_test_part_is_said(tmp_path):
    folders(tmp_path, "train/a", "train/b")
    for name in "ab":
        (tmp_path / "test" / name).mkdir(parents=True)
    with pytest.raises(DataError, match="has no usable test sample: the test part is empty"):
        load(f"imagefolder(path='{tmp_path}')")


@pytest.mark.parametrize("label", ["nan", "None", "N/A", "?"])
def test_labels_that_may_mean_none_are_said(label):
    remarks = [item.text for item in class_order(["good", "bad", label]) if isinstance(item, Remark)]
    assert remarks == [f"the label {label} is a class; if it means that there is no label, give missing={label!r}"]


def test_labels_that_differ_in_an_invisible_character_are_an_error():
    with pytest.raises(DataError, match=r"'good' and 'good\\u200b' differ only in case, in invisible characters"):
        check_forms(["good", "good\u200b", "bad"])


def test_the_classes_that_are_suggested_beside_minus_one_are_in_order():
    with pytest.raises(DataError, match=r"classes=\['-2', '-1', '0', '1', '2'\]"):
        with_minus_one([["-1", "0", "-2", "2", "1"]], label_rules((), None))


def test_one_column_is_not_both_text_and_label(tmp_path):
    with pytest.raises(DataError, match="text= and label= both name the column 'text'"):
        load(table(tmp_path, "np" * 10)[:-1] + ", label='text')")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_column_of_splits_is_not_used_in_silence(tmp_path, suffix):
    file, rows = tmp_path / f"r.{suffix}", [(f"text {i} w{i}", "np"[i % 2], "test") for i in range(20)]
    if suffix == "csv":
        text(file, "text,label,Split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    elif suffix == "jsonl":
        text(file, "".join(json.dumps(dict(zip(("text", "label", "Split"), row, strict=True))) + "\n" for row in rows))
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        arrow = pytest.importorskip("pyarrow")
        parquet.write_table(
            arrow.table(dict(zip(("text", "label", "Split"), zip(*rows, strict=True), strict=True))), file
        )
    said = f"r.{suffix}: the column 'Split' is not used; if it says which records are for testing, write one file for"
    assert f"{said} each split" in load(f"texttable(path='{file}')").report.remarks


def test_what_is_no_csv_gets_no_advice_on_separators(tmp_path):
    file = text(tmp_path / "r.jsonl", '{"data": [1]}\n')
    with pytest.raises(DataError, match=r"has no column 'text'; set text=\.\.\. Known: data"):
        load(f"texttable(path='{file}')")


def test_a_sample_without_several_parts_counts_once():
    report = DataReport({"test": 1}, {PART: [("a", "box 0"), ("a", "box 1")]}, seen=1)
    assert report.sentence() == "1 test; 1 of 1 kept without a part (a: box 0; a: box 1)"
    assert report.lines()[1] == "1 kept without a part:"
