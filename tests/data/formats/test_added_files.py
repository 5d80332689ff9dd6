"""Every format: a file more moves at most one other file of its class, and validation judges where there is no test."""

import json
from functools import partial

import numpy as np
import pytest

from suite.data.formats.coco import read_coco
from suite.data.formats.coco_paths import CocoFiles
from suite.data.formats.imagefolder import read_folder
from suite.data.formats.masks import read_mask_folder
from suite.data.formats.pennfudan import read_pennfudan, read_pennfudan_masks
from suite.data.formats.pets import read_pet_heads, read_pet_masks
from suite.data.formats.plain_text import read_text
from suite.data.formats.reviews import PHRASES, read_imdb, read_sst2
from suite.data.formats.tables import read_table
from suite.data.formats.voc import read_voc, read_voc_masks
from suite.data.formats.yolo import read_yolo
from suite.data.windows import SplitLimits, Window
from suite.runner.preparation import prepare_task
from suite.types import Remark
from tests.data.formats.files import SPLITS, mask, photo, sorted_out, text, voc_annotation, voc_object

SENTENCE = "no test part: the validation part is the test set, and a fifth of the training part selects"


def classes(root, number, part=""):
    photo(root / part / "ab"[number % 2] / f"{number}.png", seed=number)


def masks(root, number, part=""):
    photo(root / part / "images" / f"{number}.png", seed=number)
    mask(root / part / "masks" / f"{number}.png", np.ones((10, 20)))


def yolo(root, number, part=""):
    photo(root / part / "images" / f"{number}.png", seed=number)
    text(root / part / "labels" / f"{number}.txt", "0 0.5 0.5 1 1")


def pennfudan(root, number, part=""):
    photo(root / "PNGImages" / f"{number}.png", seed=number)
    mask(root / "PedMasks" / f"{number}_mask.png", np.ones((10, 20)))


def pets(root, number, part=""):
    photo(root / "images" / f"{number}.jpg", seed=number)
    mask(root / "annotations" / "trimaps" / f"{number}.png", np.ones((10, 20)))
    text(root / "annotations" / "xmls" / f"{number}.xml", voc_annotation(voc_object()))


def voc(root, number, part=""):
    photo(root / "JPEGImages" / f"{number}.jpg", seed=number)
    mask(root / "SegmentationClass" / f"{number}.png", np.ones((10, 20)))
    text(root / "Annotations" / f"{number}.xml", voc_annotation(voc_object()))
    for task in ("Main", "Segmentation") if part else ():
        listed = root / "ImageSets" / task / f"{part}.txt"
        text(listed, (listed.read_text() if listed.exists() else "") + f"{number}\n")


def coco(root, number, part=""):
    photo(root / "images" / f"{number}.png", seed=number)
    file = root / "annotations" / f"instances{'_' * bool(part)}{part}.json"
    empty = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "dog"}]}
    document = json.loads(file.read_text()) if file.exists() else empty
    document["images"].append({"id": number, "file_name": f"{number}.png"})
    document["annotations"].append({"image_id": number, "category_id": 1, "bbox": [1, 1, 5, 5]})
    text(file, json.dumps(document))


def table(root, number, part=""):
    file = root / f"{part or 'train'}.csv"
    text(file, (file.read_text() if file.exists() else "text,label\n") + f"text {number},{'ab'[number % 2]}\n")


def sst2(root, number, part=""):
    file = root / f"{'dev' if part == 'val' else 'train'}.tsv"
    text(file, (file.read_text() if file.exists() else "sentence\tlabel\n") + f"text {number}\t{number % 2}\n")


def imdb(root, number, part=""):
    text(root / "train" / ("neg", "pos")[number % 2] / f"{number}_5.txt", f"text {number}")


def letters(root, number, part=""):
    noise = "".join(chr(97 + value) for value in np.random.default_rng(number).integers(0, 26, 200))
    text(root / f"{part or number}.txt", noise)


