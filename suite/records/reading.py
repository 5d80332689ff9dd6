"""The one reader of stored records."""

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from suite.errors import MeasureError, StoreError
from suite.metrics.catalogue import Metric
from suite.metrics.table import TEST, Column, Table
from suite.records.encoding import TYPES, ColumnDescription, decode
from suite.records.record import About
from suite.records.writing import ARRAYS, RECORD, columns_file
from suite.types import SCHEMA, Display, DisplayType, Measure, Provenance, RunInfo, Status

Array = npt.NDArray[Any]
Data = TypeVar("Data")

FIELDS = (
    *("schema", "provenance", "run_info", "status", "about", "catalogue", "measures", "files", "populations"),
    *("columns", "arrays", "facts", "details"),
)
"""The fields of ``record.json``."""

ESCAPED_SURROGATE = re.compile(r"\\ud[89a-f]", re.IGNORECASE)
"""What a file contains if one of its texts may have an unpaired surrogate."""


@dataclass(frozen=True)
class ArrayDescription:
    """What a record says about one of its display arrays.

    Attributes:
        key: its name in the file of arrays.
        type, role, params, per_sample: as in `Display`.
        dtype: as numpy writes it, for example ``<f4``.
        shape: its shape.
    """

    key: str
    type: DisplayType
    role: str
    params: dict[str, Any]
    per_sample: bool
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Content:
    """The content of ``record.json``; the fields of `Record`, and the descriptions of columns and arrays."""

    provenance: Provenance
    run_info: RunInfo
    status: Status
    about: About | None
    catalogue: tuple[Metric, ...]
    files: dict[str, str]
    populations: dict[str, int]
    columns: tuple[ColumnDescription, ...]
    arrays: tuple[ArrayDescription, ...]
    facts: dict[str, Any]
    details: dict[str, Any]


class _Lazy:
    """Adds a `values` that is read when it is first used to a data class."""

    _read: Callable[[], Array]

    def __getattr__(self, name: str) -> Any:
        """Read the values; called only as long as there is no such attribute."""
        if name != "values":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        values = self.__dict__["values"] = self._read()
        return values


class StoredColumn(_Lazy, Column):
    """A column that is read when its values are used."""


class StoredDisplay(_Lazy, Display):
    """A display array that is read when its values are used."""


