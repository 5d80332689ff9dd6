"""Where a data set in COCO's format keeps its annotation files and images."""

import re
from dataclasses import dataclass
from pathlib import Path

from suite.data.split_files import EVERYTHING, SPLIT_FOLDERS, folder
from suite.data.splitting import SPLITS
from suite.errors import DataError


@dataclass(frozen=True)
class CocoFiles:
    """Where a data set in COCO's format lies.

    Attributes:
        path: the folder that all other names start from.
        images: folder of the images; None to look where data sets usually have them, see `image_folders`.
        train, validation, test: annotation files; where none is given they are found by name, see `annotation_files`.
    """

    path: str
    images: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None


def annotation_files(files: CocoFiles) -> dict[str, Path]:
    """Return the annotation file of each part.

    Those given by name; otherwise the JSON files in ``annotations/``, or in the folder itself, or one level below. If
    some are called ``instances...``, only those count. A file belongs to the split in its name, or in the name of its
    folder: ``instances_train2017.json``, ``valid/_annotations.coco.json``. A single file may have any name.

    Raises:
        DataError: there is none, two are of one split, or one of several names no split.
    """
    root = folder(files.path)
    given = {split: root / str(name) for split in SPLITS if (name := getattr(files, split)) is not None}
    if given:
        return given
    patterns = ("annotations/*.json", "*.json", "*/*.json")
    every = next((found for pattern in patterns if (found := _visible(root, pattern))), [])
    every = [file for file in every if file.name.startswith("instances")] or every
    if not every:
        raise DataError(f"{files.path!r} has no JSON file in annotations/ or elsewhere; name one: test='FILE.json'.")
    named: dict[str, Path] = {}
    for file in every:
        part = _part(file.relative_to(root)) or (EVERYTHING if len(every) == 1 else None)
        if part is None or part in named:
            raise DataError(
                f"{file.name} is of no split by its name, or of the same as another file of {files.path!r}; "
                "say which files count: train='FILE.json', validation=..., test=...."
            )
        named[part] = file
    return named


def image_folders(files: CocoFiles, part: str, annotations: Path) -> list[Path]:
    """Return the folders in which an image is looked for, the likeliest first.

    The given one; otherwise, in the folder or in ``images/``, the one with the last word of the annotation file's name
    (``instances_train2017.json``: ``train2017``) or the split's name; then ``images/``, where the annotations are, and
    the folder itself.
    """
    root = folder(files.path)
    if files.images is not None:
        return [root / files.images]
    last = annotations.stem.partition("_")[2]
    names = [name for name in (last, *SPLIT_FOLDERS.get(part, ())) if name]
    nearest = [place / name for name in names for place in (root, root / "images")]
    return [place for place in (*nearest, root / "images", annotations.parent, root) if place.is_dir()]


def _visible(root: Path, pattern: str) -> list[Path]:
    return [file for file in sorted(root.glob(pattern)) if not file.name.startswith(".")]


def _part(name: Path) -> str | None:
    words = re.findall("[a-z]+", str(name.with_suffix("")).lower())
    return next((split for split in SPLITS if any(word in SPLIT_FOLDERS[split] for word in words)), None)
