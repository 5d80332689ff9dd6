"""The Penn-Fudan pedestrians: photographs, and masks that number the people."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from suite.data.formats.image_files import BoxedObject, Mask, Photo, objects_target, read_mask, tight_box
from suite.data.formats.image_pairs import Pairs, Reader, mask_reader
from suite.data.groups import Grouping
from suite.data.split_files import existing_folder, files_by_stem, portion
from suite.errors import DataError
from suite.types import Deferred, Rejected, Remark, Sample

PERSON = "person"

SUFFIX = "_mask"
"""What a mask's name has after its photograph's."""


def read_pennfudan(
    path: str, split: str, *, seed: int, size: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the photographs of one split with the tightest box around each person's pixels.

    Args:
        path: the folder with PNGImages and PedMasks inside, or its parent.
        split: train, validation or test: 50 : 20 : 30 by seed, because the data come without a split.
        seed: seed of the split.
        size: side in pixels of the square to which photographs are scaled; None to keep their size.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    return _read(path, Grouping(group), (split, seed), partial(_people, size))


def read_pennfudan_masks(
    path: str, split: str, *, seed: int, size: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the photographs of one split with masks: 1 for people, 0 elsewhere.

    Args:
        path: the folder with PNGImages and PedMasks inside, or its parent.
        split: train, validation or test: 50 : 20 : 30 by seed, because the data come without a split.
        seed: seed of the split.
        size: side in pixels of the square to which photographs and masks are scaled; None to keep their size.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    return _read(path, Grouping(group), (split, seed), mask_reader(size, _presence))


def _read(
    path: str, grouping: Grouping, split_and_seed: tuple[str, int], reader: Reader
) -> Iterator[Sample | Rejected | Remark]:
    root = existing_folder(path)
    root = root if (root / "PNGImages").is_dir() else root / "PennFudanPed"
    if not (root / "PNGImages").is_dir() or not (root / "PedMasks").is_dir():
        raise DataError(f"{path!r} has no folders PNGImages and PedMasks; give the folder that PennFudanPed.zip made.")
    masks = files_by_stem(root / "PedMasks")
    labels = {name.removesuffix(SUFFIX): masks[name] for name in masks}
    pairs = Pairs(files_by_stem(root / "PNGImages"), labels, grouping=grouping)
    split, seed = split_and_seed
    yield from pairs.of_split(portion((), split), split, reader, seed=seed)


def _people(size: int | None, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
    photo = Photo(image, size, file)
    target = Deferred(partial(_boxes, photo, file), (str(file),), f"boxes, size={size}")
    yield Sample(name, photo.deferred(), target)


def _boxes(photo: Photo, file: Path) -> dict[str, Any]:
    people = read_mask(file)
    boxes = [tight_box(people == number) for number in np.unique(people[people > 0])]
    return objects_target(photo, [BoxedObject(box, PERSON) for box in boxes])


def _presence(people: Mask) -> Mask:
    return (people > 0).astype(np.uint8)
