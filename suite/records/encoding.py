"""Per-sample columns as Parquet columns, exactly: type, shape and every bit.

A column is stored in one of three encodings. *dense*: every sample has the same shape; one value, or a list of its
values in C order. *sparse*: the same for mostly-zero numbers; the flat indices and values of what is not zero.
*ragged*: samples differ in shape; a list of the values of each sample, and its shape where that does not follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from suite.errors import RecordError
from suite.metrics.table import Column

Array = npt.NDArray[Any]
Encoding = Literal["dense", "ragged", "sparse"]

MOST_BYTES = 16 * 1024
"""Most bytes that one column may take for one sample."""

SPARSE_FROM = 64
"""Fewest values of a sample for which the sparse encoding is considered."""

STRING = "string"
"""The type of strings; all other types are named as in numpy."""

TYPES = {
    STRING: pa.string(),
    **{name: pa.from_numpy_dtype(np.dtype(name)) for name in ("bool", "float16", "float32", "float64")},
    **{name: pa.from_numpy_dtype(np.dtype(name)) for name in ("int8", "int16", "int32", "int64")},
    **{name: pa.from_numpy_dtype(np.dtype(name)) for name in ("uint8", "uint16", "uint32", "uint64")},
}
"""The Arrow type of each type of value."""


@dataclass(frozen=True)
class ColumnDescription:
    """What a record says about one of its columns.

    Attributes:
        key: the name of the Parquet column; unique within its population.
        name, population, params: as in `Column`.
        dtype: the type of a value, a key of `TYPES`.
        shape: the shape of one sample; None for dimensions that differ between samples.
        encoding: how the values are stored.
        nan: whether there are NaN among them.
    """

    key: str
    name: str
    population: str
    params: dict[str, Any]
    dtype: str
    shape: tuple[int | None, ...]
    encoding: Encoding
    nan: bool

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of the Parquet column."""
        value, ndim = TYPES[self.dtype], len(self.shape)
        if self.encoding == "sparse":
            return pa.struct([("index", pa.list_(pa.int32())), ("value", pa.list_(value))])
        if self.encoding == "ragged" and not self._has_one_length:
            return pa.struct([("shape", pa.list_(pa.int64(), ndim)), ("values", pa.list_(value))])
        if self.encoding == "ragged" or (ndim and not self.size):  # Parquet has no lists of length 0
            return pa.list_(value)
        return pa.list_(value, self.size) if ndim else value

    @property
    def size(self) -> int:
        """The number of values of a sample, without the dimensions that differ."""
        return int(np.prod([length for length in self.shape if length is not None], dtype=np.int64))

    @property
    def _has_one_length(self) -> bool:
        """Whether the shape of a ragged sample follows from its number of values."""
        return sum(length is None for length in self.shape) == 1 and self.size > 0


def encode(column: Column, key: str) -> tuple[ColumnDescription, pa.Array]:
    """Return the description of a column and its values for Parquet, one entry per sample.

    Raises:
        RecordError: the values cannot be stored, or take more than `MOST_BYTES` for a sample.
    """
    values = np.asarray(column.values)
    if values.ndim == 0:
        raise RecordError(f"{_title(column)} is a single value; expected one entry per sample, (n, ...).")
    if values.ndim == 1 and len(values) and all(isinstance(value, np.ndarray) for value in values):
        return _encode_ragged(column, key, list(values))
    flat, dtype = _flat(column, values)
    description = _described(column, key, dtype, values.shape[1:], "dense", flat)
    dense = _dense_bytes(flat, len(values))
    sparse = _sparse_parts(values, description)
    if sparse is not None:
        rows, places, kept = sparse
        counts = np.bincount(rows, minlength=len(values))
        sparse_bytes = counts * (4 + kept.itemsize)
        too_large = dense.max(initial=0) > MOST_BYTES
        if sparse_bytes.sum() + 8 * len(values) < dense.sum() and (too_large or sparse_bytes.max() <= MOST_BYTES):
            description = _described(column, key, dtype, values.shape[1:], "sparse", flat)
            _check_size(column, sparse_bytes)
            lists = [_lists(pa.array(places, pa.int32()), counts), _lists(pa.array(kept), counts)]
            return description, pa.StructArray.from_arrays(lists, fields=list(description.arrow_type))
    _check_size(column, dense)
    return description, _dense_array(flat, description, len(values))