class StoredRecord:
    """A record in a folder; columns and arrays are read when they are used, and kept.

    Attributes:
        name: the name of the folder.
        provenance, run_info, status, about, facts, details: as in `suite.records.record.Record`.
        catalogue: the declarations of the metrics of its rows, by name.
        measures: its rows.
        files: the SHA-256 of every other file, by name.
        descriptions: what it says about its columns.
        populations: the number of samples of each population.
    """

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        """Check the content of ``record.json``.

        Raises:
            ValueError, TypeError, MeasureError: the content is damaged.
        """
        if unknown := sorted(content.keys() ^ set(FIELDS)):
            raise ValueError(f"the field {unknown[0]!r} is {'missing' if unknown[0] in FIELDS else 'unknown'}")
        own = {name: value for name, value in content.items() if name not in ("schema", "measures")}
        read = typed(_Content, own, "record")
        self.folder, self.name = folder, folder.name
        self.provenance, self.run_info, self.status = read.provenance, read.run_info, read.status
        self.about, self.facts, self.details = read.about, read.facts, read.details
        self.catalogue = {metric.name: metric for metric in read.catalogue}
        self.measures = tuple(_measure(row, read.status, n) for n, row in enumerate(content["measures"]))
        self.files, self.populations = read.files, read.populations
        self.descriptions, self._arrays = read.columns, read.arrays
        self._check_files()

    def _check_files(self) -> None:
        for one in self.descriptions:
            if one.population not in self.populations:
                raise ValueError(f"the column {one.key!r} is of an unknown population {one.population!r}")
            if one.dtype not in TYPES:
                raise ValueError(f"the column {one.key!r} has the unknown type {one.dtype!r}")
        keys = [(one.population, one.key) for one in self.descriptions]
        if len(set(keys)) < len(keys):
            raise ValueError("two columns have the same key")
        names = [columns_file(population) for population in self.populations] + [ARRAYS] * bool(self._arrays)
        if odd := sorted({*names} ^ self.files.keys()):
            raise ValueError(f"the file {odd[0]} is {'not listed' if odd[0] in names else 'listed, but not described'}")
        if missing := [name for name in names if not (self.folder / name).is_file()]:
            raise ValueError(f"the file {missing[0]} is missing")

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The per-sample columns under all conditions; the values of each are read when they are used."""
        return tuple(
            _lazily(
                StoredColumn, partial(self._values, one), name=one.name, params=one.params, population=one.population
            )
            for one in self.descriptions
        )

    @property
    def table(self) -> Table:
        """The columns and facts with the seed of resampling, for summaries."""
        return Table(self.columns, self.facts, seed=int(self.facts.get("seed", self.provenance.seed)))

    def column(self, name: str, params: Mapping[str, Any] | None = None, population: str = TEST) -> Array:
        """Return the values of the column that belongs to a row, (n, ...).

        Of the columns of this name, it is the one with the most params among those whose condition is contained in the
        params.

        Raises:
            StoreError: there is no such column, or it cannot be read.
        """
        wanted = dict(params or {})
        fitting = [
            column
            for column in self.columns
            if (column.name, column.population) == (name, population) and column.params.items() <= wanted.items()
        ]
        if not fitting:
            condition = f" under {wanted}" if wanted else ""
            raise StoreError(
                f"The record {self.name} has no column {name!r} of the population {population!r}{condition}."
            )
        return max(fitting, key=lambda column: len(column.params)).values

    @cached_property
    def arrays(self) -> dict[str, Display]:
        """The display arrays by name; the values of each are read when they are used."""
        return {
            one.key: _lazily(
                StoredDisplay,
                partial(self._array, one),
                **{name: getattr(one, name) for name in ("type", "role", "params", "per_sample")},
            )
            for one in self._arrays
        }

    def _values(self, description: ColumnDescription) -> Array:
        name = columns_file(description.population)
        try:
            # Opened here, since pyarrow refuses paths that are not UTF-8.
            with (
                (self.folder / name).open("rb") as opened,
                pq.ParquetFile(opened, page_checksum_verification=True) as file,
            ):
                stored, described = (
                    set(file.schema_arrow.names),
                    {one.key for one in self.descriptions if one.population == description.population},
                )
                if odd := sorted(stored ^ described):
                    raise ValueError(f"the column {odd[0]!r} is {'missing' if odd[0] in described else 'unknown'}")
                table = file.read([description.key], use_threads=False)
            n = self.populations[description.population]
            if table.num_rows != n:
                raise ValueError(f"there are {table.num_rows} samples; expected {n}")
            return _decoded(table.column(0).combine_chunks(), description)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise damage(self.name, name, error) from error

    def _array(self, description: ArrayDescription) -> Array:
        try:
            with (self.folder / ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                array = np.asarray(archive[description.key])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise damage(self.name, ARRAYS, error) from error
        if (array.dtype.str, array.shape) != (description.dtype, description.shape):
            text = (
                f"the array {description.key!r} is {array.dtype.str} {array.shape}; expected {description.dtype} "
                f"{description.shape}"
            )
            raise damage(self.name, ARRAYS, ValueError(text))
        return array


def read(folder: Path) -> StoredRecord:
    """Return the record in a folder.

    Raises:
        StoreError: the record is damaged, or has another schema; the message says how.
    """
    try:
        text = (folder / RECORD).read_text("utf-8")
        content = json.loads(text)
        if ESCAPED_SURROGATE.search(text):
            json.dumps(content, ensure_ascii=False).encode()  # raises ValueError if one is unpaired: no Unicode text
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        if content.get("schema") != SCHEMA:
            raise ValueError(f"it has the schema {content.get('schema')!r}; this version reads schema {SCHEMA}")
        return StoredRecord(folder, content)
    except FileNotFoundError as error:
        raise damage(folder.name, RECORD, ValueError("the file is missing")) from error
    except (OSError, ValueError, TypeError, MeasureError, RecursionError) as error:
        raise damage(folder.name, RECORD, error) from error


def damage(record: str, file: str, error: Exception) -> StoreError:
    """Return the error of a damaged record, in one sentence."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return StoreError(f"The record {record} is damaged: {file}: {text}.")


def _decoded(array: pa.Array, description: ColumnDescription) -> Array:
    try:
        return decode(array, description)
    except ValueError as error:
        raise ValueError(f"the column {description.key!r}: {error}") from error


def typed(cls: type[Data], value: Any, place: str) -> Data:
    """Return a data class from the JSON object of its fields.

    Raises:
        ValueError: a field is missing or of a wrong type; the message says where.
    """
    try:
        return msgspec.convert(value, cls)
    except msgspec.ValidationError as error:
        raise ValueError(f"{place}: {error}") from error


def _measure(row: Any, status: Status, place: int) -> Measure:
    """Return the measure of a row, whose status follows from it unless the whole record has another status."""
    fields = {name: value for name, value in row.items() if name != "status"} if isinstance(row, dict) else row
    measure = typed(Measure, fields, f"measures[{place}]")
    expected = measure.status if status == "ok" else status
    if row.get("status") != expected:
        raise ValueError(f"measures[{place}].status is {row.get('status')!r}; expected {expected!r}")
    return measure


def _lazily(cls: type[Any], read: Callable[[], Array], **fields: Any) -> Any:
    """Return a data class whose values are read when they are used."""
    value = object.__new__(cls)
    value.__dict__.update(fields, _read=read)
    return value
