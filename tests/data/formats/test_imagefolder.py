"""Folders of classes: every file is kept or rejected by name, and the order of the classes is said."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from suite.data.formats.imagefolder import read_folder
from suite.data.formats.pixel_format import PixelFormat
from suite.errors import DataError
from suite.runner.preparation import prepare_task
from suite.types import ClassNames, Rejected, Remark, Sample
from tests.data.formats.files import SPLITS, photo, sorted_out, text

ORDER = "folder names sorted as text, as torchvision sorts them"


def folders(root, classes="ab", count=10):
    for number, name in enumerate(classes):
        for index in range(count):
            photo(root / name / f"{index}.png", seed=index + 100 * number)
    return root


def everything(root, **options):
    """Return what all splits yield."""
    return [item for split in SPLITS for item in read_folder(str(root), split, seed=0, **options)]


def remarks(items):
    return list(dict.fromkeys(item.text for item in items if isinstance(item, Remark)))


def names(items):
    [given] = {item for item in items if isinstance(item, ClassNames)}
    return given


def test_classes_are_the_folders_of_all_splits_in_the_order_of_text(tmp_path):
    folders(tmp_path / "train", ["9", "10", "rare"], 2)
    folders(tmp_path / "test", ["10", "9"], 2)
    (tmp_path / "val" / "empty").mkdir(parents=True)
    items = everything(tmp_path)
    assert names(items) == ClassNames(("10", "9", "empty", "rare"), ORDER)
    assert remarks(items) == [
        "as text the classes begin '10', '9', 'empty', ..., by number '9', '10', 'empty', ...; if models number them "
        "otherwise than as text, give classes=[...] in their order"
    ]


def test_a_given_order_needs_no_word(tmp_path):
    items = everything(folders(tmp_path, ["9", "10"], 2), classes=("9", "10"))
    assert not remarks(items) and not any(isinstance(item, ClassNames) for item in items)


def test_given_classes_are_the_order_of_the_targets(tmp_path):
    spec = f"imagefolder(path='{folders(tmp_path, ['1', '2', '10'])}', classes=['1', '2', '10'])"
    data = prepare_task(spec, 0).data
    assert data.info.classes == ("1", "2", "10")
    for name, target in zip(data.test.ids, data.test.targets, strict=True):
        assert name.split("/")[0] == data.info.classes[target]


def test_a_folder_that_is_no_given_class_is_dropped_by_name(tmp_path):
    spec = f"imagefolder(path='{folders(tmp_path, 'abc')}', classes=['c', 'a'])"
    report = prepare_task(spec, 0).data.full_report()
    assert sum(report.kept.values()) == 20 and {name[0] for name, _ in report.dropped["unusable"]} == {"b"}
    assert {reason for _, reason in report.dropped["unusable"]} == {"the class 'b' is not one of c, a"}


def test_an_empty_class_folder_keeps_its_number_and_is_said(tmp_path):
    (folders(tmp_path, "ac") / "b").mkdir()
    data = prepare_task(f"imagefolder(path='{tmp_path}')", 0).data
    assert data.info.classes == ("a", "b", "c") and set(data.test.targets.tolist()) == {0, 2}
    assert "no test sample of 1 of 3 classes: b" in data.report.remarks
    assert f"classes in the order of {ORDER}" in data.report.remarks


def test_folders_that_look_alike_are_said(tmp_path):
    items = everything(folders(tmp_path, ["Cat", "cat", "caf\u00e9", "cafe\u0301"], 1))
    assert remarks(items) == [
        "the class folders 'Cat', 'cat' differ only in case or in the form of letters",
        "the class folders 'cafe\u0301', 'caf\u00e9' differ only in case or in the form of letters",
    ]


def test_everything_that_is_seen_is_kept_or_rejected_once(tmp_path):
    folders(tmp_path / "train")
    folders(tmp_path / "test", count=3)
    for name in ("train/a/x.avif", "train/a/x.heic", "train/a/note.txt", "test/loose.png", "loose.png", "more/b/1.png"):
        photo(tmp_path / "seed.png")
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "seed.png", tmp_path / name)
    (tmp_path / "seed.png").unlink()
    os.mkfifo(tmp_path / "test/b/fifo.png")
    (tmp_path / "train/b/broken.png").symlink_to("nowhere")
    (tmp_path / "train/b/up").symlink_to(tmp_path)
    kept, rejected = sorted_out(everything(tmp_path))
    assert len(kept) == 26 + 1 and "train/a/x.avif" in kept, "the content counts, which is a PNG"
    beside = "it is beside the folders of the splits (train, test)"
    assert {name: reason for name, reason in rejected.items() if "suffix" not in reason} == {
        "loose.png": beside,
        "more": beside,
        "test/loose.png": "it is not in a class folder",
        "test/b/fifo.png": "a FIFO (named pipe), not a file with data",
        "train/b/broken.png": "a link to 'nowhere', which cannot be followed: No such file or directory",
        "train/b/up": f"a link to {str(tmp_path.resolve())!r}, a folder above it, which is not read again",
    }
    assert {name for name, reason in rejected.items() if "suffix" in reason} == {"train/a/x.heic", "train/a/note.txt"}
    assert rejected["train/a/x.heic"].startswith("a file with the suffix .heic; those that are read: .apng .avif .bmp")


def test_linked_folders_are_read(tmp_path):
    folders(tmp_path / "real")
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "part1").symlink_to(tmp_path / "real" / name)
    data = prepare_task(f"imagefolder(path='{tmp_path / 'set'}')", 0).data
    assert data.info.classes == ("a", "b") and sum(data.full_report().kept.values()) == 20


def test_names_that_are_not_utf_8_are_escaped(tmp_path):
    folders(tmp_path)
    (tmp_path / "a").rename(os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9"))
    with open(os.fsencode(str(tmp_path)) + b"/b/\xff.png", "wb") as file:  # noqa: PTH123  # the name is bytes
        Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(file, "PNG")
    kept, rejected = sorted_out(everything(tmp_path))
    assert not rejected and {sample.target for sample in kept.values()} == {"b", "caf\\xe9"}
    assert "b/\\xff.png" in kept and "caf\\xe9/3.png" in kept and len(kept) == 21
    data = prepare_task(f"imagefolder(path='{tmp_path}')", 0).data
    assert data.info.classes == ("b", "caf\\xe9") and sum(data.full_report().kept.values()) == 21


def test_a_class_may_be_called_train(tmp_path):
    items = everything(folders(tmp_path, ["bus", "train"], 4))
    assert names(items).names == ("bus", "train") and len([i for i in items if isinstance(i, Sample)]) == 8


def test_two_folders_of_one_split_are_an_error(tmp_path):
    for name in ("train", "val", "validation"):
        folders(tmp_path / name, count=1)
    with pytest.raises(DataError, match=r"val' and .*validation' both belong to validation; rename or remove one"):
        everything(tmp_path)


def test_a_path_at_the_wrong_level_is_named(tmp_path):
    folders(tmp_path / "photos", ["cat", "dog"])
    assert remarks(everything(tmp_path)) == [
        "the only class folder 'photos' has folders inside: 'cat', 'dog'; are these the classes?"
    ]
    with pytest.raises(
        DataError, match=r"no folders inside; expected one folder per class\. If it is the folder of a class"
    ):
        everything(tmp_path / "photos" / "cat")


def deep(root, highest, dtype=np.uint16):
    for number, name in enumerate("ab"):
        for index in range(6):
            values = np.random.default_rng(index + 10 * number).integers(0, highest + 1, (8, 8)).astype(dtype)
            values[0, 0] = highest
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(root / name / f"{index}.png")
    return root


def test_12_bits_in_16_are_read_as_12_and_a_remark_says_so(tmp_path):
    data = prepare_task(f"imagefolder(path='{deep(tmp_path, 4095)}')", 0).data
    assert 0.45 < data.test.pixels().mean() < 0.55 and data.test.inputs.max() == 255
    said = "16-bit images with no value above 4,095 in 12 looked at: read as 12 bits; give bits=16 if white is 65535"
    assert data.report.remarks.count(said) == 1
    given = prepare_task(f"imagefolder(path='{tmp_path}', bits=16)", 0).data
    assert given.test.inputs.max() == 15 and said not in given.report.remarks and given.digest != data.digest


def test_splits_agree_on_the_bits_of_all(tmp_path):
    deep(tmp_path / "train", 65535)
    deep(tmp_path / "test", 4095)
    kept, _ = sorted_out(read_folder(str(tmp_path), "test", seed=0))
    assert {sample.input.max() for sample in kept.values()} == {15}


def test_the_key_of_an_image_depends_on_how_it_is_read(tmp_path):
    folders(tmp_path, count=3)
    forms = [PixelFormat(), PixelFormat(4), PixelFormat(grey=True), PixelFormat(bits=12)]
    assert (
        len({next(i for i in everything(tmp_path, pixels=form) if isinstance(i, Sample)).input.key for form in forms})
        == 4
    )


def test_more_frames_than_one_are_said(tmp_path):
    frames = [Image.fromarray(np.full((10, 20, 3), value, np.uint8)) for value in (9, 99)]
    folders(tmp_path, count=4)
    frames[0].save(tmp_path / "a/moving.gif", save_all=True, append_images=frames[1:])
    items = everything(tmp_path)
    assert remarks(items) == [
        "1 of 9 images looked at has more than one frame or page, of which the first is read (for example moving.gif)"
    ]
    kept, _ = sorted_out(items)
    assert kept["a/moving.gif"].input[0, 0, 0] == 9


def test_a_damaged_image_is_rejected_and_the_rest_is_read(tmp_path):
    folders(tmp_path)
    text(tmp_path / "a/page.jpg", "<html><body>404</body></html>")
    whole = (tmp_path / "b/0.png").read_bytes()
    (tmp_path / "b/cut.png").write_bytes(whole[:100])
    kept, rejected = sorted_out(everything(tmp_path))
    assert len(kept) == 20 and rejected.keys() == {"a/page.jpg", "b/cut.png"}
    assert rejected["a/page.jpg"].startswith("page.jpg is not an image but an HTML page")
    assert rejected["b/cut.png"].startswith("cut.png: OSError: ")


def test_rejected_files_are_yielded_by_one_split_each(tmp_path):
    folders(tmp_path)
    text(tmp_path / "a/note.txt", "")
    rejected = [item for item in everything(tmp_path) if isinstance(item, Rejected)]
    assert [item.id for item in rejected] == ["a/note.txt"]
