"""Detection and segmentation data in the layout of Pascal VOC."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from suite.data.formats.image_pairs import Pairs, Reader, mask_reader
from suite.data.formats.voc_objects import voc_sample
from suite.data.groups import Grouping
from suite.data.split_files import existing_folder, files_by_stem, listed_names, portion
from suite.data.splitting import SPLITS
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
"""Files with the names of each part's images; VOC has labels for train and val, and for test only in 2007."""


def read_voc(
    path: str, split: str, *, seed: int, size: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its objects; difficult objects are ignored objects.

    Args:
        path: the folder with JPEGImages, Annotations and ImageSets/Main inside, or a folder above it.
        split: train, validation or test; `split_files.portion` says which list a split takes.
        seed: seed of the split, if the data do not come with one.
        size: side in pixels of the square to which images are scaled; None to keep their size.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    root = _root(path)
    labels = files_by_stem(root / "Annotations", {".xml"})
    return _read(root, "Main", Grouping(group), (split, seed), labels, partial(voc_sample, size))


def read_voc_masks(
    path: str, split: str, *, seed: int, size: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its mask of class indices; 255 is the border around objects.

    Args:
        path: the folder with JPEGImages, SegmentationClass and ImageSets/Segmentation inside, or a folder above it.
        split: train, validation or test; `split_files.portion` says which list a split takes.
        seed: seed of the split, if the data do not come with one.
        size: side in pixels of the square to which images and masks are scaled; None to keep their size.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    root = _root(path)
    labels = files_by_stem(root / "SegmentationClass", {".png"})
    return _read(root, "Segmentation", Grouping(group), (split, seed), labels, mask_reader(size))


def _root(path: str) -> Path:
    root = existing_folder(path)
    patterns = ("JPEGImages", "*/JPEGImages", "VOCdevkit/*/JPEGImages")
    matches = next((folders for pattern in patterns if (folders := sorted(root.glob(pattern)))), [])
    if len(matches) != 1:
        named = ", ".join(folder.parent.name for folder in matches) or "none"
        raise DataError(f"{path!r}: expected one folder with JPEGImages inside, found {named}; set path= to it.")
    return matches[0].parent


def _read(
    root: Path,
    task: str,
    grouping: Grouping,
    split_and_seed: tuple[str, int],
    labels: Mapping[str, Path],
    reader: Reader,
) -> Iterator[Sample | Rejected | Remark]:
    """Yield a split's images; without lists, all images that have a label are split by seed."""
    split, seed = split_and_seed
    lists = {part: file for part in SPLITS if (file := root / "ImageSets" / task / LISTS[part]).is_file()}
    share = portion(lists, split)
    yield from share.remarks
    if share.part is not None:
        pairs = Pairs(files_by_stem(root / "JPEGImages"), labels, grouping=grouping)
        names = listed_names(lists[share.part]) if lists else list(labels)
        yield from pairs.of_split(share, split, reader, seed=seed, names=names)
