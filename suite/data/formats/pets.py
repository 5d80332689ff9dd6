"""The Oxford-IIIT pets: photographs of cats and dogs, trimaps of their bodies, boxes around their heads."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from suite.data.formats.image_pairs import Pairs
from suite.data.formats.mask_files import Mask, mask_reader
from suite.data.formats.pixel_format import AS_STORED, PixelFormat, agreed_format
from suite.data.formats.voc_objects import VocReader
from suite.data.groups import Grouping
from suite.data.named_files import files_by_stem
from suite.data.regular_files import existing_folder
from suite.data.split_files import portion
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

LISTS = {"train": "trainval.txt", "test": "test.txt"}
"""Files with the names of each part's photographs."""

PET, BACKGROUND, BORDER = 1, 2, 3
"""Values of a trimap."""

IGNORED = 255


def read_pet_masks(
    path: str, split: str, *, seed: int, pixels: PixelFormat = AS_STORED, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the photographs of one split with masks: 1 the pet, 0 the background, 255 the border between them.

    Args:
        path: the folder with ``images/`` and ``annotations/`` inside.
        split: train, validation or test; validation is a fifth of trainval.txt. Without these lists, all photographs
            are split by seed.
        seed: seed of these splits.
        pixels: how photographs become arrays; they and their masks are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    root = _root(path)
    lists = {part: file for part in LISTS if os.path.lexists(file := root / "annotations" / LISTS[part])}
    share = portion(lists, split)
    if share.part is None:
        return
    trimaps = files_by_stem(root / "annotations" / "trimaps", {".png"})
    pairs = Pairs(files_by_stem(root / "images"), trimaps, grouping=Grouping(group))
    form, looks = agreed_format([*pairs.images.values()], pixels)
    names, said = pairs.listed(lists, share.part) if lists else (pairs.names, [])
    yield from (*looks, *said)
    yield from pairs.of_split(share, split, mask_reader(form, _classes), seed=seed, names=names)


def read_pet_heads(
    path: str, split: str, *, seed: int, pixels: PixelFormat = AS_STORED, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the photographs of one split with the box around each head, labeled cat or dog.

    Boxes were published only for photographs in trainval.txt, and not for all of them, so test.txt cannot be the test
    split.

    Args:
        path: the folder with ``images/`` and ``annotations/xmls/`` inside.
        split: train, validation or test: 50 : 20 : 30 by seed, of the photographs that have boxes.
        seed: seed of the split.
        pixels: how photographs become arrays; they are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    root = _root(path)
    boxes = files_by_stem(root / "annotations" / "xmls", {".xml"})
    pairs = Pairs(files_by_stem(root / "images"), boxes, grouping=Grouping(group))
    form, looks = agreed_format([*pairs.images.values()], pixels)
    yield from looks
    reader = VocReader(form)
    yield from pairs.of_split(portion((), split), split, reader, seed=seed, names=sorted(boxes))
    yield from reader.notes.remarks(split)


def _root(path: str) -> Path:
    root = existing_folder(path)
    if not (root / "images").is_dir() or not (root / "annotations").is_dir():
        raise DataError(f"{path!r} has no folders images and annotations; unpack both archives of the pets into it.")
    return root


def _classes(trimap: Mask) -> Mask:
    unknown = sorted({int(value) for value in np.unique(trimap)} - {PET, BACKGROUND, BORDER})
    if unknown:
        raise DataError(f"a trimap with the values {unknown[:4]}; expected 1 (pet), 2 (background) and 3 (border)")
    return np.choose(trimap - PET, [1, 0, IGNORED]).astype(np.uint8)
