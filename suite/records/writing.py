"""A record as the files of its folder."""

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from suite.errors import RecordError
from suite.metrics.table import Column
from suite.records.encoding import STRING, ColumnDescription, encode
from suite.records.record import Record
from suite.types import SCHEMA, Display

RECORD = "record.json"
"""The file that describes a record; it begins with the version of the schema."""

ARRAYS = "arrays.npz"
"""The file of the display arrays."""

MOST_ARRAY_BYTES = 64 * 2**20
"""Most bytes of one display array, such as the stored adversarial inputs."""

POPULATION = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""Valid names of populations; a file is named after each."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def columns_file(population: str) -> str:
    """Return the name of the file with the columns of a population."""
    return f"columns.{population}.parquet"


def files(record: Record) -> dict[str, bytes]:
    """Return the content of the files of a record, by name.

    Raises:
        RecordError: a column is too large, has another length than the others of its population, is stored twice under
            one condition, or has values of an unknown type; or a fact is no JSON value.
    """
    encoded = [encode(column, key) for column, key in zip(record.columns, _keys(record.columns), strict=True)]
    populations = _populations(record.columns)
    arrays = {key: _array(key, display) for key, display in record.arrays.items()}
    written = {
        columns_file(population): _parquet([one for one in encoded if one[0].population == population])
        for population in populations
    }
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # not the argument allow_pickle
        written[ARRAYS] = buffer.getvalue()
    content = {
        "schema": SCHEMA,
        "provenance": asdict(record.provenance),
        "run_info": asdict(record.run_info),
        "status": record.status,
        "about": asdict(record.about) if record.about else None,
        "catalogue": [metric.to_json() for metric in record.catalogue],
        "measures": _measures(record),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in written.items()},
        "populations": populations,
        "columns": [asdict(description) for description, _ in encoded],
        "arrays": [_array_description(key, record.arrays[key], array) for key, array in arrays.items()],
        "facts": record.facts,
        "details": record.details,
    }
    return {RECORD: as_json(content), **written}


def as_json(value: Any) -> bytes:
    """Return a JSON value as text in UTF-8; numpy scalars become numbers, and the order of names is kept.

    Unpaired surrogates, as in messages about a file whose name is not UTF-8, become the text of their escapes.

    Raises:
        RecordError: it is no JSON value, for example NaN or an array.
    """
    try:
        _check_names(value, "")
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1, default=_plain)
        return _SURROGATE.sub(lambda found: rf"\\u{ord(found[0]):04x}", text).encode()
    except (TypeError, ValueError) as error:
        raise RecordError(f"A record cannot be stored as JSON: {error}.") from error


def _plain(value: Any) -> Any:
    """Convert a numpy scalar to a Python number, and a mapping to a dictionary."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} ({type(value).__name__}) is no JSON value; store an array as a column")


def _check_names(value: Any, place: str) -> None:
    """Raise TypeError unless all names are strings: JSON would convert other keys, and two may become one."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if not isinstance(name, str):
                raise TypeError(f"{place or 'the record'} has the key {name!r}; expected a string")
            _check_names(part, f"{place}.{name}" if place else name)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_names(part, place)


def _measures(record: Record) -> list[dict[str, Any]]:
    override = {} if record.status == "ok" else {"status": record.status}
    return [{**asdict(measure), "status": measure.status, **override} for measure in record.measures]


def _keys(columns: Iterable[Column]) -> list[str]:
    """Return a name for each Parquet column; conditions are numbered, since their params are in the description."""
    count: Counter[tuple[str, str]] = Counter()
    seen, keys = set(), []
    for column in columns:
        condition = json.dumps(dict(column.params), sort_keys=True, default=_plain)
        if (column.population, column.name, condition) in seen:
            raise RecordError(
                f"The column {column.name!r} of the population {column.population!r} is stored twice under "
                f"{condition}; use another name or other params."
            )
        seen.add((column.population, column.name, condition))
        name = re.sub(r"\W", "_", column.name)
        number = count[column.population, name]
        keys.append(f"{name}#{number}" if number else name)
        count[column.population, name] += 1
    return keys


def _populations(columns: Iterable[Column]) -> dict[str, int]:
    """Return the number of samples of each population."""
    populations: dict[str, int] = {}
    for column in columns:
        name, n = column.population, len(column.values)
        if not POPULATION.fullmatch(name):
            raise RecordError(f"The population {name!r} is no valid name; use small letters, digits, '-' and '_'.")
        if populations.setdefault(name, n) != n:
            raise RecordError(
                f"The column {column.name!r} has {n} entries, but others of the population {name!r} have "
                f"{populations[name]}; columns of one population have one entry per sample."
            )
    return populations


def _parquet(encoded: list[tuple[ColumnDescription, pa.Array]]) -> bytes:
    fields = [
        pa.field(one.key, one.arrow_type, nullable=False, metadata={"params": json.dumps(one.params, default=_plain)})
        for one, _ in encoded
    ]
    table = pa.Table.from_arrays([array for _, array in encoded], schema=pa.schema(fields))
    # A dictionary would make all NaN equal, and so change their bits.
    strings = [one.key for one, array in encoded if one.dtype == STRING and array.type == pa.string()]
    buffer = io.BytesIO()
    pq.write_table(
        table, buffer, compression="zstd", use_dictionary=strings or False, write_page_checksum=True, version="2.6"
    )
    return buffer.getvalue()


def _array(key: str, display: Display) -> npt.NDArray[Any]:
    array = np.asarray(display.values)
    if array.dtype == object:
        if not all(isinstance(value, str) for value in array.flat):
            raise RecordError(f"The array {key!r} contains objects; expected numbers or strings of one shape.")
        array = array.astype(str)
    if array.nbytes > MOST_ARRAY_BYTES:
        raise RecordError(
            f"The array {key!r} takes {array.nbytes:,} bytes; at most {MOST_ARRAY_BYTES:,} are stored. Store fewer "
            "samples of it."
        )
    return array


def _array_description(key: str, display: Display, array: npt.NDArray[Any]) -> dict[str, Any]:
    return {
        "key": key,
        "type": display.type,
        "role": display.role,
        "params": dict(display.params),
        "per_sample": display.per_sample,
        "dtype": array.dtype.str,
        "shape": array.shape,
    }
