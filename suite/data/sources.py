"""Where inputs are: in memory, in a temporary file, or in files that are decoded when they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from suite.data.decoding import DECODED, in_order
from suite.data.scratch import Scratch
from suite.errors import DataError
from suite.types import Deferred

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]


class Source(Protocol):
    """Inputs of one shape and type that are read by their positions."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""

    @property
    def in_memory(self) -> bool:
        """Whether reading costs next to nothing."""

    def __len__(self) -> int:
        """Return the number of inputs."""

    def read(self, rows: Rows) -> Array:
        """Return the inputs at some positions, (rows, ...)."""

    def digests(self, rows: Rows) -> list[bytes]:
        """Return the SHA-256 of the contents of each of these inputs, without decoding files."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """One array of inputs, (n, ...); `contents` are their digests if they are known."""

    array: Array
    contents: tuple[bytes, ...] | None = None
    in_memory = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.array.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""
        return self.array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def read(self, rows: Rows) -> Array:
        """Return the inputs at some positions."""
        return self.array[rows]

    def digests(self, rows: Rows) -> list[bytes]:
        """Return the SHA-256 of each input."""
        if self.contents is None:
            return [content_digest(self.array[row]) for row in rows]
        return [self.contents[row] for row in rows]


@dataclass(frozen=True, eq=False)
class Spilled:
    """Inputs in a temporary file, one after the other."""

    file: Scratch
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    contents: tuple[bytes, ...]
    in_memory = True

    def __len__(self) -> int:
        return len(self.contents)

    def read(self, rows: Rows) -> Array:
        """Return the inputs at some positions."""
        result = np.empty((len(rows), *self.shape), self.dtype)
        for place, row in enumerate(rows):
            self.file.read(int(row) * result[place].nbytes, result[place])
        return result

    def digests(self, rows: Rows) -> list[bytes]:
        """Return the SHA-256 of each input."""
        return [self.contents[row] for row in rows]


class Files:
    """Inputs that are decoded when they are needed, and kept while they fit into the memory of `decoding.DECODED`."""

    in_memory = False

    def __init__(
        self, inputs: Sequence[Deferred], like: tuple[tuple[int, ...], np.dtype[Any]], contents: Sequence[bytes]
    ) -> None:
        self.inputs, (self.shape, self.dtype), self.contents = tuple(inputs), like, tuple(contents)
        self._kept: dict[int, Array] = {}
        self._size = int(np.prod(self.shape)) * self.dtype.itemsize
        weakref.finalize(self, _give_back, self._kept)

    def __len__(self) -> int:
        return len(self.inputs)

    def keep(self, row: int, array: Array) -> None:
        """Keep a decoded input, if there is room for it."""
        if row not in self._kept and DECODED.take(array.nbytes):
            self._kept[row] = array

    def read(self, rows: Rows) -> Array:
        """Return the inputs at some positions; several threads decode those that were not kept.

        Raises:
            DataError: a file cannot be read any more, or has changed its size.
        """
        result = np.empty((len(rows), *self.shape), self.dtype)
        for place, array in enumerate(in_order(self._one, map(int, rows), threads=self._decodes(rows))):
            result[place] = array
        return result

    def digests(self, rows: Rows) -> list[bytes]:
        """Return the SHA-256 of each input's files."""
        return [self.contents[row] for row in rows]

    def _decodes(self, rows: Rows) -> bool:
        return sum(int(row) not in self._kept for row in rows) > 1

    def _one(self, row: int) -> Array:
        if (kept := self._kept.get(row)) is not None:
            return kept
        value = np.asarray(self.inputs[row].read())
        if value.size != np.prod(self.shape) or value.shape[-2:] != self.shape[-2:]:
            raise DataError(
                f"{', '.join(self.inputs[row].files) or 'an input'} has the shape {value.shape} now, and had "
                f"{self.shape} when it was listed; start again."
            )
        array = np.ascontiguousarray(value.reshape(self.shape), dtype=self.dtype)
        self.keep(row, array)
        return array


def _give_back(kept: dict[int, Array]) -> None:
    DECODED.give(sum(array.nbytes for array in kept.values()))


@dataclass(frozen=True, eq=False)
class Selected:
    """Some of the inputs of another source, by their positions in it."""

    source: Source
    rows: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its elements."""
        return self.source.dtype

    @property
    def in_memory(self) -> bool:
        """Whether reading costs next to nothing."""
        return self.source.in_memory

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Rows) -> Array:
        """Return the inputs at some positions."""
        return self.source.read(self.rows[rows])

    def digests(self, rows: Rows) -> list[bytes]:
        """Return the SHA-256 of each input."""
        return self.source.digests(self.rows[rows])


def selected(source: Source, rows: Rows) -> Source:
    """Return some of the inputs of a source, without reading them."""
    if isinstance(source, Selected):
        return Selected(source.source, source.rows[rows])
    return Selected(source, rows)


def content_digest(value: Array) -> bytes:
    """Return the SHA-256 of an array's shape, type and elements."""
    content = sha256(f"{value.shape}{value.dtype}".encode())
    content.update(np.ascontiguousarray(value).data)
    return content.digest()
