"""Which files on disk belong to which split: one rule for every format."""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from suite.data.file_digests import MISSING, file_digests
from suite.data.groups import Names
from suite.data.splitting import SPLITS, Fractions, by_content
from suite.data.text import normalized
from suite.errors import DataError
from suite.types import Remark, Sample

SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val", "valid"), "test": ("test",)}
"""Names that a split's folder may have, in lower case."""

EVERYTHING = "everything"
"""Name of the only part of a data set that comes without splits."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
"""File name extensions of images, in lower case."""

ALL_FRACTIONS, TRAIN_FRACTIONS = (0.5, 0.2, 0.3), (0.8, 0.2, 0.0)
"""Shares of train, validation and test: of data without a split, and of a train part without a validation part."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Portion:
    """The data on disk that a split takes.

    Attributes:
        part: the part they come from; None if there is nothing for this split.
        fractions: shares into which that part is divided; None to take all of it.
        reports: whether this split reports what is wrong with the part as a whole; true for one split per part.
        remarks: what readers of the results must know; not empty for at most one split.
    """

    part: str | None
    fractions: Fractions | None
    reports: bool
    remarks: tuple[Remark, ...] = ()

    def take(
        self,
        items: Sequence[Item],
        split: str,
        *,
        seed: int,
        contents: Callable[[Sequence[Item]], Sequence[bytes]],
        labels: Sequence[Hashable] | None = None,
        groups: Names | None = None,
    ) -> list[Item]:
        """Return the split's share of the part's items; see `splitting.by_content`.

        Items of one group are in one split, which follows from its name as that of other items from their contents.

        Args:
            items: all items of the part.
            split: train, validation or test.
            seed: seed of the draws.
            contents: takes items and returns a digest or text of each; called only if the part is divided.
            labels: the class of each item; None if they have none.
            groups: the group of each item; None if no group is known.
        """
        if self.fractions is None:
            return list(items)
        keys = _keys(items, contents, groups or [None] * len(items))
        chosen = by_content(keys, split, seed=seed, labels=labels, fractions=self.fractions)
        return [items[position] for position in chosen]


def _keys(items: Sequence[Item], contents: Callable[[Sequence[Item]], Sequence[bytes]], groups: Names) -> list[bytes]:
    """Return what an item's split follows from: its group, or its content if it has none."""
    alone = [item for item, group in zip(items, groups, strict=True) if group is None]
    own = iter(contents(alone))
    return [next(own) if group is None else b"group\0" + group.encode("utf-8", "surrogatepass") for group in groups]


def portion(parts: Collection[str], split: str) -> Portion:
    """Return what a split takes, given which parts are on disk.

    ================== ======================= =================== ====================
    on disk            train                   validation          test
    ================== ======================= =================== ====================
    no split, or train 50 % by seed            20 % by seed        30 % by seed
    train, validation  80 % of train by seed   20 % of train       all of validation
    train, test        80 % of train by seed   20 % of train       all of test
    all three          all of train            all of validation   all of test
    one, not train     nothing                 nothing             all of it
    ================== ======================= =================== ====================

    Data sets with a public train and validation part keep the labels of their test part private. Models are then
    compared on the validation part, so nothing may be selected on it.

    Raises:
        ValueError: an unknown split.
    """
    SPLITS.index(split)
    if set(parts) <= {"train", EVERYTHING}:
        return Portion("train" if "train" in parts else EVERYTHING, ALL_FRACTIONS, split == "test")
    test_part = "test" if "test" in parts else "validation"
    if split == "test":
        return Portion(test_part, None, True, _remarks(parts))
    if test_part == "test" and "validation" in parts:
        return Portion(split if split in parts else None, None, True)
    return Portion("train" if "train" in parts else None, TRAIN_FRACTIONS, split == "train")


def _remarks(parts: Collection[str]) -> tuple[Remark, ...]:
    if "test" in parts:
        return ()
    selects = ", and a fifth of the training part selects" if "train" in parts else ""
    return (Remark(f"no test part: the validation part is the test set{selects}"),)


def file_contents(files: Sequence[Path | None], names: Sequence[str]) -> list[bytes]:
    """Return the SHA-256 of each file's content; of its name where there is no file or it cannot be read."""
    digests = file_digests(str(file) for file in files if file is not None)
    found = [MISSING if file is None else digests[str(file)] for file in files]
    return [name.encode() if content == MISSING else content for content, name in zip(found, names, strict=True)]


def text_contents(samples: Sequence[Sample]) -> list[bytes]:
    """Return the texts of samples in the form in which they are compared."""
    return [normalized(sample.input).encode("utf-8", "surrogatepass") for sample in samples]


def existing_folder(path: str) -> Path:
    """Return a path as a folder.

    Raises:
        DataError: there is no such folder.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{path!r} is not a folder; give the folder that the data set was unpacked to.")
    return root


def part_folders(root: Path, content: str) -> dict[str, Path]:
    """Return the folder of each part: ``images/train`` or ``train/images`` for the content ``images``.

    If no split has a folder, all of ``images`` is one part.

    Raises:
        DataError: there is no folder with that content.
    """
    folders = {}
    for split in SPLITS:
        paths = [path for name in SPLIT_FOLDERS[split] for path in (root / content / name, root / name / content)]
        if existing := next((path for path in paths if path.is_dir()), None):
            folders[split] = existing
    if not folders and not (root / content).is_dir():
        raise DataError(f"{str(root)!r} has no folder {content!r}, nor {content}/train or train/{content}; add it.")
    return folders or {EVERYTHING: root / content}


def files_by_stem(folder: Path | None, suffixes: Collection[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """Return files with these suffixes in a folder and its subfolders, sorted, by path without suffix; no hidden files.

    Raises:
        DataError: two files differ in their suffix only.
    """
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")) if folder is not None else []:
        if file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file():
            stem = file.relative_to(folder or file).with_suffix("").as_posix()
            if stem in files:
                raise DataError(f"{str(files[stem])!r} and {file.name} have one name; rename or remove one of them.")
            files[stem] = file
    return files


def sample_name(part: str, name: str) -> str:
    """Return an id that is unique across parts, each of which may have a file of this name."""
    return name if part == EVERYTHING else f"{part}/{name}"


def lines(file: Path) -> list[str]:
    """Return the lines of a text file, stripped of white space, empty ones included.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return [line.strip() for line in file.read_text("utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file.name} cannot be read as text: {error}") from error


def listed_names(file: Path) -> list[str]:
    """Return the first word of each line of a text file, each once; empty lines and comments (#) are skipped.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    return list(dict.fromkeys(line.split()[0] for line in lines(file) if line and not line.startswith("#")))
