"""The samples of one split, whose inputs are read when they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from suite.data.decoding import one_ahead
from suite.data.digests import in_digest_order
from suite.data.sources import InMemory, Source, content_digest, selected

Array = npt.NDArray[Any]
Positions = Sequence[int] | Array


@dataclass(frozen=True, eq=False)
class Split:
    """Samples of one split.

    Attributes:
        ids: stable and unique, (n,).
        source: how inputs are read, or an array of them: images (n, ...) in uint8 or float32, or texts (n, characters)
            as int32 code points.
        targets: in the form of the task's kind, (n, ...).
        shares: the share of human raters who chose each class, (n, classes), NaN where a sample has no raters; None
            if no sample of the task has any.
        groups: what each sample belongs to, (n,), None where it is unknown; None if no sample of the split has a
            group.
    """

    ids: tuple[str, ...]
    source: Source | Array
    targets: Array
    shares: npt.NDArray[np.float64] | None = None
    groups: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def inputs(self) -> Array:
        """All inputs as they are stored, (n, ...), read now; only for data that fit into memory."""
        source = self._source
        return source.array if isinstance(source, InMemory) else source.read(np.arange(len(self)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self._source.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of stored inputs: uint8, float32 or int32."""
        return self._source.dtype

    @property
    def _source(self) -> Source:
        return InMemory(self.source) if isinstance(self.source, np.ndarray) else self.source

    def take(self, positions: Positions) -> Split:
        """Return the samples at the given positions; nothing is read."""
        rows = np.asarray(positions, dtype=np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        return Split(
            tuple(self.ids[row] for row in rows),
            selected(self._source, rows),
            self.targets[rows],
            None if self.shares is None else self.shares[rows],
            None if self.groups is None else tuple(self.groups[row] for row in rows),
        )

    def few(self, count: int) -> Split:
        """Return at most `count` samples: always the same ones, and a larger count contains a smaller one."""
        return self if len(self) <= count else self.take(sorted(in_digest_order(self.ids)[:count]))

    def pixels(self) -> Array:
        """Read the inputs: images as float32 in [0, 1], and texts unchanged as code points."""
        inputs = self.inputs
        if inputs.dtype == np.int32:
            return inputs
        scaled = inputs / np.float32(255) if inputs.dtype == np.uint8 else inputs
        return np.asarray(scaled, dtype=np.float32)

    def batches(self, size: int) -> Iterator[Split]:
        """Yield consecutive samples, with inputs in memory; the next ones are decoded meanwhile."""
        starts = range(0, len(self), size)
        return self.ahead(np.arange(start, min(start + size, len(self))) for start in starts)

    def ahead(self, groups: Iterable[Positions]) -> Iterator[Split]:
        """Yield the samples of each group of positions, with inputs in memory; the next group is decoded meanwhile."""
        if self._source.in_memory:
            return (self.take(rows) for rows in groups)
        return one_ahead(lambda rows: self.take(rows)._loaded(), groups)

    def contents(self) -> list[bytes]:
        """Return the SHA-256 of each input."""
        return self._source.digests(np.arange(len(self)))

    def fingerprint(self) -> str:
        """Return the SHA-256 of ids, targets and contents; images in files are not decoded for it."""
        return fingerprint(self.ids, [f"{self.shape}{self.dtype}".encode(), *self.contents()], self)

    @property
    def group_names(self) -> tuple[str, ...] | None:
        """The group of each sample, (n,), where one of an unknown group is a group of its own; None without groups."""
        if self.groups is None:
            return None
        return tuple(group or f"only {name}" for group, name in zip(self.groups, self.ids, strict=True))

    def _loaded(self) -> Split:
        return Split(self.ids, InMemory(self.inputs), self.targets, self.shares, self.groups)


class Labeled(Protocol):
    """What samples have beside their inputs; see `Split`."""

    @property
    def targets(self) -> Array | None:
        """Targets, if they are known."""

    @property
    def shares(self) -> Array | None:
        """The raters' shares."""

    @property
    def groups(self) -> tuple[str | None, ...] | None:
        """What each sample belongs to."""


def fingerprint(ids: Sequence[str], contents: Iterable[bytes], labeled: Labeled) -> str:
    """Return the SHA-256 of samples: ids, digests of their inputs, targets, shares and groups."""
    content = sha256("\0".join(ids).encode())
    content.update(sha256(b"".join(contents)).digest())
    for values in (labeled.targets, labeled.shares):
        if values is not None:
            content.update(content_digest(values))
    if labeled.groups is not None:
        content.update(repr(labeled.groups).encode())
    return content.hexdigest()
