"""Where a data set in COCO format keeps its annotation files and images."""

import re
from dataclasses import dataclass
from pathlib import Path

from suite.data.split_files import EVERYTHING, SPLIT_FOLDERS, existing_folder
from suite.data.splitting import SPLITS
from suite.errors import DataError


@dataclass(frozen=True)
class CocoFiles:
    """Paths of a data set in COCO format.

    Attributes:
        path: the folder that all other paths are relative to.
        images: folder of the images; None to search the usual places, see `image_folders`.
        train, validation, test: annotation files; if none is given, they are found by name, see `annotation_files`.
    """

    path: str
    images: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None


def annotation_files(files: CocoFiles) -> dict[str, Path]:
    """Return the annotation file of each part.

    These are the given files; otherwise the JSON files in ``annotations/``, else in the folder itself, else one level
    below. If some are called ``instances...``, the others are ignored. A file belongs to the split in its name or in
    its folder's name: ``instances_train2017.json``, ``valid/_annotations.coco.json``. A single file may have any name.

    Raises:
        DataError: there is none, two belong to one split, or one of several names no split.
    """
    root = existing_folder(files.path)
    given = {split: root / str(name) for split in SPLITS if (name := getattr(files, split)) is not None}
    if given:
        return given
    patterns = ("annotations/*.json", "*.json", "*/*.json")
    files_found = next((matches for pattern in patterns if (matches := _visible(root, pattern))), [])
    candidates = [file for file in files_found if file.name.startswith("instances")] or files_found
    if not candidates:
        raise DataError(f"{files.path!r} has no JSON file in annotations/ or elsewhere; name one: test='FILE.json'.")
    named: dict[str, Path] = {}
    for file in candidates:
        part = _part(file.relative_to(root)) or (EVERYTHING if len(candidates) == 1 else None)
        if part is None or part in named:
            raise DataError(
                f"The name of {file.name} contains no split, or the same one as another file in {files.path!r}; "
                "name the files explicitly: train='FILE.json', validation=..., test=... ."
            )
        named[part] = file
    return named


def image_folders(files: CocoFiles, part: str, annotations: Path) -> list[Path]:
    """Return the folders in which an image may be, the likeliest first.

    This is the given one. Otherwise they are, in the data set's folder or in ``images/``, folders with the last word of
    the annotation file's name (``instances_train2017.json``: ``train2017``) or the split's name; then ``images/``, the
    folder of the annotations, and the data set's folder.
    """
    root = existing_folder(files.path)
    if files.images is not None:
        return [root / files.images]
    last = annotations.stem.partition("_")[2]
    names = [name for name in (last, *SPLIT_FOLDERS.get(part, ())) if name]
    nearest = [parent / name for name in names for parent in (root, root / "images")]
    return [folder for folder in (*nearest, root / "images", annotations.parent, root) if folder.is_dir()]


def _visible(root: Path, pattern: str) -> list[Path]:
    return [file for file in sorted(root.glob(pattern)) if not file.name.startswith(".")]


def _part(name: Path) -> str | None:
    words = re.findall("[a-z]+", str(name.with_suffix("")).lower())
    return next((split for split in SPLITS if any(word in SPLIT_FOLDERS[split] for word in words)), None)