def read_letters(root, split, *, seed):
    return read_text(root, split, window=Window(3, 4), limits=SplitLimits())


FORMATS = {
    "imagefolder": (classes, read_folder),
    "maskfolder": (masks, partial(read_mask_folder, classes=("background", "thing"))),
    "yolo": (yolo, lambda root, split, **options: read_yolo(root, split, classes=["dog"], **options)),
    "pennfudan": (pennfudan, read_pennfudan),
    "pennfudan masks": (pennfudan, read_pennfudan_masks),
    "pets": (pets, read_pet_masks),
    "pet heads": (pets, read_pet_heads),
    "voc": (voc, read_voc),
    "voc masks": (voc, partial(read_voc_masks, classes=("background", "thing"))),
    "coco": (coco, lambda root, split, **options: read_coco(CocoFiles(root), split, **options)),
    "table": (table, read_table),
    "sst2": (sst2, read_sst2),
    "imdb": (imdb, read_imdb),
}


def splits(read, root, seed):
    """Return the split of each id; check that no id is in two."""
    found = {}
    for split in SPLITS:
        kept, rejected = sorted_out(read(str(root), split, seed=seed))
        assert not rejected and not found.keys() & kept.keys()
        found |= dict.fromkeys(kept, split)
    return found


@pytest.mark.parametrize(("write", "read"), FORMATS.values(), ids=FORMATS)
def test_a_file_more_moves_at_most_one_other(tmp_path, write, read):
    for number in range(14):
        write(tmp_path, number)
    for seed in range(3):
        assert set(splits(read, tmp_path, seed).values()) == set(SPLITS)
    for number in range(14, 24):
        before = splits(read, tmp_path, 1)
        write(tmp_path, number)
        after = splits(read, tmp_path, 1)
        assert len(after) == len(before) + 1
        assert sum(after[name] != split for name, split in before.items()) <= 1


def test_a_text_file_more_moves_no_text_to_another_split(tmp_path):
    def pieces():
        read = {split: sorted_out(read_letters(str(tmp_path), split, seed=0))[0].values() for split in SPLITS}
        return {split: {sample.input for sample in samples} for split, samples in read.items()}

    for number in (1, 2):
        letters(tmp_path, number)
    before = pieces()
    letters(tmp_path, 0)
    after = pieces()
    for split in SPLITS:
        assert not any(before[split] & after[other] for other in SPLITS if other != split)


WITH_PARTS = {name: FORMATS[name] for name in FORMATS if not name.startswith(("penn", "pet", "imdb"))}
WITH_PARTS["text"] = (letters, read_letters)


@pytest.mark.parametrize(("write", "read"), WITH_PARTS.values(), ids=WITH_PARTS)
def test_without_a_test_part_validation_judges_and_a_remark_says_so(tmp_path, write, read):
    for number in range(20):
        write(tmp_path, number, "train" if number < 12 else "val")
    items = {split: list(read(str(tmp_path), split, seed=0)) for split in SPLITS}
    remarks = {split: [item.text for item in found if isinstance(item, Remark)] for split, found in items.items()}
    of_train = [PHRASES] if read is read_sst2 else []
    assert remarks == {"train": of_train, "validation": [], "test": [SENTENCE]}
    kept = {split: sorted_out(found)[0] for split, found in items.items()}
    if write is not letters:  # of a text these are windows
        assert len(kept["test"]) == 8 and len(kept["train"]) + len(kept["validation"]) == 12
    assert all(kept.values()) and not kept["train"].keys() & kept["validation"].keys()


def test_the_remark_is_in_the_report_of_the_data(tmp_path):
    for number in range(20):
        classes(tmp_path, number, "train" if number < 12 else "val")
    report = prepare_task(f"imagefolder(path='{tmp_path}')", 0).data.report
    order = "classes in the order of folder names sorted as text, as torchvision sorts them"
    assert report.kept["test"] == 8 and report.remarks == (order, SENTENCE) and report.sentence().endswith(SENTENCE)
