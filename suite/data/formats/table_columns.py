"""Columns of a table: the names that the user gives, and what was read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.errors import DataError, did_you_mean


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
        for argument, name in self.by_argument.items():
            if columns.count(name) > 1:
                raise DataError(f"{file.name} has {columns.count(name)} columns {name!r}; rename all but one.")
            if name not in columns:
                single = " It has a single column: a .csv is separated by commas, and a .tsv by tabs."
                known = single if len(columns) == 1 else did_you_mean(name, columns)
                raise DataError(f"{file.name} has no column {name!r}; set {argument}=...{known}{hint}")


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