def decode(array: pa.Array, description: ColumnDescription) -> Array:
    """Return the values of a column from its Parquet column.

    Raises:
        ValueError: the column does not fit its description; the message says how.
    """
    if array.type != description.arrow_type:
        raise ValueError(f"it has the type {array.type}; expected {description.arrow_type}")
    if description.encoding == "dense":
        flat = _numpy(_values(array), description)
        return flat.reshape(len(array), *_lengths(description))
    if description.encoding == "sparse":
        return _decode_sparse(array, description)
    return _decode_ragged(array, description)


def _title(column: Column) -> str:
    condition = f" under {dict(column.params)}" if column.params else ""
    return f"The column {column.name!r} of the population {column.population!r}{condition}"


def _described(
    column: Column, key: str, dtype: str, shape: Sequence[int | None], encoding: Encoding, flat: Array
) -> ColumnDescription:
    nan = flat.dtype.kind == "f" and bool(np.isnan(flat).any())
    return ColumnDescription(
        key, column.name, column.population, dict(column.params), dtype, tuple(shape), encoding, nan
    )


def _flat(column: Column, values: Array) -> tuple[Array, str]:
    """Return values in C order with their type; strings as objects."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if values.dtype.kind in "OUT":
        if bad := [value for value in flat if not isinstance(value, str)]:
            raise RecordError(
                f"{_title(column)} contains {bad[0]!r} ({type(bad[0]).__name__}); expected numbers, strings ('' for "
                "none), or one array per sample."
            )
        return np.array([*map(str, flat), None], dtype=object)[:-1], STRING
    name = values.dtype.newbyteorder("=").name
    if name not in TYPES:
        raise RecordError(f"{_title(column)} has the type {name}; expected one of {', '.join(TYPES)}.")
    return flat.astype(name, copy=False), name


def _dense_bytes(flat: Array, n: int) -> Array:
    """Return the bytes of each sample, (n,); eight bools take one byte."""
    if flat.dtype == object:
        sizes = np.array([len(value.encode("utf-8", "surrogatepass")) for value in flat], dtype=np.int64)
        return sizes.reshape(n, -1).sum(axis=1) if n else sizes
    per_sample = flat.size // n if n else 0
    return np.full(n, -(-per_sample // 8) if flat.dtype == bool else per_sample * flat.itemsize)


def _check_size(column: Column, sizes: Array) -> None:
    if (most := sizes.max(initial=0)) > MOST_BYTES:
        raise RecordError(
            f"{_title(column)} takes {most:,} bytes for one sample; at most {MOST_BYTES:,} are stored. Store a smaller "
            "type, what a summary needs instead of the raw output, or a display array of some samples."
        )


def _sparse_parts(values: Array, description: ColumnDescription) -> tuple[Array, Array, Array] | None:
    """Return samples, flat indices and values of what is not zero; None for values that are not stored sparsely."""
    if values.dtype.kind not in "iuf" or description.size < SPARSE_FROM:
        return None
    rows = np.ascontiguousarray(values).astype(description.dtype, copy=False).reshape(len(values), -1)
    at, places = np.nonzero(rows.view(f"u{rows.itemsize}"))  # by bits: -0.0 is not left out
    return at, places.astype(np.int32), rows[at, places]


def _lists(values: pa.Array, counts: Array) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _arrow(flat: Array, dtype: str) -> pa.Array:
    try:
        return pa.array(flat, TYPES[dtype], from_pandas=False)
    except (pa.ArrowException, UnicodeError) as error:  # a string that is no Unicode text
        raise RecordError(f"A column cannot be stored: {error}.") from error


def _dense_array(flat: Array, description: ColumnDescription, n: int) -> pa.Array:
    values, kind = _arrow(flat, description.dtype), description.arrow_type
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, description.size)
    return _lists(values, np.zeros(n, np.int64)) if pa.types.is_list(kind) else values


def _encode_ragged(column: Column, key: str, parts: list[Array]) -> tuple[ColumnDescription, pa.Array]:
    shapes = [part.shape for part in parts]
    if len({len(shape) for shape in shapes}) > 1 or not shapes[0]:
        raise RecordError(f"{_title(column)} has arrays of different or no dimensions; expected the same number.")
    flats = [_flat(column, part) for part in parts]
    if len(types := sorted({dtype for _, dtype in flats})) > 1:
        raise RecordError(f"{_title(column)} has arrays of the types {', '.join(types)}; expected one type.")
    flat = np.concatenate([part for part, _ in flats])
    same = [len(set(lengths)) == 1 and place > 0 for place, lengths in enumerate(zip(*shapes, strict=True))]
    shape = [length if equal else None for length, equal in zip(shapes[0], same, strict=True)]
    description = _described(column, key, types[0], shape, "ragged", flat)
    counts = np.array([part.size for part, _ in flats])
    values = _lists(_arrow(flat, types[0]), counts)
    if flat.dtype == object:
        sizes = np.array([_dense_bytes(part, 1).sum() for part, _ in flats])
    else:
        sizes = -(-counts // 8) if flat.dtype == bool else counts * flat.itemsize
    if pa.types.is_struct(description.arrow_type):
        lengths = pa.array(np.array(shapes, np.int64).reshape(-1))
        lists = [pa.FixedSizeListArray.from_arrays(lengths, len(shape)), values]
        _check_size(column, sizes + 8 * len(shape))
        return description, pa.StructArray.from_arrays(lists, fields=list(description.arrow_type))
    _check_size(column, sizes)
    return description, values


def _lengths(description: ColumnDescription) -> tuple[int, ...]:
    if None in description.shape:
        raise ValueError("its shape has unknown lengths, but it is not ragged")
    return tuple(int(length or 0) for length in description.shape)


def _values(array: pa.Array) -> pa.Array:
    """Return all values of an array of values or of lists."""
    if array.null_count:
        raise ValueError(f"{array.null_count} of its samples have no value")
    is_list = pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type)
    return array.flatten() if is_list else array


def _numpy(values: pa.Array, description: ColumnDescription) -> Array:
    if values.null_count:
        raise ValueError(f"{values.null_count} of its values are missing")
    if description.dtype == STRING:
        return np.array([*values.to_pylist(), None], dtype=object)[:-1]
    flat = np.array(values.to_numpy(zero_copy_only=False), dtype=description.dtype)
    if flat.dtype.kind == "f" and not description.nan and np.isnan(flat).any():
        raise ValueError("it contains NaN, but its description says that it does not")
    return flat


def _decode_sparse(array: pa.Array, description: ColumnDescription) -> Array:
    if array.null_count:
        raise ValueError(f"{array.null_count} of its samples have no value")
    index, value = array.field("index"), array.field("value")
    counts, places = _counts(index), _values(index).to_numpy(zero_copy_only=False)
    if not np.array_equal(counts, _counts(value)):
        raise ValueError("a sample has not as many indices as values")
    if len(places) and (places.min() < 0 or places.max() >= description.size):
        raise ValueError(f"an index is not below {description.size}")
    flat = np.zeros((len(array), description.size), description.dtype)
    flat[np.repeat(np.arange(len(array)), counts), places] = _numpy(_values(value), description)
    return flat.reshape(len(array), *_lengths(description))


def _decode_ragged(array: pa.Array, description: ColumnDescription) -> Array:
    if array.null_count:
        raise ValueError(f"{array.null_count} of its samples have no value")
    has_shape = pa.types.is_struct(array.type)
    lists = array.field("values") if has_shape else array
    counts, flat = _counts(lists), _numpy(_values(lists), description)
    if has_shape:
        shapes = _values(array.field("shape")).to_numpy(zero_copy_only=False).reshape(len(array), -1)
    else:
        if (counts % description.size).any():
            raise ValueError(f"a sample has a number of values that is not a multiple of {description.size}")
        own = [-1 if length is None else length for length in description.shape]
        shapes = np.array([own] * len(array)).reshape(len(array), -1)
        shapes[shapes == -1] = counts // description.size
    if (shapes.prod(axis=1) != counts).any():
        raise ValueError("the shape of a sample does not fit its number of values")
    result = np.empty(len(array), dtype=object)
    for row, (part, shape) in enumerate(zip(np.split(flat, np.cumsum(counts)[:-1]), shapes, strict=True)):
        result[row] = part.reshape(shape)
    return result


def _counts(lists: pa.Array) -> Array:
    if lists.null_count:
        raise ValueError(f"{lists.null_count} of its samples have no value")
    return np.asarray(lists.value_lengths().to_numpy(zero_copy_only=False), dtype=np.int64)
