"""Collects the inputs of a split one by one, without holding more of them in memory than the limit allows."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import numpy as np

from suite.data.decoding import limit_from
from suite.data.file_digests import deferred_digests
from suite.data.scratch import Scratch
from suite.data.sources import Array, Files, InMemory, Source, Spilled
from suite.types import Deferred

Form = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of an input."""


class Inputs:
    """The inputs of one split in the order in which they are added.

    Deferred inputs stay on disk, and their decoded values are kept as far as `decoding.DECODED` allows. Arrays stay in
    memory up to SUITE_ARRAYS_MB, then all of them go to a temporary file. Only inputs of the form of the first one are
    stored, since others are an error of the task; `forms` counts them.
    """

    def __init__(self) -> None:
        self.forms: Counter[Form] = Counter()
        self.contents: list[bytes] = []
        self._deferred: list[Deferred] = []
        self._decoded: dict[int, Array] = {}
        self._arrays: list[Array] = []
        self._file: Scratch | None = None
        self._bytes, self._limit = 0, limit_from("SUITE_ARRAYS_MB")
        self._files: Files | None = None

    def add(self, value: Array, content: bytes, deferred: Deferred | None) -> None:
        """Add an input, the digest of its content, and how it is read again if it comes from a file."""
        form = value.shape, value.dtype
        self.forms[form] += 1
        if len(self.forms) > 1:
            return
        self.contents.append(content)
        if deferred is not None and not self._is_array:
            self._add_deferred(value, deferred)
        elif self._deferred:
            self._add_deferred(value, Deferred(partial(np.asarray, value)))
        else:
            self._add_array(value)

    def source(self, form: Form) -> Source:
        """Return all inputs; `form` is theirs if there are none."""
        if self._files is not None:
            self._files.inputs = tuple(self._deferred)
            self._files.contents = tuple(deferred_digests(self._deferred, self.contents))
            return self._files
        if self._file is not None:
            return Spilled(self._file, *next(iter(self.forms)), tuple(self.contents))
        shape, dtype = form
        arrays = np.stack(self._arrays) if self._arrays else np.zeros((0, *shape), dtype)
        return InMemory(arrays, tuple(self.contents))

    @property
    def _is_array(self) -> bool:
        return bool(self._arrays) or self._file is not None

    def _add_deferred(self, value: Array, deferred: Deferred) -> None:
        if self._files is None:
            self._files = Files((), (value.shape, value.dtype), ())
        self._files.keep(len(self._deferred), value)
        self._deferred.append(deferred)

    def _add_array(self, value: Array) -> None:
        self._bytes += value.nbytes
        if self._file is None and self._bytes > self._limit:
            self._file = Scratch()
            for array in self._arrays:
                self._file.append(array)
            self._arrays = []
        if self._file is None:
            self._arrays.append(value)
        else:
            self._file.append(value)
