"""Two columns of a table on disk: CSV, TSV, JSON lines, Parquet and Arrow."""

import csv
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.data.formats.plain_text import decoded
from suite.errors import DataError, did_you_mean

SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow"})
"""Endings of the files that are read, in lower case."""


@dataclass(frozen=True)
class Columns:
    """The texts and labels of one file, row by row, as they stand there; None where nothing does.

    Attributes:
        names: class names in the order of their numbers, where the file says them.
        faults: row to what is wrong with it.
    """

    texts: Sequence[Any]
    labels: Sequence[Any]
    names: tuple[str, ...] = ()
    faults: dict[int, str] = field(default_factory=dict)


def read_columns(file: Path, text: str, label: str) -> Columns:
    """Return two columns of a file; its ending says how it is read.

    A quotation mark holds a cell of a CSV together; in a TSV it is a character as any other.

    Raises:
        DataError: the file cannot be read, or has no such columns.
    """
    readers = {".csv": _separated, ".tsv": _separated, ".parquet": _parquet, ".arrow": _arrow}
    return readers.get(file.suffix.lower(), _json_lines)(file, text, label)


def _separated(file: Path, text: str, label: str) -> Columns:
    import pandas as pd

    tabs = file.suffix.lower() == ".tsv"
    content = decoded(file.read_bytes(), file.name).replace("\r\n", "\n")
    dialect: dict[str, Any] = {"sep": "\t" if tabs else ",", "quoting": csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it tells of rows that are too long, and cuts them
            # Cells stay what they are: "NA", "null" and "1.0" are texts, and nothing is guessed.
            table = pd.read_csv(
                io.StringIO(content), dtype=str, keep_default_na=False, index_col=False, lineterminator="\n", **dialect
            )
            heading = pd.read_csv(io.StringIO(content), dtype=str, header=None, nrows=1, lineterminator="\n", **dialect)
    except (ValueError, pd.errors.ParserWarning) as error:
        raise DataError(f"{file.name} cannot be read as a table: {str(error).strip()}") from error
    _require(file, [str(name) for name in heading.iloc[0]], text, label)  # pandas would rename the second of one name
    texts = [value if isinstance(value, str) and value else None for value in table[text]]
    return Columns(texts, [value if isinstance(value, str) else None for value in table[label]])


def _json_lines(file: Path, text: str, label: str) -> Columns:
    texts: list[Any] = []
    labels: list[Any] = []
    faults: dict[int, str] = {}
    known: set[str] = set()
    for line in decoded(file.read_bytes(), file.name).split("\n"):
        if line.strip():
            record, fault = _object(line)
            known |= record.keys()
            if fault:
                faults[len(texts)] = fault
            texts.append(record.get(text))
            labels.append(record.get(label))
    if known or not faults:
        _require(file, sorted(known), text, label)
    return Columns(texts, labels, faults=faults)


def _object(line: str) -> tuple[dict[str, Any], str]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON: {error}"
    return (record, "") if isinstance(record, dict) else ({}, f"{type(record).__name__}; expected an object")


def _parquet(file: Path, text: str, label: str) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            _require(file, list(opened.schema_arrow.names), text, label)
            return _of_table(opened.read(columns=[text, label]), opened.schema_arrow, text, label)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file.name} cannot be read as Parquet: {error}") from error


def _arrow(file: Path, text: str, label: str) -> Columns:
    import pyarrow as pa
    import pyarrow.ipc

    try:
        with pa.memory_map(str(file)) as source:
            stream = source.read(6) != b"ARROW1"  # `save_to_disk` writes streams; files begin with these letters
            source.seek(0)
            opened = pyarrow.ipc.open_stream(source) if stream else pyarrow.ipc.open_file(source)
            _require(file, list(opened.schema.names), text, label)
            return _of_table(opened.read_all(), opened.schema, text, label)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file.name} cannot be read as Arrow: {error}") from error


def _of_table(table: Any, schema: Any, text: str, label: str) -> Columns:
    about = (schema.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(about).get("info", {}).get("features", {})
    return Columns(table[text].to_pylist(), table[label].to_pylist(), class_names(features, label))


def class_names(features: Any, label: str) -> tuple[str, ...]:
    """Return the class names that a description of columns gives for a column; none where it gives none."""
    feature = features.get(label) if isinstance(features, dict) else None
    return tuple(feature.get("names") or ()) if isinstance(feature, dict) else ()


def _require(file: Path, columns: Sequence[str], text: str, label: str) -> None:
    for name, argument in ((text, "text"), (label, "label")):
        if columns.count(name) > 1:
            raise DataError(f"{file.name} has {columns.count(name)} columns {name!r}; rename all but one.")
        if name not in columns:
            alone = " It has a single column: commas part those of a .csv, and tabs those of a .tsv."
            hint = alone if len(columns) == 1 else did_you_mean(name, columns)
            raise DataError(f"{file.name} has no column {name!r}; say {argument}=...{hint}")
