"""Images on disk in the ImageFolder layout: one folder per class, with or without split folders above them."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suite.data.formats.opening import open_image, orientation, turned
from suite.data.formats.pixel_format import AS_STORED, PixelFormat, agreed_format, channels_first
from suite.data.groups import Grouping
from suite.data.named_files import wrong_suffix
from suite.data.regular_files import existing_folder
from suite.data.split_files import EVERYTHING, check_no_split, file_contents, one_per_split, portion
from suite.data.walking import Listing, children, walk
from suite.errors import DataError
from suite.escaping import escaped_name
from suite.types import ClassNames, Deferred, Rejected, Remark, Sample

WORDS = re.compile("([0-9]+)")
"""Separates the numbers in a name from the text between them."""

ORDER = "folder names sorted as text, as torchvision sorts them"


@dataclass(frozen=True)
class _Part:
    """The folder of a part, what is in it, and its images in class folders."""

    folder: Path
    listing: Listing
    images: Sequence[Path]

    @property
    def classes(self) -> set[str]:
        """The names of the class folders.

        Raises:
            DataError: there is none.
        """
        names = {folder.name for folder in self.listing.folders if folder.parent == self.folder}
        if not names:
            raise DataError(
                f"{str(self.folder)!r} has no folders inside; expected one folder per class. If it is the folder of a "
                "class, give the one above it."
            )
        return names


def read_folder(
    path: str,
    split: str,
    *,
    seed: int,
    pixels: PixelFormat = AS_STORED,
    group: str | None = None,
    classes: Sequence[str] | None = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Yield the images of one split, which are read when they are needed.

    Args:
        path: the folder, either ``train/``, ``validation/`` and ``test/`` with class folders inside, or class folders
            alone; `split_files.portion` says which folder a split takes.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        pixels: how images become arrays; they are scaled to cover their square, and cropped at its center.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.
        classes: the classes in the order of the models' outputs; None for the folders in the order of text.

    Raises:
        DataError: no such folder, no class folders in it, folders that look like splits, or no id names a group.
    """
    root = existing_folder(path)
    folders, beside = _split_folders(root)
    parts = {name: _part(folder) for name, folder in folders.items()}
    names = sorted(set().union(*(part.classes for part in parts.values())))
    if classes is None:
        check_no_split(_without_images(parts), root, ", or give classes=[...] if they are classes")
        yield ClassNames(tuple(dict.fromkeys(map(escaped_name, names))), ORDER)
    form, looks = agreed_format([file for part in parts.values() for file in part.images], pixels)
    share = portion(parts, split)
    yield from (*_remarks(names, parts, classes), *looks, *share.remarks)
    if split == "test":
        yield from (Rejected(str(path.relative_to(root)), reason) for path, reason in beside.items())
    if share.part is None:
        return
    part, grouping = parts[share.part], Grouping(group)
    ids = {file: escaped_name(str(file.relative_to(root))) for file in part.images}
    if share.reports:
        yield from (Rejected(str(path.relative_to(root)), reason) for path, reason in _unused(part))
        yield from grouping.remarks([*ids.values()])
    labels, groups = [_label(part, file) for file in part.images], grouping.of_all([*ids.values()])
    for file in share.take(part.images, split, seed=seed, contents=_contents, labels=labels, groups=groups):
        image = Deferred(partial(_pixels, file, form), (str(file),), f"cropped, {form}")
        yield Sample(ids[file], image, _label(part, file), group=grouping.of(ids[file]))


def _split_folders(root: Path) -> tuple[Mapping[str, Path], Mapping[Path, str]]:
    """Return the folder of each part, and why each thing beside them is not read.

    Raises:
        DataError: two folders belong to one split.
    """
    top = children(root)
    named = [(folder.name, folder) for folder in top.folders]
    splits = one_per_split(named)
    others = [folder for folder in top.folders if folder not in splits.values()]
    if not splits or (len(splits) == 1 and others and not children(*splits.values()).folders):
        return {EVERYTHING: root}, {}  # a single folder called train, without folders inside, is a class
    reason = f"it is beside the folders of the splits ({', '.join(folder.name for folder in splits.values())})"
    return splits, dict.fromkeys([*others, *top.files], reason) | top.problems


def _part(folder: Path) -> _Part:
    listing = walk(folder)
    images = [file for file in listing.files if file.parent != folder and wrong_suffix(file) is None]
    return _Part(folder, listing, images)


def _without_images(parts: Mapping[str, _Part]) -> list[str]:
    """Return the names of class folders that have images only in their subfolders; nothing if there are splits."""
    part = parts.get(EVERYTHING)
    if part is None:
        return []
    direct = {file.parent.name for file in part.images if file.parent.parent == part.folder}
    return sorted(part.classes - direct)


def _unused(part: _Part) -> Iterator[tuple[Path, str]]:
    """Yield everything in the folder of a part that is not an image, with the reason."""
    yield from part.listing.problems.items()
    for file in part.listing.files:
        if file.parent == part.folder:
            yield file, "it is not in a class folder"
        elif reason := wrong_suffix(file):
            yield file, reason


def _remarks(names: Sequence[str], parts: Mapping[str, _Part], classes: Sequence[str] | None) -> Iterator[Remark]:
    """Yield what is odd about the names of class folders."""
    natural = sorted(names, key=lambda name: [int(word) if word.isdecimal() else word for word in WORDS.split(name)])
    if classes is None and natural != names:
        yield Remark(
            f"as text the classes begin {_listed(names)}, by number {_listed(natural)}; if models number them "
            "otherwise than as text, give classes=[...] in their order"
        )
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[unicodedata.normalize("NFC", name).casefold()].append(name)
    for same in alike.values():
        if len(same) > 1:
            yield Remark(f"the class folders {_listed(same)} differ only in case or in the form of letters")
    if len(names) == 1:
        yield from _nested(names[0], parts)


def _nested(name: str, parts: Mapping[str, _Part]) -> Iterator[Remark]:
    """Yield a remark if the only class folder has no images directly inside, but folders."""
    for part in parts.values():
        folder = part.folder / name
        inside = [child.name for child in part.listing.folders if child.parent == folder]
        if inside and not any(file.parent == folder for file in part.images):
            yield Remark(
                f"the only class folder {name!r} has folders inside: {_listed(inside)}; are these the classes?"
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")


def _label(part: _Part, file: Path) -> str:
    return escaped_name(file.relative_to(part.folder).parts[0])


def _contents(files: Sequence[Path]) -> list[bytes]:
    return file_contents(files, [file.name for file in files])


def _pixels(file: Path, form: PixelFormat) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageOps

    with open_image(file, load=False) as raw:
        image = form.load(raw)
        image = turned(image, orientation(raw))  # Pillow turns TIFF files when it loads them
        if form.size is not None:
            image = ImageOps.fit(image, (form.size, form.size), Image.Resampling.BILINEAR)
        return channels_first(image)
