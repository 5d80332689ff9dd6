"""One part of a table on disk: its records as samples, or with the reason why they cannot be used."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from suite.data.formats.table_classes import LabelRules, of_rules
from suite.data.formats.table_columns import ColumnNames, Columns
from suite.data.formats.table_files import read_columns
from suite.data.formats.table_labels import NoLabel, plain
from suite.data.split_files import sample_name
from suite.errors import DataError
from suite.escaping import escaped_name
from suite.types import ClassNames, Rejected, Remark, Sample


class Record(NamedTuple):
    """A row: its cells, its label, and why it cannot be used; empty if it can."""

    text: Any
    group: Any
    label: str
    error: str = ""


@dataclass(frozen=True)
class RawPart:
    """One part as it is on disk.

    Attributes:
        name: train, validation, test, or that of the only part.
        records: its rows; the labels are in the form that `plain` returns.
        names: the class names that its files give, and which file; None if they give none.
        remarks: sentences about its files.
    """

    name: str
    records: tuple[Record, ...]
    names: ClassNames | None
    remarks: tuple[Remark, ...]

    @property
    def labels(self) -> list[str]:
        """The labels of the records that can be used."""
        return [record.label for record in self.records if not record.error]

    def by_rules(self, rules: LabelRules) -> "Part":
        """Return the part with classes in place of labels."""
        records = [_classified(record, rules) for record in self.records]
        used = [_used(sample_name(self.name, str(row)), record) for row, record in enumerate(records)]
        return Part(
            [record for record in used if isinstance(record, Sample)],
            [record for record in used if isinstance(record, Rejected)],
            not all(record.error for record in records),
            self.names,
            self.remarks,
        )


@dataclass(frozen=True)
class Part:
    """One part: its usable records, the others with reasons, and whether any record has a label."""

    samples: list[Sample]
    rejected: list[Rejected]
    is_labeled: bool
    names: ClassNames | None
    remarks: tuple[Remark, ...]


def read_part(name: str, files: Sequence[Path], columns: ColumnNames) -> RawPart:
    """Read the files of one part, whose records are numbered from 0.

    Raises:
        DataError: a file cannot be read, has other columns or class names, or there are no rows.
    """
    tables = {file: read_columns(file, columns) for file in files}
    records = tuple(record for table in tables.values() for record in _records(table))
    if not records:
        raise DataError(f"{files[0].name} has no rows; add some, or remove the file.")
    names = [
        ClassNames(table.names, f"the class names in {file.name}") for file, table in tables.items() if table.names
    ]
    remarks = tuple(Remark(text) for table in tables.values() for text in table.remarks)
    return RawPart(name, records, common_names(names), remarks)


def common_names(stored: Iterable[ClassNames]) -> ClassNames | None:
    """Return the class names that files give, None if they give none.

    Raises:
        DataError: they differ.
    """
    first: ClassNames | None = None
    for names in stored:
        first = first or names
        if names.names != first.names:
            raise DataError(
                f"Not all files have the same classes in one order: {first.source} are {', '.join(first.names[:12])}, "
                f"and {names.source} are {', '.join(names.names[:12])}. Save them alike, or without class names."
            )
    return first


def _records(table: Columns) -> Iterator[Record]:
    for index, (text, label, group) in enumerate(zip(table.texts, table.labels, table.groups, strict=True)):
        try:
            if index in table.errors:
                raise NoLabel(table.errors[index])
            yield Record(text, group, plain(label, table.names))
        except NoLabel as error:
            yield Record(text, group, "", str(error))


def _classified(record: Record, rules: LabelRules) -> Record:
    try:
        return record if record.error else record._replace(label=of_rules(record.label, rules))
    except NoLabel as error:
        return record._replace(error=str(error))


def _used(name: str, record: Record) -> Sample | Rejected:
    try:
        if record.error:
            raise NoLabel(record.error)
        return Sample(name, _text(record.text), record.label, group=_group(record.group))
    except NoLabel as error:
        return Rejected(name, str(error))


def _text(value: object) -> str:
    if value is None or value != value:
        raise NoLabel("no text")
    if not isinstance(value, str):
        raise NoLabel(f"a text of type {type(value).__name__} ({value!r:.40}); expected a string")
    return value


def _group(value: object) -> str | None:
    if value is None or value != value:
        return None
    if isinstance(value, list | tuple | dict | bytes):
        raise NoLabel(f"a group of type {type(value).__name__} ({value!r:.40}); expected a name or a number")
    whole = int(value) if isinstance(value, float) and value.is_integer() else value  # a column of integers with gaps
    name = str(whole).strip()
    if escaped_name(name) != name:
        raise NoLabel(f"group {name!r:.40} with control characters or an unpaired surrogate")
    return name or None
