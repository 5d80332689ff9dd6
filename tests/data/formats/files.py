"""Helpers that write small files in each format and group the output of readers."""

import numpy as np
from PIL import Image

from suite.data import resolved
from suite.types import ClassNames, Rejected, Remark, Sample

SPLITS = ("train", "validation", "test")

PALETTE = [value for index in range(256) for value in (index, 255 - index, 7)]


def photo(file, width=20, height=10, seed=0, **options):
    """Write an image of noise and return its pixels (h, w, 3)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, **options)
    return pixels


def mask(file, values, palette=False):
    """Write a mask as a gray or palette image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if palette:
        image.putpalette(PALETTE)
        assert image.mode == "P"
    image.save(file)


def text(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, "utf-8")
    return file


def voc_object(name="dog", box=(1, 1, 20, 10), extra=""):
    """Return one object of a VOC annotation; the box is xmin, ymin, xmax, ymax."""
    corners = "".join(
        f"<{corner}>{value}</{corner}>" for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def voc_annotation(*objects, size=(20, 10)):
    """Return the XML of a VOC annotation; `size` is width and height, or None to leave them out."""
    declared = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation>{declared}{''.join(objects)}</annotation>"


def sorted_out(samples):
    """Read deferred samples; return samples by id and reasons of rejections by id; check that ids are unique."""
    samples = [sample for sample in samples if not isinstance(sample, Remark | ClassNames)]
    samples = [resolved(item) if isinstance(item, Sample) else item for item in samples]
    kept = {sample.id: sample for sample in samples if not isinstance(sample, Rejected)}
    rejected = {sample.id: sample.reason for sample in samples if isinstance(sample, Rejected)}
    assert len(kept) + len(rejected) == len(samples)
    return kept, rejected


def over_splits(read):
    """Return the ids of each split and the rejections of all splits; check that splits do not overlap."""
    ids, rejected = {}, {}
    for split in SPLITS:
        kept, reasons = sorted_out(read(split))
        assert not rejected.keys() & reasons.keys(), "reported in two splits"
        ids[split] = set(kept)
        rejected |= reasons
    assert not ids["train"] & ids["test"] and not ids["train"] & ids["validation"]
    assert not ids["validation"] & ids["test"]
    return ids, rejected
