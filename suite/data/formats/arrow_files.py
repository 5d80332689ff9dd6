"""Columns of Parquet and Arrow files, with the class names that the library `datasets` stores in them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from suite.data.formats.table_columns import ColumnNames, Columns
from suite.data.formats.text_files import read_json
from suite.data.regular_files import check_regular
from suite.errors import DataError
from suite.escaping import escaped_name
from suite.file_kinds import HEAD, disguise

DAMAGE = (OSError, pa.ArrowException, ValueError, TypeError, LookupError, MemoryError, OverflowError, RecursionError)
"""What pyarrow raises on damaged files."""

ARROW_FILE = b"ARROW1"
"""First bytes of an Arrow file; `save_to_disk` writes streams, which begin otherwise."""


def read_arrow(file: Path, names: ColumnNames) -> Columns:
    """Return columns of a Parquet or Arrow file, and the class names of the labels if it has them.

    Raises:
        DataError: the file is damaged or something else, or does not have these columns.
    """
    check_regular(file)
    is_parquet = file.suffix.lower() == ".parquet"
    try:
        return _parquet(file, names) if is_parquet else _with_names(_arrow(file, names), file, names.label)
    except DAMAGE as error:
        kind = _disguise(file)
        reason = f"it is {kind}" if kind else str(error).strip() or type(error).__name__
        form = "Parquet" if is_parquet else "Arrow"
        raise DataError(f"{file.name} cannot be read as {form}: {reason}") from error


def _disguise(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return disguise(opened.read(HEAD))
    except OSError:
        return None


def _parquet(file: Path, names: ColumnNames) -> Columns:
    with pa.parquet.ParquetFile(file) as opened:
        names.check(file, list(opened.schema_arrow.names))
        wanted = list(dict.fromkeys(names.by_argument.values()))
        return _of_table(file, opened.read(columns=wanted), opened.schema_arrow, names)


def _arrow(file: Path, names: ColumnNames) -> Columns:
    with pa.memory_map(str(file)) as source:
        is_stream = source.read(len(ARROW_FILE)) != ARROW_FILE
        source.seek(0)
        opened = pa.ipc.open_stream(source) if is_stream else pa.ipc.open_file(source)
        names.check(file, list(opened.schema.names))
        return _of_table(file, opened.read_all(), opened.schema, names)


def _with_names(columns: Columns, file: Path, label: str) -> Columns:
    """Return columns with the class names that `save_to_disk` writes next to the data."""
    info = file.with_name("dataset_info.json")
    if columns.names or not info.exists():
        return columns
    return replace(columns, names=class_names(read_json(info), label, info.name))


def _of_table(file: Path, table: Any, schema: Any, names: ColumnNames) -> Columns:
    table.validate(full=True)  # offsets of a damaged file would make pyarrow read outside its memory
    stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = stored.get("info", {}) if isinstance(stored, dict) else {}
    texts, labels = table[names.text].to_pylist(), table[names.label].to_pylist()
    groups = table[names.group].to_pylist() if names.group else [None] * len(texts)
    remarks = names.unread_split(file, schema.names)
    return Columns(texts, labels, groups, class_names(features, names.label, file.name), remarks=remarks)


def class_names(info: Any, label: str, file: str) -> tuple[str, ...]:
    """Return the class names that the library `datasets` stores for a column, if there are any.

    Args:
        info: what dataset_info.json holds, or the same from the metadata of a table.
        label: name of the column.
        file: where they are from, for errors.

    Raises:
        DataError: they are not different texts.
    """
    features = info.get("features") if isinstance(info, Mapping) else None
    feature = features.get(label) if isinstance(features, Mapping) else None
    names = (feature.get("names") if isinstance(feature, Mapping) else None) or ()
    if not isinstance(names, list | tuple) or not all(map(_is_name, names)):
        raise DataError(f"{file} gives {names!r:.80} as class names of {label!r}; expected a list of texts.")
    if len(set(names)) < len(names):
        raise DataError(f"{file} names a class of {label!r} twice: {', '.join(names)}.")
    return tuple(names)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and escaped_name(value) == value
