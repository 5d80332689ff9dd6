"""Which tables on disk belong to which part: one file, files by split, or what the library `datasets` wrote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.data.formats.plain_text import PART_NAMES
from suite.data.formats.table_files import SUFFIXES
from suite.data.formats.text_files import entries, read_json, unread
from suite.data.regular_files import existing_path
from suite.data.split_files import EVERYTHING
from suite.errors import DataError
from suite.types import Remark

SHARD = re.compile(r"(?P<part>[a-z]+)(?P<shard>-\d{1,9}(-of-(?P<count>\d{1,9}).*)?)?", re.IGNORECASE)
"""Name of a part's file without its extension: ``train``, ``train-0`` or ``train-00000-of-00002``."""

DESCRIPTIONS = ("dataset_dict.json", "dataset_info.json", "state.json")
"""Files of `save_to_disk` beside the tables."""


@dataclass(frozen=True)
class TableFiles:
    """The files of each part in their order, and remarks on what else is there."""

    parts: dict[str, list[Path]]
    remarks: tuple[Remark, ...] = ()


def find_tables(path: str) -> TableFiles:
    """Return the tables at a path; see `tables.read_table`.

    Raises:
        DataError: nothing is there, a shard is missing, or two files name one part.
    """
    root = existing_path(path, "give a table, or a folder of tables")
    if not root.is_dir():
        if root.suffix.lower() not in SUFFIXES:
            raise DataError(f"{root.name} ends in {root.suffix!r}; expected one of {', '.join(sorted(SUFFIXES))}.")
        return TableFiles({EVERYTHING: [root]})
    inside = root / "data"
    return _saved(root) or _named(root) or (_named(inside) if inside.is_dir() else None) or _refuse(path)


def _saved(root: Path) -> TableFiles | None:
    """Return the parts of what `save_to_disk` wrote: a table, or a folder of tables by their splits."""
    if (root / "state.json").exists():
        return TableFiles({EVERYTHING: _listed_shards(root)})
    found = [child for child in entries(root) if (child / "state.json").exists()]
    declared = root / "dataset_dict.json"
    for split in _declared_splits(declared) if declared.exists() else []:
        if root / split not in found:
            raise DataError(f"{declared} lists the split {split!r}, and {split}/state.json is missing; copy it, too.")
    folders = {part: child for child in found if (part := PART_NAMES.get(child.name.lower()))}
    if not folders:
        return None
    parts = {part: _listed_shards(child) for part, child in folders.items()}
    used = [*folders.values(), *(root / name for name in DESCRIPTIONS)]
    return TableFiles(parts, tuple(unread(root, used)))


def _declared_splits(file: Path) -> list[str]:
    content = read_json(file)
    splits = content.get("splits", []) if isinstance(content, dict) else None
    if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
        raise DataError(f"{file} does not list the splits; save the data again.")
    return splits


def _listed_shards(folder: Path) -> list[Path]:
    """Return the Arrow files in the order that state.json gives."""
    file = folder / "state.json"
    state = read_json(file)
    try:
        files = [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
    except (LookupError, TypeError) as error:
        raise DataError(f"{file} does not list the data files: {error!r}") from error
    if not files:
        raise DataError(f"{file} does not list the data files: the list is empty")
    if state.get("_indices_data_files"):
        raise DataError(f"{folder} is a selection of rows; call flatten_indices() before save_to_disk().")
    return files


def _named(root: Path) -> TableFiles | None:
    """Return files by the part that their name begins with, in the order of their names."""
    parts: dict[str, list[Path]] = {}
    for file in entries(root):
        named = SHARD.fullmatch(file.stem)
        part = PART_NAMES.get(named["part"].lower()) if named else None
        if part and file.suffix.lower() in SUFFIXES:
            parts.setdefault(part, []).append(file)
    for part, files in parts.items():
        _check_shards(part, files)
    used = [file for files in parts.values() for file in files]
    return TableFiles(parts, tuple(unread(root, used))) if parts else None


def _check_shards(part: str, files: Sequence[Path]) -> None:
    found = [SHARD.fullmatch(file.stem) for file in files]
    if len(files) > 1 and (
        len({file.suffix for file in files}) > 1 or not all(name and name["shard"] for name in found)
    ):
        raise DataError(f"{files[0].name} and {files[1].name} both name the {part} part; keep one of them.")
    counts = {int(name["count"]) for name in found if name and name["count"]}
    if counts and counts != {len(files)}:
        expected = " or ".join(map(str, sorted(counts)))
        raise DataError(f"{part} has {len(files)} of {expected} shards, such as {files[0].name}; get the others.")


def _refuse(path: str) -> TableFiles:
    raise DataError(
        f"{path!r} has no tables named train, validation or test ({', '.join(sorted(SUFFIXES))}); rename them, or "
        "give the path of one file."
    )
