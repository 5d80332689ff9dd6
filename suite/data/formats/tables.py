"""Labeled texts: a table in one file, one file per split, or a folder written by the library `datasets`."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from suite.data.formats.plain_text import PART_NAMES
from suite.data.formats.table_files import SUFFIXES, ColumnNames, Columns, class_names, read_columns
from suite.data.formats.table_labels import NoLabel, check_forms, of_classes, plain
from suite.data.groups import ungrouped
from suite.data.split_files import EVERYTHING, portion, sample_name, text_contents
from suite.data.splitting import SPLITS
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

SHARD = re.compile(r"(?P<part>[a-z]+)(-\d+(-of-\d+.*)?)?", re.IGNORECASE)
"""Name of a part's file without its extension: ``train``, ``train-0`` or ``train-00000-of-00002``."""


@dataclass(frozen=True)
class Part:
    """One part on disk: its usable records, the rejected ones with reasons, and whether any record has a label."""

    texts: tuple[Sample, ...]
    rejected: tuple[Rejected, ...]
    labeled: bool

    @property
    def groups(self) -> list[str | None]:
        """The groups of its usable records."""
        return [sample.group for sample in self.texts]


def read_table(
    path: str,
    split: str,
    *,
    seed: int,
    text: str = "text",
    label: str = "label",
    group: str | None = None,
    classes: Sequence[str] = (),
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the texts of one split with their labels as class names.

    Labels may be names or integers (1, 1.0, "1"), but not both, unless ``classes`` says which number is which name.
    A record without a text or a label, or with the label -1, is rejected. A part in which no record has a label has
    private labels and is not used.

    Args:
        path: a .csv, .tsv, .jsonl, .parquet or .arrow file; a folder with such files, or a folder data/ of them,
            named train, validation (val, valid, dev) and test, also in shards (train-00000-of-00002.parquet); or what
            `save_to_disk` wrote. `split_files.portion` says which part a split takes.
        split: train, validation or test.
        seed: seed of the stratified split, if the data do not come with one.
        text: name of the column of texts.
        label: name of the column of labels.
        group: name of the column that says what a record belongs to, such as the review that a sentence is from; an
            empty cell is a group of its own. Records of one group are never in two splits that are drawn by seed.
        classes: class names, in the order of their numbers if labels are numbers.

    Raises:
        DataError: no such files or columns, not UTF-8, labels in two forms, or only one class.
    """
    SPLITS.index(split)
    names = tuple(classes)
    files = _files(Path(path).expanduser())
    parts = _checked({name: _part(name, files[name], ColumnNames(text, label, group), names) for name in files}, names)
    share = portion({name for name, part in parts.items() if part.labeled}, split)
    if split == "test":
        yield from (record for part in parts.values() if not part.labeled for record in part.rejected)
    yield from share.remarks
    if share.part is None or share.part not in parts:
        return
    part = parts[share.part]
    if share.reports:
        yield from part.rejected
        yield from ungrouped([sample.id for sample in part.texts], part.groups, f"the column {group!r} is given for")
    labels = [sample.target for sample in part.texts]
    yield from share.take(part.texts, split, seed=seed, contents=text_contents, labels=labels, groups=part.groups)


def _checked(parts: dict[str, Part], classes: tuple[str, ...]) -> dict[str, Part]:
    labels = [sample.target for part in parts.values() for sample in part.texts]
    if not labels:
        raise DataError(f"No record has both a text and a label; first: {_first_reason(parts)}. Check the columns.")
    if not classes:
        check_forms(labels)
    if len(set(labels)) < 2:
        dropped = sum(len(part.rejected) for part in parts.values())
        hint = f" {dropped} records were dropped, first: {_first_reason(parts)}." if dropped else ""
        raise DataError(f"All labels are {labels[0]!r}; there is nothing to classify. Give at least two classes.{hint}")
    return parts


def _first_reason(parts: Mapping[str, Part]) -> str:
    return next(record.reason for part in parts.values() for record in part.rejected)


def _part(part: str, files: Sequence[Path], columns: ColumnNames, classes: tuple[str, ...]) -> Part:
    texts: list[Sample] = []
    rejected: list[Rejected] = []
    row, labeled = 0, False
    for file in files:
        table = _with_names(read_columns(file, columns), file, columns.label)
        for index, (text, label, group) in enumerate(zip(table.texts, table.labels, table.groups, strict=True)):
            name = sample_name(part, str(row))
            row += 1
            try:
                if index in table.errors:
                    raise NoLabel(table.errors[index])
                target = of_classes(plain(label, table.names), classes)
                labeled = True
                texts.append(Sample(name, _text(text), target, group=_group(group)))
            except NoLabel as error:
                rejected.append(Rejected(name, str(error)))
    if not row:
        raise DataError(f"{files[0].name} has no rows; add some, or remove the file.")
    return Part(tuple(texts), tuple(rejected), labeled)


def _text(value: object) -> str:
    if value is None or value != value:
        raise NoLabel("no text")
    if not isinstance(value, str):
        raise NoLabel(f"a text of type {type(value).__name__} ({value!r:.40}); expected a string")
    return value


def _group(value: object) -> str | None:
    if value is None or value != value:
        return None
    whole = int(value) if isinstance(value, float) and value.is_integer() else value  # a column of integers with gaps
    return str(whole).strip() or None


def _with_names(columns: Columns, file: Path, label: str) -> Columns:
    """Return columns with the class names that `save_to_disk` writes next to the data."""
    info = file.parent / "dataset_info.json"
    if columns.names or file.suffix.lower() != ".arrow" or not info.is_file():
        return columns
    try:
        return replace(columns, names=class_names(json.loads(info.read_text("utf-8")).get("features"), label))
    except (ValueError, AttributeError) as error:
        raise DataError(f"{info} cannot be read: {error}") from error


def _files(path: Path) -> dict[str, list[Path]]:
    """Return the files of each part on disk."""
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path.name} ends in {path.suffix!r}; expected one of {', '.join(sorted(SUFFIXES))}.")
        return {EVERYTHING: [path]}
    if not path.is_dir():
        raise DataError(f"{str(path)!r} is neither a file nor a folder; give a table, or a folder of tables.")
    return _saved(path) or _named(path) or _named(path / "data") or _refuse(path)


def _saved(path: Path) -> dict[str, list[Path]]:
    """Return the parts of what `save_to_disk` wrote: a table, or a folder of tables by their splits."""
    if (path / "state.json").is_file():
        return {EVERYTHING: _shards(path)}
    folders = [child for child in sorted(path.iterdir()) if (child / "state.json").is_file()]
    return {part: _shards(child) for child in folders if (part := PART_NAMES.get(child.name.lower()))}


def _shards(folder: Path) -> list[Path]:
    """Return the Arrow files in the order that state.json gives."""
    try:
        state = json.loads((folder / "state.json").read_text("utf-8"))
        files = [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / 'state.json'} does not list the data files: {error!r}") from error
    if state.get("_indices_data_files"):
        raise DataError(f"{folder} is a selection of rows; call flatten_indices() before save_to_disk().")
    return files


def _named(path: Path) -> dict[str, list[Path]]:
    """Return files by the part that their name begins with, in the order of their names."""
    parts: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()) if path.is_dir() else []:
        named = SHARD.fullmatch(file.stem)
        part = PART_NAMES.get(named["part"].lower()) if named else None
        if part and file.suffix.lower() in SUFFIXES and file.is_file():
            parts.setdefault(part, []).append(file)
    for part, files in parts.items():
        if len(files) > 1 and (len({file.suffix for file in files}) > 1 or not all("-" in file.stem for file in files)):
            raise DataError(f"{files[0].name} and {files[1].name} both name the {part} part; keep one of them.")
    return parts


def _refuse(path: Path) -> dict[str, list[Path]]:
    raise DataError(
        f"{str(path)!r} has no tables named train, validation or test ({', '.join(sorted(SUFFIXES))}); rename them, or "
        "give the path of one file."
    )
