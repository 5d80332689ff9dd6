"""Rows of CSV and TSV files, read strictly: a stray quotation mark costs its line and not the rows after it."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from suite.data.formats.text_files import rows_of, text_of
from suite.errors import DataError

MOST_STRAY = 1000
"""Lines with stray quotation marks from which on a file is not read: it is something else than a CSV."""

STRAY = 'has a stray quotation mark; write "" for one that belongs to a quoted cell'


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        first, last: numbers of its lines, from 1.
        cells: its cells without quotation marks around them.
        error: why it cannot be used; empty if it can.
    """

    first: int
    last: int
    cells: Sequence[str]
    error: str = ""


def read_rows(file: Path, label: str) -> list[Row]:
    """Return the rows of a file, the header first; lines without anything are left out.

    Cells of a CSV may be quoted; in a TSV, quotation marks have no special meaning. Rows that have not as many cells as
    the header have an error.

    Args:
        file: its extension is .csv or .tsv.
        label: name of the column of labels; it helps to find stray quotation marks.

    Raises:
        DataError: the file cannot be read, has no header, or has too many stray quotation marks.
    """
    lines, is_tsv = rows_of(text_of(file)), file.suffix.lower() == ".tsv"
    rows = _tabbed(lines) if is_tsv else _comma_separated(lines, label, file.name)
    if not rows:
        raise DataError(f"{file.name} is empty; expected a first line that names the columns.")
    if rows[0].error:
        raise DataError(f"{file.name}: {rows[0].error}. It must name the columns.")
    header = [cell.strip() for cell in rows[0].cells]
    checked = [_checked(row, header, None if is_tsv else label) for row in rows[1:]]
    return [rows[0]._replace(cells=header), *checked]


def _checked(row: Row, header: Sequence[str], label: str | None) -> Row:
    """Return a row with an error if it has not as many cells as the header, or a quotation mark at its label's end."""
    if row.error:
        return row
    if len(row.cells) != len(header):
        cells = f"{len(row.cells)} cell" + "s" * (len(row.cells) != 1)
        return row._replace(error=f"line {row.first} has {cells}; the first line names {len(header)} columns")
    if label in header and row.cells[header.index(label)].endswith('"'):
        return row._replace(error=f"line {row.first} {STRAY}")
    return row


def _tabbed(lines: Sequence[str]) -> list[Row]:
    rows = (Row(number, number, line.split("\t")) for number, line in enumerate(lines, start=1))
    return [row for row in rows if not _is_blank(row)]


def _is_blank(row: Row) -> bool:
    return len(row.cells) < 2 and not any(map(str.strip, row.cells))


def _comma_separated(lines: Sequence[str], label: str, name: str) -> list[Row]:
    rows = list(_quoted(lines, name))
    if not rows or rows[0].error or all(row.first == row.last for row in rows):
        return rows
    header = [cell.strip() for cell in rows[0].cells]
    column = header.index(label) if label in header else 0
    labels = {row.cells[column] for row in rows[1:] if row.first == row.last and len(row.cells) == len(header)}

    def is_row(line: str) -> bool:
        cells = line.split(",")
        return len(cells) == len(header) and cells[column].strip('"') in labels

    return list(_quoted(lines, name, is_row))


def _quoted(lines: Sequence[str], name: str, is_row: Callable[[str], bool] | None = None) -> Iterator[Row]:
    """Yield the rows of a CSV.

    A line that opens a cell which is not closed properly is a row with an error, and the next line begins a new row.
    So is one that opens a cell of several lines each of which, by `is_row`, is a row.
    """
    start = stray = 0
    while start < len(lines):
        try:
            for row in _until_stray(lines, start, is_row):
                start = row.last
                if not _is_blank(row):
                    yield row
        except csv.Error as error:
            start, stray = start + 1, stray + 1
            yield Row(start, start, (), f"line {start} {_reason(str(error))}")
        if stray > MOST_STRAY:
            raise DataError(
                f"{name} has more than {MOST_STRAY:,} lines with stray quotation marks. Write it as CSV again, or as "
                ".tsv with tabs, where quotation marks have no special meaning."
            )


def _until_stray(lines: Sequence[str], start: int, is_row: Callable[[str], bool] | None) -> Iterator[Row]:
    """Yield rows from an index of lines on; raise csv.Error at the first one that is none."""
    reader = csv.reader((f"{lines[index]}\n" for index in range(start, len(lines))), strict=True)
    first = start
    for cells in reader:
        last = start + reader.line_num
        if is_row is not None and last - first > 1 and all(map(is_row, lines[first:last])):
            raise csv.Error(STRAY)
        yield Row(first + 1, last, cells)
        first = last


def _reason(error: str) -> str:
    if error.startswith("new-line"):
        return "has a carriage return in a cell without quotation marks"
    if error.startswith("field larger"):
        return f"has a cell of more than {csv.field_size_limit():,} characters; is a quotation mark stray?"
    return STRAY
