"""The Penn-Fudan pedestrians: photographs, and masks that number the people."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from suite.data.formats.image_files import BoxedObject, Photo, objects_target, tight_box
from suite.data.formats.image_pairs import Pairs, Reader
from suite.data.formats.mask_files import Mask, mask_reader, read_mask
from suite.data.formats.pixel_format import AS_STORED, PixelFormat, agreed_format
from suite.data.groups import Grouping
from suite.data.named_files import MASK_SUFFIXES, files_by_stem
from suite.data.regular_files import existing_folder
from suite.data.split_files import portion
from suite.errors import DataError
from suite.types import Deferred, Rejected, Remark, Sample

PERSON = "person"

SUFFIX = "_mask"
"""What a mask's name has after its photograph's."""


def read_pennfudan(
    path: str, split: str, *, seed: int, pixels: PixelFormat = AS_STORED, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the photographs of one split with the tightest box around each person's pixels.

    Args:
        path: the folder with PNGImages and PedMasks inside, or its parent.
        split: train, validation or test: 50 : 20 : 30 by seed, because the data come without a split.
        seed: seed of the split.
        pixels: how photographs become arrays; they are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    return _read(path, Grouping(group), (split, seed), pixels, lambda form: partial(_people, form))


def read_pennfudan_masks(
    path: str, split: str, *, seed: int, pixels: PixelFormat = AS_STORED, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the photographs of one split with masks: 1 for people, 0 elsewhere.

    Args:
        path: the folder with PNGImages and PedMasks inside, or its parent.
        split: train, validation or test: 50 : 20 : 30 by seed, because the data come without a split.
        seed: seed of the split.
        pixels: how photographs become arrays; they and their masks are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    return _read(path, Grouping(group), (split, seed), pixels, partial(mask_reader, to_classes=_presence))


def _read(
    path: str,
    grouping: Grouping,
    split_and_seed: tuple[str, int],
    pixels: PixelFormat,
    reader: Callable[[PixelFormat], Reader],
) -> Iterator[Sample | Rejected | Remark]:
    root = existing_folder(path)
    root = root if (root / "PNGImages").is_dir() else root / "PennFudanPed"
    if not (root / "PNGImages").is_dir() or not (root / "PedMasks").is_dir():
        raise DataError(f"{path!r} has no folders PNGImages and PedMasks; give the folder that PennFudanPed.zip made.")
    masks = files_by_stem(root / "PedMasks", MASK_SUFFIXES)
    labels = masks.renamed(lambda name: name.removesuffix(SUFFIX))
    pairs = Pairs(files_by_stem(root / "PNGImages"), labels, grouping=grouping)
    form, looks = agreed_format([*pairs.images.values()], pixels)
    yield from looks
    split, seed = split_and_seed
    yield from pairs.of_split(portion((), split), split, reader(form), seed=seed)


def _people(form: PixelFormat, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
    photo = Photo(image, form, file)
    target = Deferred(partial(_boxes, photo, file), (str(file),), f"boxes, size={form.size}")
    yield Sample(name, photo.deferred(), target)


def _boxes(photo: Photo, file: Path) -> dict[str, Any]:
    people = read_mask(file)
    boxes = [tight_box(people == number) for number in np.unique(people[people > 0])]
    return objects_target(photo, [BoxedObject(box, PERSON) for box in boxes])


def _presence(people: Mask) -> Mask:
    return (people > 0).astype(np.uint8)
