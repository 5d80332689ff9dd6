"""Columns of a table on disk: CSV, TSV, JSON lines, Parquet and Arrow."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.data.formats.separated import Row, read_rows
from suite.data.formats.table_columns import ColumnNames, Columns
from suite.data.formats.text_files import text_of
from suite.errors import DataError
from suite.escaping import escaped_name

SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow"})
"""Extensions of the files that are read, in lower case."""


def read_columns(file: Path, names: ColumnNames) -> Columns:
    """Return columns of a file in the format that its extension says; see `separated.read_rows` for CSV and TSV.

    Raises:
        DataError: the file cannot be read, or does not have these columns.
    """
    suffix = file.suffix.lower()
    if suffix in (".parquet", ".arrow"):
        from suite.data.formats.arrow_files import read_arrow

        return read_arrow(file, names)
    return _separated(file, names) if suffix in (".csv", ".tsv") else _json_lines(file, names)


def _separated(file: Path, names: ColumnNames) -> Columns:
    header, *rows = read_rows(file, names.label)
    columns = list(header.cells)
    first_line = f" The first line names the columns; it is {','.join(header.cells)!r:.80}."
    names.check(file, columns, first_line)

    def column(name: str | None) -> list[str | None]:
        place = columns.index(name) if name else 0
        return [None if row.error or not name else row.cells[place] for row in rows]

    texts = [value or None for value in column(names.text)]
    errors = {index: row.error for index, row in enumerate(rows) if row.error}
    remarks = _quoted_cells(file, texts) if file.suffix.lower() == ".tsv" else _long_cells(file, rows)
    remarks += names.unread_split(file, columns)
    return Columns(texts, column(names.label), column(names.group), errors=errors, remarks=remarks)


def _quoted_cells(file: Path, texts: Sequence[str | None]) -> tuple[str, ...]:
    count = sum(text is not None and len(text) > 1 and text[0] == text[-1] == '"' for text in texts)
    if not count:
        return ()
    rows = f"{count:,} row{'s' * (count > 1)}"
    return (
        f"{escaped_name(file.name)}: quotation marks around the text of {rows} are kept, since they have no special "
        "meaning in a .tsv",
    )


def _long_cells(file: Path, rows: Sequence[Row]) -> tuple[str, ...]:
    long = [row for row in rows if row.last > row.first]
    if not long:
        return ()
    verb = "row spans" if len(long) == 1 else "rows span"
    return (
        f"{escaped_name(file.name)}: {len(long):,} {verb} several lines, the first from line {long[0].first} to line "
        f"{long[0].last}: is a quotation mark stray?",
    )


def _json_lines(file: Path, names: ColumnNames) -> Columns:
    content = text_of(file)
    if content.lstrip().startswith("[") and content.lstrip()[1:].lstrip().startswith("{"):
        raise DataError(f"{file.name} is one JSON array; expected JSON lines, which are one object per line.")
    records: list[dict[str, Any]] = []
    errors: dict[int, str] = {}
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            record, error = _object(line)
            if error:
                errors[len(records)] = f"line {number} is {error}"
            records.append(record)
    known = sorted({key for record in records for key in record})
    if known or not errors:
        names.check(file, known)
    texts, labels, groups = (
        [record.get(name) if name else None for record in records] for name in (names.text, names.label, names.group)
    )
    return Columns(texts, labels, groups, errors=errors, remarks=names.unread_split(file, known))


def _object(line: str) -> tuple[dict[str, Any], str]:
    try:
        record = json.loads(line, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        at = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        return {}, f"not usable JSON: {at}"
    return (record, "") if isinstance(record, dict) else ({}, f"JSON of type {type(record).__name__}, not an object")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{max(keys, key=keys.count)!r} stands twice in one object")
    return found
