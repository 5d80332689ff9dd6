"""Detection and segmentation data in the layout of Pascal VOC."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from suite.data.formats.image_files import mask_sample, read_mask
from suite.data.formats.image_pairs import Pairs
from suite.data.formats.voc_objects import voc_sample
from suite.data.split_files import files_by_stem, folder, lines, portion
from suite.data.splitting import SPLITS
from suite.errors import DataError
from suite.types import Rejected, Sample

LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
"""Files with the names of each part's images; VOC ships the labels of train and val, and only of 2007 also of test."""


def read_voc(path: str, split: str, *, seed: int, size: int | None = None) -> Iterator[Sample | Rejected]:
    """Yield the images of one split, each with its objects; difficult objects are ignored ones.

    Args:
        path: the folder with JPEGImages, Annotations and ImageSets/Main inside, or one above it.
        split: train, validation or test; which list it takes is the rule of `suite.data.split_files.portion`.
        seed: seed of the split, where the data have none of their own.
        size: side in pixels of the square to which images are scaled; None to take them as they are.

    Raises:
        DataError: there is no such layout.
    """
    root = _root(path)
    pairs = Pairs(files_by_stem(root / "JPEGImages"), files_by_stem(root / "Annotations", {".xml"}))
    yield from pairs.read(_names(root, "Main", list(pairs.labels), (split, seed)), partial(voc_sample, size))


def read_voc_masks(path: str, split: str, *, seed: int, size: int | None = None) -> Iterator[Sample | Rejected]:
    """Yield the images of one split, each with its mask of class indices; 255 is the border between objects.

    Args:
        path: the folder with JPEGImages, SegmentationClass and ImageSets/Segmentation inside, or one above it.
        split: train, validation or test; which list it takes is the rule of `suite.data.split_files.portion`.
        seed: seed of the split, where the data have none of their own.
        size: side in pixels of the square to which images and masks are scaled; None to take them as they are.

    Raises:
        DataError: there is no such layout.
    """
    root = _root(path)
    pairs = Pairs(files_by_stem(root / "JPEGImages"), files_by_stem(root / "SegmentationClass", {".png"}))
    yield from pairs.read(_names(root, "Segmentation", list(pairs.labels), (split, seed)), partial(_mask, size))


def _mask(size: int | None, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
    yield mask_sample(name, image, read_mask(file), size=size)


def _root(path: str) -> Path:
    root = folder(path)
    patterns = ("JPEGImages", "*/JPEGImages", "VOCdevkit/*/JPEGImages")
    places = next((found for pattern in patterns if (found := sorted(root.glob(pattern)))), [])
    if len(places) != 1:
        named = ", ".join(place.parent.name for place in places) or "none"
        raise DataError(f"{path!r}: expected one folder with JPEGImages inside, found {named}; give path= to that one.")
    return places[0].parent


def _names(root: Path, task: str, labelled: list[str], share: tuple[str, int]) -> list[str]:
    """Return the names of a split's images; without lists, every one that has a label is shared out by seed."""
    split, seed = share
    found = {part: file for part in SPLITS if (file := root / "ImageSets" / task / LISTS[part]).is_file()}
    chosen = portion(found, split)
    if chosen.part is None:
        return []
    names = list(dict.fromkeys(line.split()[0] for line in lines(found[chosen.part]) if line)) if found else labelled
    return chosen.take(names, split, seed=seed)
