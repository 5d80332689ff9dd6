"""Detection and segmentation data in the layout of Pascal VOC."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from suite.data.formats.image_pairs import Pairs, Reader
from suite.data.formats.mask_files import mask_reader, meaning_of
from suite.data.formats.pixel_format import AS_STORED, PixelFormat, agreed_format
from suite.data.formats.voc_objects import VocReader
from suite.data.groups import Grouping
from suite.data.named_files import files_by_stem
from suite.data.regular_files import existing_folder
from suite.data.split_files import portion
from suite.data.splitting import SPLITS
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
"""Files with the names of each part's images; VOC has labels for train and val, and for test only in 2007."""


def read_voc(
    path: str, split: str, *, seed: int, pixels: PixelFormat = AS_STORED, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its objects; difficult objects are ignored objects.

    Args:
        path: the folder with JPEGImages, Annotations and ImageSets/Main inside, or a folder above it.
        split: train, validation or test; `split_files.portion` says which list a split takes.
        seed: seed of the split, if the data do not come with one.
        pixels: how images become arrays; they are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    root = _root(path)
    images, labels = files_by_stem(root / "JPEGImages"), files_by_stem(root / "Annotations", {".xml"})
    form, looks = agreed_format([*images.values()], pixels)
    yield from looks
    reader = VocReader(form)
    pairs = Pairs(images, labels, grouping=Grouping(group))
    yield from _read(root / "ImageSets" / "Main", pairs, (split, seed), reader)
    yield from reader.notes.remarks(split)


def read_voc_masks(
    path: str,
    split: str,
    *,
    seed: int,
    classes: Sequence[str],
    pixels: PixelFormat = AS_STORED,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its mask of class indices; 255 is the border around objects.

    Args:
        path: the folder with JPEGImages, SegmentationClass and ImageSets/Segmentation inside, or a folder above it.
        split: train, validation or test; `split_files.portion` says which list a split takes.
        seed: seed of the split, if the data do not come with one.
        classes: the classes in order.
        pixels: how images become arrays; they and their masks are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, it is unknown what the masks mean, or no id names a group.
    """
    root = _root(path)
    images, labels = files_by_stem(root / "JPEGImages"), files_by_stem(root / "SegmentationClass", {".png"})
    meaning = meaning_of([*labels.values()], classes)
    form, looks = agreed_format([*images.values()], pixels)
    yield from (*looks, *meaning.remarks)
    pairs = Pairs(images, labels, grouping=Grouping(group))
    yield from _read(root / "ImageSets" / "Segmentation", pairs, (split, seed), mask_reader(form, meaning.to_classes))


def _unlabeled(pairs: Pairs) -> Iterator[Rejected]:
    """Yield the images without a label file, which are not sought in any list."""
    for name in sorted(pairs.images.keys() - pairs.labels.keys()):
        yield Rejected(name, pairs.unlabeled)


def _root(path: str) -> Path:
    root = existing_folder(path)
    patterns = ("JPEGImages", "*/JPEGImages", "VOCdevkit/*/JPEGImages")
    matches = next((folders for pattern in patterns if (folders := sorted(root.glob(pattern)))), [])
    if len(matches) != 1:
        named = ", ".join(folder.parent.name for folder in matches) or "none"
        raise DataError(f"{path!r}: expected one folder with JPEGImages inside, found {named}; set path= to it.")
    return matches[0].parent


def _read(
    folder: Path, pairs: Pairs, split_and_seed: tuple[str, int], reader: Reader
) -> Iterator[Sample | Rejected | Remark]:
    """Yield a split's images by the lists in a folder; without lists, all images that have a label, split by seed."""
    split, seed = split_and_seed
    lists = {part: file for part in SPLITS if os.path.lexists(file := folder / LISTS[part])}
    share = portion(lists, split)
    yield from share.remarks
    if share.part is None:
        return
    names, said = pairs.listed(lists, share.part) if lists else ([*pairs.labels], _unlabeled(pairs))
    if share.reports:
        yield from said
    yield from pairs.of_split(share, split, reader, seed=seed, names=names)
