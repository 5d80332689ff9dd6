"""Detection data in YOLO format: one text file per image, one line per object, lengths relative to the image's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite.data.formats.image_pairs import Pairs
from suite.data.formats.label_files import shortened
from suite.data.formats.pixel_format import AS_STORED, PixelFormat, agreed_format
from suite.data.formats.yolo_lines import YoloReader
from suite.data.formats.yolo_lists import ListedParts, listed_parts, tails
from suite.data.formats.yolo_names import name_lists, numbered_classes
from suite.data.formats.yolo_yaml import extra_columns, yaml_contents, yaml_files
from suite.data.groups import Grouping
from suite.data.named_files import NamedFiles, files_by_stem
from suite.data.regular_files import existing_folder
from suite.data.split_files import EVERYTHING, beside_parts, part_folders, portion
from suite.errors import DataError
from suite.types import ClassNames, Rejected, Remark, Sample

if TYPE_CHECKING:
    from yaml import Node

UNLABELED = "no label file of this name; an empty file means that the image has no objects"

KEYS = {"train": "train", "val": "validation", "test": "test"}
"""Keys of data.yaml and the parts whose folder of images they give."""


def read_yolo(
    path: str,
    split: str,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
    pixels: PixelFormat = AS_STORED,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Yield the images of one split, each with its objects; labels are class names.

    A line is ``class x y width height`` with the center of the box, or ``class x1 y1 x2 y2 x3 y3 ...``, a polygon,
    which becomes the box around it. An empty file means that the image has no objects; an image without a label file is
    rejected, because it may not have been labeled, and so is one with a line that cannot be read.

    Args:
        path: the folder with ``images/`` and ``labels/``, or ``images/train/`` and ``labels/train/``, or
            ``train/images/`` and ``train/labels/``, or folders or lists of images that data.yaml gives;
            `split_files.portion` says which part a split takes. Label files may also be beside the images.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        classes: class names in the order of the models' outputs; None for that of names.txt, classes.txt or data.yaml.
            Without such a file, also in the order of the numbers in label files.
        pixels: how images become arrays; they are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, there are no class names, or no id names a group.
    """
    root = existing_folder(path)
    classes = (classes,) if isinstance(classes, str) else classes
    names, said = numbered_classes(root, classes)
    folders, remarks = _image_folders(root)
    images = {part: files_by_stem(folder) for part, folder in folders.items()}
    form, looks = agreed_format([file for files in images.values() for file in files.values()], pixels)
    yield from (*said, *remarks, *looks)
    if split == "test":
        yield from _beside(root, folders)
    listed = _listed(root, images)
    if listed is not None:
        images, folders = dict(listed.images), dict.fromkeys(listed.images, folders[EVERYTHING])
    share = portion(folders, split)
    yield from share.remarks
    if share.part is None:
        return
    if listed is not None and share.reports:
        yield from listed.rejected(share.part)
        yield from listed.remarks()
    labels = files_by_stem(_label_folder(root, folders[share.part], share.part), {".txt"})
    _leave_out((*name_lists(root), *yaml_files(root)), images[share.part], labels)
    if listed is not None:
        labels = labels.among(images[share.part])
    pairs = Pairs(images[share.part], labels, share.part, UNLABELED, Grouping(group))
    reader = YoloReader(names, form, extra_columns(root))
    yield from pairs.of_split(share, split, reader, seed=seed)
    yield from reader.notes.remarks(split)


def _beside(root: Path, folders: Mapping[str, Path]) -> Iterator[Rejected]:
    """Yield what is beside the folders of parts, but files of class names."""
    labels = {part: _label_folder(root, folder, part) for part, folder in folders.items()}
    names = {str(file.relative_to(root)) for file in (*name_lists(root), *yaml_files(root))}
    for content, parts in (("images", folders), ("labels", labels)):
        yield from (item for item in beside_parts(root, content, parts) if item.id not in names)


def _leave_out(files: Iterable[Path], images: NamedFiles, labels: NamedFiles) -> None:
    """Remove files of class names from images and label files; labelling tools leave them among these."""
    for file in files:
        images.unused.pop(file, None)
        labels.unused.pop(file, None)
        if labels.get(file.stem) == file:
            del labels[file.stem]


def _image_folders(root: Path) -> tuple[dict[str, Path], tuple[Remark, ...]]:
    """Return the folder of images of each part, and what must be said of it.

    These are the folders with the names of splits, else those that data.yaml gives, else ``images``, else the data
    set's folder itself if label files are in it.

    Raises:
        DataError: there are none.
    """
    try:
        named = part_folders(root, "images")
    except DataError:
        is_flat = any(root.glob("*.txt")) and bool(files_by_stem(root))
        named = {EVERYTHING: root} if is_flat else {}
        given, remarks = _given_folders(root)
        if not named and not given:
            raise
        return given or named, remarks
    if EVERYTHING not in named:
        return named, ()
    given, remarks = _given_folders(root)
    return given or named, remarks


def _label_folder(root: Path, images: Path, part: str) -> Path:
    """Return the folder of labels that corresponds to a folder of images; the folder itself if there is none."""
    is_first = part == EVERYTHING or images.name == "images"
    labels = images.parent / "labels" if is_first else root / "labels" / images.name
    return labels if labels.is_dir() else images


def _listed(root: Path, images: Mapping[str, NamedFiles]) -> ListedParts | None:
    """Return the images of each part if they are in one folder and data.yaml gives a list for each, else None."""
    lists = _given_lists(root) if EVERYTHING in images else {}
    return listed_parts(root, lists, images[EVERYTHING]) if lists else None


def _given_lists(root: Path) -> dict[str, Path]:
    """Return the lists of images that data.yaml gives; nothing if it gives something else, too."""
    values = _given(root)
    found = {KEYS[key]: file for key, value in values.items() if (file := _at(root, value.value, Path.is_file))}
    are_lists = len(found) == len(values) and all(file.suffix == ".txt" for file in found.values())
    return _distinct(found) if are_lists else {}


def _given(root: Path) -> dict[str, Node]:
    return {key: value for key in KEYS if (value := yaml_contents(root).get(key)) is not None and value.value}


def _given_folders(root: Path) -> tuple[dict[str, Path], tuple[Remark, ...]]:
    """Return the folders that data.yaml gives; nothing if it gives one for all, or if one of them is not there."""
    values = _given(root)
    found = {key: _at(root, value.value, Path.is_dir) for key, value in values.items()}
    if _given_lists(root):
        return {}, ()
    if lost := [key for key, folder in found.items() if folder is None]:
        value = shortened(values[lost[0]].value)
        text = f"data.yaml gives {lost[0]}: {value}, which is no folder here; all images are one part"
        return {}, (Remark(text),)
    return _distinct({KEYS[key]: folder for key, folder in found.items() if folder is not None}), ()


def _distinct(places: Mapping[str, Path]) -> dict[str, Path]:
    """Return one part for each place, test or else train of several; nothing if there is one place for all."""
    parts = {places[part]: part for part in ("validation", "train", "test") if part in places}
    return {part: place for place, part in parts.items()} if len(parts) > 1 else {}


def _at(root: Path, value: object, is_right: Callable[[Path], bool]) -> Path | None:
    """Return what a path of data.yaml, which is often moved, means below the data set's folder, if it is right."""
    try:
        return next((path for path in tails(root, value) if is_right(path)), None) if isinstance(value, str) else None
    except (OSError, ValueError):  # a name that is too long, or has a null character
        return None
