"""Where a data set in COCO format keeps its annotation files and images."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.data.named_files import wrong_suffix
from suite.data.regular_files import existing_folder
from suite.data.split_files import EVERYTHING, SPLIT_FOLDERS
from suite.data.splitting import SPLITS
from suite.data.walking import walk
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
        return [existing_folder(str(root / str(files.images)))]
    last = annotations.stem.partition("_")[2]
    names = [name for name in (last, *SPLIT_FOLDERS.get(part, ())) if name]
    nearest = [parent / name for name in names for parent in (root, root / "images")]
    folders = dict.fromkeys((*nearest, root / "images", annotations.parent, root))
    return [folder for folder in folders if folder.is_dir()]


def images_in(folders: Sequence[Path]) -> list[Path]:
    """Return the images in the first of some folders that has any, and in its subfolders."""
    for folder in folders:
        if images := [file for file in walk(folder).files if wrong_suffix(file) is None]:
            return images
    return []


def without_listed(images: Iterable[Path], folders: Sequence[Path], spellings: Iterable[str]) -> list[Path]:
    """Return the images that are at none of several paths relative to one of several folders."""
    # Texts instead of paths: large data sets have 100,000 images, and this takes a third of the time.
    listed = {os.path.abspath(os.path.join(folder, name)) for name in spellings for folder in folders}  # noqa: PTH100, PTH118
    return [image for image in images if os.path.abspath(image) not in listed]  # noqa: PTH100


def image_file(root: Path, folders: Sequence[Path], spellings: Iterable[str]) -> Path:
    """Return the image at one of several paths relative to one of several folders.

    Args:
        root: the data set's folder.
        folders: where images may be; see `image_folders`.
        spellings: paths as an annotation file gives them.

    Raises:
        DataError: there is none, or it is outside all of these folders: annotations must not choose what is read.
    """
    allowed = [_lexical(folder) for folder in (root, *folders)]
    paths = [folder / spelling for spelling in spellings for folder in folders]
    inside = [path for path in paths if any(_lexical(path).is_relative_to(base) for base in allowed)]
    if paths and not inside:
        raise DataError(f"{next(iter(spellings))!r} is outside the data set's folder; move the image into it")
    if found := next((path for path in inside if _is_file(path)), None):
        return found
    raise DataError(f"no such image in {', '.join(repr(str(folder)) for folder in folders)}")


def _lexical(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # resolve() follows links, which the user may have made


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _visible(root: Path, pattern: str) -> list[Path]:
    return [file for file in sorted(root.glob(pattern)) if not file.name.startswith(".")]


def _part(name: Path) -> str | None:
    words = re.findall("[a-z]+", str(name.with_suffix("")).lower())
    return next((split for split in SPLITS if any(word in SPLIT_FOLDERS[split] for word in words)), None)
