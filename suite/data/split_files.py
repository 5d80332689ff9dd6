"""Which files on disk make up which split, the same rule for every format."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from suite.data.splitting import SPLITS, stratified
from suite.errors import DataError

SPLIT_FOLDERS = {"train": ("train", "training"), "validation": ("validation", "val", "valid"), "test": ("test",)}
"""Names under which a split's folder is looked for, in lower case."""

EVERYTHING = "everything"
"""Name of the one part of a data set that comes without a split."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
"""Endings of image files, in lower case."""

UNSPLIT, CUT = (0.5, 0.2, 0.3), (0.8, 0.2, 0.0)
"""Shares of train, validation and test: of data without a split, and of training data that lack a validation part."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Portion:
    """What of the data on disk a split takes.

    Attributes:
        part: the part that it is taken from; None where there is nothing for it.
        fractions: shares in which that part is shuffled and cut; None to take all of it.
        reports: whether what is wrong with the part as a whole is reported here; true for one split of a part.
    """

    part: str | None
    fractions: tuple[float, float, float] | None
    reports: bool

    def take(self, items: Sequence[Item], split: str, *, seed: int) -> list[Item]:
        """Return the split's share of the part's items, given in a fixed order."""
        if self.fractions is None:
            return list(items)
        chosen = stratified([0] * len(items), split, seed=seed, fractions=self.fractions)
        return [items[position] for position in chosen]


def portion(found: Collection[str], split: str) -> Portion:
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

    Data sets with a public train and validation part keep the labels of their test part to themselves; what models
    are compared on is then the validation part, so that nothing may be chosen on it.

    Raises:
        ValueError: an unknown split.
    """
    SPLITS.index(split)
    if set(found) <= {"train", EVERYTHING}:
        return Portion("train" if "train" in found else EVERYTHING, UNSPLIT, split == "test")
    judged = "test" if "test" in found else "validation"
    if split == "test":
        return Portion(judged, None, True)
    if judged == "test" and "validation" in found:
        return Portion(split if split in found else None, None, True)
    return Portion("train" if "train" in found else None, CUT, split == "train")


def folder(path: str) -> Path:
    """Return a path as a folder.

    Raises:
        DataError: there is none.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{path!r} is not a folder; give the folder that the data set was unpacked to.")
    return root


def part_folders(root: Path, content: str) -> dict[str, Path]:
    """Return the folder of each part, ``images/train`` or ``train/images`` for the content ``images``.

    Without any split's folder all of ``images`` is one part.

    Raises:
        DataError: there is no folder of that content.
    """
    places = {
        split: [place for name in SPLIT_FOLDERS[split] for place in (root / content / name, root / name / content)]
        for split in SPLITS
    }
    found = {split: next((place for place in places[split] if place.is_dir()), None) for split in SPLITS}
    named = {split: place for split, place in found.items() if place is not None}
    if not named and not (root / content).is_dir():
        raise DataError(f"{str(root)!r} has no folder {content!r}, nor {content}/train or train/{content}; add it.")
    return named or {EVERYTHING: root / content}


def files_by_stem(place: Path | None, suffixes: Collection[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """Return the files of some suffixes in a folder and below, by path without suffix, sorted; hidden ones left out.

    Raises:
        DataError: two files differ by their suffix alone.
    """
    found: dict[str, Path] = {}
    for file in sorted(place.rglob("*")) if place is not None else []:
        if file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file():
            stem = file.relative_to(place or file).with_suffix("").as_posix()
            if stem in found:
                raise DataError(f"{str(found[stem])!r} and {file.name} have one name; rename or remove one of them.")
            found[stem] = file
    return found


def sample_name(part: str, name: str) -> str:
    """Return an id that is unique over all parts, each of which may have a file of this name."""
    return name if part == EVERYTHING else f"{part}/{name}"


def lines(file: Path) -> list[str]:
    """Return the lines of a text file without the space around them, empty ones included.

    Raises:
        DataError: it is not text in UTF-8, or cannot be read.
    """
    try:
        return [line.strip() for line in file.read_text("utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file.name} cannot be read as text: {error}") from error
