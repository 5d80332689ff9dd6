"""Columns of a table: the names that the user gives, and what was read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.errors import DataError, did_you_mean
from suite.escaping import escaped_name

SPLIT_COLUMNS = frozenset(("split", "subset", "partition"))
"""Names, in lower case, of columns that say which split a record is in."""


@dataclass(frozen=True)
class ColumnNames:
    """Names of the columns that are read.

    Attributes:
        group: that of the groups; None if there is none.
    """

    text: str = "text"
    label: str = "label"
    group: str | None = None

    @property
    def by_argument(self) -> dict[str, str]:
        """The names by the argument of the task that sets them."""
        names = {"text": self.text, "label": self.label, "group": self.group}
        return {argument: name for argument, name in names.items() if name is not None}

    def check(self, file: Path, columns: Sequence[str], hint: str = "") -> None:
        """Check that a file has each column once; `hint` is what an error adds.

        Raises:
            DataError: a column is missing, or there are several of one name.
        """
        if self.text == self.label:
            raise DataError(f"text= and label= both name the column {self.text!r}; the label would be the text.")
        for argument, name in self.by_argument.items():
            if columns.count(name) > 1:
                raise DataError(f"{file.name} has {columns.count(name)} columns {name!r}; rename all but one.")
            if name not in columns:
                single = " It has a single column: a .csv is separated by commas, and a .tsv by tabs."
                is_separated = len(columns) == 1 and file.suffix.lower() in (".csv", ".tsv")
                known = single if is_separated else did_you_mean(name, columns)
                raise DataError(f"{file.name} has no column {name!r}; set {argument}=...{known}{hint}")

    def unread_split(self, file: Path, columns: Iterable[str]) -> tuple[str, ...]:
        """Return a sentence if a file has a column of splits, which are not taken from columns; else nothing."""
        found = [name for name in columns if name.lower() in SPLIT_COLUMNS - {*self.by_argument.values()}]
        advice = "if it says which records are for testing, write one file for each split"
        return tuple(f"{escaped_name(file.name)}: the column {name!r} is not used; {advice}" for name in found[:1])


@dataclass(frozen=True)
class Columns:
    """The texts, labels and groups of one file, row by row and unchanged; None for empty cells.

    Attributes:
        groups: None for all rows if no column of groups was asked for.
        names: class names in the order of their numbers, if the file gives them.
        errors: row number to what is wrong with the row.
        remarks: sentences about the file.
    """

    texts: Sequence[Any]
    labels: Sequence[Any]
    groups: Sequence[Any]
    names: tuple[str, ...] = ()
    errors: dict[int, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
