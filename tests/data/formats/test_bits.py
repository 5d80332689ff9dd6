"""Every format of images reads 12 bits in 16, takes bits=, and reads the images of all splits alike."""

import numpy as np
import pytest
from PIL import Image

from suite.data import resolved
from suite.registry import resolve
from suite.types import Rejected, Remark, Sample
from tests.data.formats.files import SPLITS
from tests.data.formats.test_added_files import classes, coco, masks, pennfudan, pets, voc, yolo

TASKS = {
    "imagefolder": (classes, ""),
    "coco": (coco, ""),
    "yolo": (yolo, ", classes=[dog, cat]"),
    "voc": (voc, ""),
    "pennfudan": (pennfudan, ""),
    "pets_detection": (pets, ""),
    "maskfolder": (masks, ", classes=[background, thing]"),
    "voc_segmentation": (voc, ""),
    "pennfudan_segmentation": (pennfudan, ""),
    "pets": (pets, ""),
}
NO_PHOTOS = ("masks", "PedMasks", "trimaps", "SegmentationClass")
SAID = "16-bit images with no value above 4,095 in 12 looked at: read as 12 bits; give bits=16 if white is 65535"


def deep(root, write):
    """Write a data set whose images have 12 bits in 16; most of them are darker."""
    for number in range(12):
        write(root, number)
    photos = [file for file in sorted(root.rglob("*.*")) if file.parent.name not in NO_PHOTOS]
    photos = [file for file in photos if file.suffix in (".png", ".jpg")]
    for number, file in enumerate(photos):
        pixels = np.full((10, 20), 4095 if number == 5 else 1600, np.uint16)
        pixels[0, 0] = number
        Image.fromarray(pixels).save(file, "PNG")


def read(spec_text):
    """Return the values of all images and the remarks on bits."""
    entry, spec = resolve("task", spec_text)
    items = [item for split in SPLITS for item in entry.build(spec, split=split, seed=0)]
    assert not [item for item in items if isinstance(item, Rejected)]
    values = {
        int(value) for item in items if isinstance(item, Sample) for value in resolved(item).input[:, 1:, 1:].flat
    }
    return values, {item.text for item in items if isinstance(item, Remark) and "bit" in item.text}


@pytest.mark.parametrize(("name", "write", "more"), [(name, *rest) for name, rest in TASKS.items()], ids=TASKS)
def test_12_bits_in_16_are_read_alike_in_all_splits(tmp_path, name, write, more):
    deep(tmp_path, write)
    assert read(f"{name}(path='{tmp_path}'{more})") == ({1600 >> 4, 255}, {SAID})
    assert read(f"{name}(path='{tmp_path}', bits=13{more})") == ({1600 >> 5, 127}, set())
