"""Which files on disk belong to which split: one rule for every format."""

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from suite.data.file_digests import MISSING, file_digests
from suite.data.groups import Names
from suite.data.splitting import SPLITS, Fractions, by_content
from suite.data.text import normalized
from suite.data.walking import Listing, children
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
"""Names that a split's folder may have, in lower case; a year may follow."""

YEAR = re.compile(r"[-_]?(19|20)\d\d$")
"""The end of names such as ``train2017``."""

EVERYTHING = "everything"
"""Name of the only part of a data set that comes without splits."""

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
    return [
        name.encode("utf-8", "surrogatepass") if content == MISSING else content
        for content, name in zip(found, names, strict=True)
    ]


def text_contents(samples: Sequence[Sample]) -> list[bytes]:
    """Return the texts of samples in the form in which they are compared."""
    return [normalized(sample.input).encode("utf-8", "surrogatepass") for sample in samples]


def part_folders(root: Path, content: str) -> dict[str, Path]:
    """Return the folder of each part: ``images/train`` or ``train/images`` for the content ``images``.

    Names of parts may be in capitals and have a year: ``images/train2017``. If no split has a folder, all of ``images``
    is one part.

    Raises:
        DataError: there is no folder with that content, or two belong to one split.
    """
    inside = root / content
    places = [(folder.name, folder) for folder in (children(inside).folders if inside.is_dir() else [])]
    places += [(above.name, above / content) for above in children(root).folders if (above / content).is_dir()]
    folders = one_per_split(places)
    if not folders:
        check_no_split([name for name, _ in places], root)
    if not folders and not inside.is_dir():
        raise DataError(f"{str(root)!r} has no folder {content!r}, nor {content}/train or train/{content}; add it.")
    return folders or {EVERYTHING: inside}


def one_per_split(places: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Return the folder of each split, from pairs of a name and the folder that has it.

    Raises:
        DataError: two folders belong to one split.
    """
    folders: dict[str, Path] = {}
    for name, folder in places:
        word = YEAR.sub("", name.lower())
        split = next((split for split, names in SPLIT_FOLDERS.items() if word in names), None)
        if split is not None and folders.setdefault(split, folder) != folder:
            raise DataError(
                f"{str(folders[split])!r} and {str(folder)!r} both belong to {split}; rename or remove one of them."
            )
    return {split: folders[split] for split in SPLITS if split in folders}


def check_no_split(names: Iterable[str], folder: Path, way_out: str = "") -> None:
    """Check that names, none of which is that of a split, do not contain several, as ``train_set`` and ``2-test`` do.

    Raises:
        DataError: they do; if they were read as something else, training data could become test data.
    """
    found: dict[str, str] = {}
    for name in names:
        words = re.findall("[a-z]+", name.lower())
        for split in (split for split, known in SPLIT_FOLDERS.items() if not set(words).isdisjoint(known)):
            found.setdefault(split, name)
    if len(set(found.values())) > 1:
        named = " and ".join(map(repr, found.values()))
        raise DataError(
            f"{named} in {str(folder)!r} look like splits; rename them to {' and '.join(found)}, so that they are read "
            f"as splits{way_out}."
        )


def beside_parts(root: Path, content: str, parts: Mapping[str, Path]) -> Iterator[Rejected]:
    """Yield what is in ``images`` for the content ``images`` beside the folders of its parts, and is not read.

    Where parts are ``train/images`` and the like, it is another folder with ``images`` inside.
    """
    if EVERYTHING in parts:
        return
    inside = children(root / content) if (root / content).is_dir() else Listing()
    others = [above / content for above in children(root).folders if (above / content).is_dir()]
    for path in (*inside.folders, *inside.files, *inside.problems, *others):
        if not any(folder.is_relative_to(path) for folder in parts.values()):
            reason = inside.problems.get(path, "it is not in the folder of a part, such as train")
            yield Rejected(str(path.relative_to(root)), reason)


def sample_name(part: str, name: str) -> str:
    """Return an id that is unique across parts, each of which may have a file of this name."""
    return name if part == EVERYTHING else f"{part}/{name}"
