"""Columns of a table on disk: CSV, TSV, JSON lines, Parquet and Arrow."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.data.formats.plain_text import decoded
from suite.errors import DataError, did_you_mean

SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow"})
"""Extensions of the files that are read, in lower case."""


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


@dataclass(frozen=True)
class Columns:
    """The texts, labels and groups of one file, row by row and unchanged; None for empty cells.

    Attributes:
        groups: None for all rows if no column of groups was asked for.
        names: class names in the order of their numbers, if the file gives them.
        errors: row number to what is wrong with the row.
    """

    texts: Sequence[Any]
    labels: Sequence[Any]
    groups: Sequence[Any]
    names: tuple[str, ...] = ()
    errors: dict[int, str] = field(default_factory=dict)


def read_columns(file: Path, names: ColumnNames) -> Columns:
    """Return columns of a file in the format that its extension says.

    Cells of a CSV may be quoted; in a TSV, quotation marks have no special meaning.

    Raises:
        DataError: the file cannot be read, or does not have these columns.
    """
    readers = {".csv": _separated, ".tsv": _separated, ".parquet": _parquet, ".arrow": _arrow}
    return readers.get(file.suffix.lower(), _json_lines)(file, names)


def _separated(file: Path, names: ColumnNames) -> Columns:
    import pandas as pd

    tabs = file.suffix.lower() == ".tsv"
    content = decoded(file.read_bytes(), file.name).replace("\r\n", "\n")
    dialect: dict[str, Any] = {"sep": "\t" if tabs else ",", "quoting": csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL}
    try:
        # Without a header, because pandas renames the second of two equal names. Cells stay as they are written: "NA",
        # "null" and "1.0" are texts.
        table = pd.read_csv(
            io.StringIO(content), dtype=str, keep_default_na=False, header=None, lineterminator="\n", **dialect
        )
    except ValueError as error:
        raise DataError(f"{file.name} cannot be read as a table: {str(error).strip()}") from error
    header = [str(name) for name in table.iloc[0]]
    _require(file, header, names)

    def column(name: str) -> list[str | None]:
        return [value if isinstance(value, str) else None for value in table[header.index(name)][1:]]

    texts = [value or None for value in column(names.text)]
    return Columns(texts, column(names.label), column(names.group) if names.group else [None] * len(texts))


def _json_lines(file: Path, names: ColumnNames) -> Columns:
    records: list[dict[str, Any]] = []
    errors: dict[int, str] = {}
    for line in filter(str.strip, decoded(file.read_bytes(), file.name).split("\n")):
        record, error = _object(line)
        if error:
            errors[len(records)] = error
        records.append(record)
    known = sorted({key for record in records for key in record})
    if known or not errors:
        _require(file, known, names)
    texts, labels, groups = (
        [record.get(name) if name else None for record in records] for name in (names.text, names.label, names.group)
    )
    return Columns(texts, labels, groups, errors=errors)


def _object(line: str) -> tuple[dict[str, Any], str]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON: {error}"
    return (record, "") if isinstance(record, dict) else ({}, f"{type(record).__name__}; expected an object")


def _parquet(file: Path, names: ColumnNames) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            _require(file, list(opened.schema_arrow.names), names)
            wanted = list(dict.fromkeys(names.by_argument.values()))
            return _of_table(opened.read(columns=wanted), opened.schema_arrow, names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file.name} cannot be read as Parquet: {error}") from error


def _arrow(file: Path, names: ColumnNames) -> Columns:
    import pyarrow as pa
    import pyarrow.ipc

    try:
        with pa.memory_map(str(file)) as source:
            stream = source.read(6) != b"ARROW1"  # `save_to_disk` writes streams; files begin with this magic string
            source.seek(0)
            opened = pyarrow.ipc.open_stream(source) if stream else pyarrow.ipc.open_file(source)
            _require(file, list(opened.schema.names), names)
            return _of_table(opened.read_all(), opened.schema, names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file.name} cannot be read as Arrow: {error}") from error


def _of_table(table: Any, schema: Any, names: ColumnNames) -> Columns:
    metadata = (schema.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(metadata).get("info", {}).get("features", {})
    texts, labels = table[names.text].to_pylist(), table[names.label].to_pylist()
    groups = table[names.group].to_pylist() if names.group else [None] * len(texts)
    return Columns(texts, labels, groups, class_names(features, names.label))


def class_names(features: Any, label: str) -> tuple[str, ...]:
    """Return the class names that the library `datasets` stores for a column, if there are any."""
    feature = features.get(label) if isinstance(features, dict) else None
    return tuple(feature.get("names") or ()) if isinstance(feature, dict) else ()


def _require(file: Path, columns: Sequence[str], names: ColumnNames) -> None:
    for argument, name in names.by_argument.items():
        if columns.count(name) > 1:
            raise DataError(f"{file.name} has {columns.count(name)} columns {name!r}; rename all but one.")
        if name not in columns:
            single = " It has a single column: a .csv is separated by commas, and a .tsv by tabs."
            hint = single if len(columns) == 1 else did_you_mean(name, columns)
            raise DataError(f"{file.name} has no column {name!r}; set {argument}=...{hint}")
