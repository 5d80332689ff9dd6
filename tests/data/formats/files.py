"""Tiny files on disk, and what comes of them."""

import numpy as np
from PIL import Image

from suite.types import Rejected

SPLITS = ("train", "validation", "test")

PALETTE = [value for index in range(256) for value in (index, 255 - index, 7)]


def photo(file, width=20, height=10, seed=0, **options):
    """Write a photograph of noise and return its pixels (h, w, 3)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, **options)
    return pixels


def mask(file, values, palette=False):
    """Write a mask of numbers, with the colours of a palette or without."""
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


def sorted_out(samples):
    """Return samples by id, and reasons of rejections by id; ids are used once."""
    samples = list(samples)
    kept = {sample.id: sample for sample in samples if not isinstance(sample, Rejected)}
    rejected = {sample.id: sample.reason for sample in samples if isinstance(sample, Rejected)}
    assert len(kept) + len(rejected) == len(samples)
    return kept, rejected


def over_splits(read):
    """Return the ids of each split, and the rejections of all; nothing comes in two splits."""
    ids, rejected = {}, {}
    for split in SPLITS:
        kept, reasons = sorted_out(read(split))
        assert not rejected.keys() & reasons.keys(), "reported in two splits"
        ids[split] = set(kept)
        rejected |= reasons
    assert not ids["train"] & ids["test"] and not ids["train"] & ids["validation"]
    assert not ids["validation"] & ids["test"]
    return ids, rejected
