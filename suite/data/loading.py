"""From a task's samples to arrays: validated and deduplicated, with a report of what was dropped."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from suite.data.digests import in_digest_order
from suite.data.splitting import SPLITS
from suite.data.text import ROOM, text_of, vocabulary
from suite.errors import DataError, PluginError
from suite.registry import Entry
from suite.spec import Spec, digest
from suite.types import Input, Rejected, Sample


class SampleReader(Protocol):
    """How a kind reads samples; see `suite.kinds.base.Samples`."""

    def validate_sample(
        self, sample: Sample, classes: Sequence[str] | None
    ) -> tuple[npt.NDArray[Any], Any, tuple[str, ...]]:
        """Return input, target and remarks; raise a DataError that says why the sample cannot be used."""

    def class_names(self, targets: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
        """Return the class names that occur in the targets of each split."""

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> npt.NDArray[Any]:
        """Return targets as one array."""


class SampleKind(Protocol):
    """What loading needs to know of a kind; see `suite.kinds.base.Kind`."""

    @property
    def input(self) -> Input:
        """What its samples are."""

    @property
    def samples(self) -> SampleReader:
        """How they are read."""


PART = "part of a sample"
"""The reason in the data report for a sample that is kept although a part of it was dropped."""

PROTECTED_FIRST = ("test", "validation", "train")
"""Of two equal samples, the one in the more protected split is kept: a test sample must never be trained on."""


@dataclass(frozen=True)
class TaskInfo:
    """What a model may know about a task before it is built.

    Attributes:
        input_shape: (channels, height, width) of images, or (characters,) of texts.
        words: the vocabulary of training texts, the most frequent word first; empty for anything but texts.
    """

    name: str
    kind: str
    version: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    source: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataReport:
    """How many samples each split kept, and the id and detail of every dropped record, by reason."""

    kept: dict[str, int]
    dropped: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return the report as one line of text."""
        kept = ", ".join(f"{count:,} {split}" for split, count in self.kept.items())
        return f"{kept}; {self.dropped_sentence()}"

    def dropped_sentence(self) -> str:
        """Return what was dropped as one line of text."""
        lines = []
        for reason, records in sorted(self.dropped.items()):
            examples = "; ".join(f"{name}: {detail}" for name, detail in records[:3])
            more = f"; and {len(records) - 3} more" if len(records) > 3 else ""
            what = "kept without a part" if reason == PART else f"dropped, {reason}"
            lines.append(f"{len(records)} {what} ({examples}{more})")
        return "; ".join(lines) or "nothing dropped"


@dataclass(frozen=True)
class Split:
    """Samples of one split.

    Attributes:
        ids: stable and unique, (n,).
        inputs: images (n, ...) in uint8 or float32, or texts (n, characters) as int32 code points.
        targets: in the form of the task's kind, (n, ...).
        shares: the share of human raters who chose each class, (n, classes), NaN where a sample has no raters; None
            if no sample of the task has any.
    """

    ids: tuple[str, ...]
    inputs: npt.NDArray[Any]
    targets: npt.NDArray[Any]
    shares: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Sequence[int] | npt.NDArray[Any]) -> Split:
        """Return the samples at the given positions."""
        rows = np.asarray(positions, dtype=int)
        shares = None if self.shares is None else self.shares[rows]
        return Split(tuple(self.ids[row] for row in rows), self.inputs[rows], self.targets[rows], shares)

    def few(self, count: int) -> Split:
        """Return at most `count` samples: always the same ones, and a larger count contains a smaller one."""
        return self if len(self) <= count else self.take(sorted(in_digest_order(self.ids)[:count]))

    def pixels(self) -> npt.NDArray[Any]:
        """Return images as float32 in [0, 1], and texts unchanged as code points."""
        if self.inputs.dtype == np.int32:
            return self.inputs
        scaled = self.inputs / np.float32(255) if self.inputs.dtype == np.uint8 else self.inputs
        return np.asarray(scaled, dtype=np.float32)


@dataclass(frozen=True)
class TaskData:
    """A task's samples in three splits, the report of what was dropped, and the digest of all samples."""

    info: TaskInfo
    train: Split
    validation: Split
    test: Split
    report: DataReport
    digest: str


def load(entry: Entry, spec: Spec, *, seed: int, kind: SampleKind) -> TaskData:
    """Read a task's three splits.

    Args:
        entry: the task.
        spec: its arguments.
        seed: seed of the split, for tasks that split by seed.
        kind: validates samples and stacks their targets.

    Raises:
        DataError: no usable test sample, repeated ids, or inputs of different shapes or types.
        PluginError: the task yields something other than samples.
    """
    reader = _Reader(entry, kind, _declared_classes(entry, spec))
    records = {split: reader.read(split, entry.build(spec, split=split, seed=seed)) for split in PROTECTED_FIRST}
    classes = reader.classes or kind.samples.class_names({name: [r.target for r in records[name]] for name in SPLITS})
    if not records["test"]:
        raise DataError(
            f"Task {spec} has no usable test sample: {DataReport({}, reader.dropped).dropped_sentence()}. "
            "Check the path and the files; if splits are drawn by seed, each class needs samples for all three splits."
        )
    records = _padded(records, kind.input)
    inputs = [r.input for kept in records.values() for r in kept]
    shape = _common_shape(spec, [array.shape for array in inputs])
    if len(dtypes := sorted({str(array.dtype) for array in inputs})) > 1:
        raise DataError(f"Task {spec} mixes inputs of type {' and '.join(dtypes)}; yield one type, uint8 or float.")
    targets = kind.samples.stack([r.target for name in SPLITS for r in records[name]], classes)
    splits = _stacked(records, shape, targets, classes)
    words, meta = vocabulary(splits["train"].inputs) if kind.input.has_words else (), entry.meta
    info = TaskInfo(entry.name, meta["kind"], meta["version"], classes, shape, meta["source"], words)
    report = DataReport({name: len(splits[name]) for name in SPLITS}, reader.dropped)
    return TaskData(info, splits["train"], splits["validation"], splits["test"], report, _digest(info, splits))


class _Record(NamedTuple):
    """A validated sample."""

    id: str
    input: npt.NDArray[Any]
    target: Any
    shares: tuple[float, ...] | None


_Records = dict[str, list[_Record]]


class _Reader:
    """Reads one split after another and remembers ids and contents, so that repeated ones are noticed."""

    def __init__(self, entry: Entry, kind: SampleKind, classes: tuple[str, ...] | None) -> None:
        self.entry, self.kind, self.classes = entry, kind, classes
        self.dropped: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.contents: dict[bytes, tuple[str, Any]] = {}
        self.ids: dict[str, str] = {}

    def read(self, split: str, samples: Iterable[Any]) -> list[_Record]:
        """Return the usable samples of one split."""
        if not isinstance(samples, Iterable):
            raise PluginError(f"Task {self.entry.name} returned {type(samples).__name__}; it must yield Sample values.")
        return [record for sample in samples if (record := self._one(split, sample)) is not None]

    def _one(self, split: str, sample: Any) -> _Record | None:
        if isinstance(sample, Rejected):
            self.dropped["unreadable"].append((sample.id, sample.reason))
            return None
        if not isinstance(sample, Sample):
            raise PluginError(f"Task {self.entry.name} yielded {type(sample).__name__}; expected suite.Sample.")
        if sample.id in self.ids:
            raise DataError(
                f"Task {self.entry.name}: the id {sample.id!r} is used in {self.ids[sample.id]} and again in {split}; "
                "ids must be unique across splits, because results are joined on them."
            )
        self.ids[sample.id] = split
        try:
            value, target, remarks = self.kind.samples.validate_sample(sample, self.classes)
        except DataError as error:
            self.dropped["unusable"].append((sample.id, str(error)))
            return None
        content = _content(value, self.kind.input)
        original, label = self.contents.setdefault(content, (sample.id, target))
        if original != sample.id:
            detail = f"{split} sample equal to {original} in {self.ids[original]}{_conflict(label, target)}"
            self.dropped["duplicate"].append((sample.id, detail))
            return None
        if remarks:
            self.dropped[PART] += [(sample.id, remark) for remark in remarks]
        return _Record(sample.id, value, target, sample.shares)


def _content(value: npt.NDArray[Any], kind: Input) -> bytes:
    """Return the digest of an input; for texts of free length, case and white space do not count."""
    if kind.type == "text" and not kind.fixed_length:
        return hashlib.sha256(" ".join(text_of(value).casefold().split()).encode()).digest()
    return hashlib.sha256(f"{value.shape}{value.dtype}".encode() + value.tobytes()).digest()


def _declared_classes(entry: Entry, spec: Spec) -> tuple[str, ...] | None:
    """Return the classes from the spec's ``classes=`` argument, or else those that the task declares."""
    given = spec.kwargs.get("classes") or entry.meta["classes"]
    if isinstance(given, str):
        return (given,)
    return tuple(given) if given else None


def _conflict(label: Any, target: Any) -> str:
    if isinstance(label, str | int) and isinstance(target, str | int):
        return "" if label == target else f", which is labeled {label}, not {target}"
    same = np.array_equal(label, target) if isinstance(label, np.ndarray) else repr(label) == repr(target)
    return "" if same else ", which has other targets"


def _common_shape(spec: Spec, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    distinct = sorted(set(shapes), key=shapes.count, reverse=True)
    if len(distinct) > 1:
        listed = ", ".join(f"{shape} ({shapes.count(shape)}x)" for shape in distinct[:4])
        raise DataError(f"Task {spec} has inputs of {len(distinct)} shapes: {listed}. Resize them, e.g. size=224.")
    return distinct[0]


def _padded(records: _Records, kind: Input) -> _Records:
    """Pad texts to the longest one and, unless the length is fixed, some room for edits; keep other inputs."""
    if kind.type != "text":
        return records
    lengths = [len(record.input) for kept in records.values() for record in kept]
    width = max(lengths, default=0) + (0 if kind.fixed_length else ROOM)
    return {
        name: [record._replace(input=np.pad(record.input, (0, width - len(record.input)))) for record in kept]
        for name, kept in records.items()
    }


def _shares(records: Sequence[_Record], classes: Sequence[str]) -> npt.NDArray[np.float64]:
    missing = (math.nan,) * len(classes)
    rows = [missing if r.shares is None else r.shares for r in records]
    if all(len(row) == len(classes) for row in rows):
        shares = np.array(rows, np.float64).reshape(len(rows), len(classes))
        rated = shares[~np.isnan(shares).any(axis=1)]
        if (rated >= 0).all() and np.allclose(rated.sum(axis=1), 1, atol=1e-6):
            return shares
    raise DataError(
        f"The raters' shares of some samples do not form a distribution over the {len(classes)} classes; expected one "
        "share per class, adding up to 1."
    )


def _stacked(
    records: _Records, shape: tuple[int, ...], targets: npt.NDArray[Any], classes: Sequence[str]
) -> dict[str, Split]:
    """Return the splits; `targets` holds those of all splits in the order of `SPLITS`, so that they share one form."""
    has_shares = any(r.shares is not None for kept in records.values() for r in kept)
    splits, start = {}, 0
    for name in SPLITS:
        kept = records[name]
        inputs = np.stack([r.input for r in kept]) if kept else np.zeros((0, *shape), np.float32)
        shares = _shares(kept, classes) if has_shares else None
        splits[name] = Split(tuple(r.id for r in kept), inputs, targets[start : start + len(kept)], shares)
        start += len(kept)
    return splits


def _digest(info: TaskInfo, splits: dict[str, Split]) -> str:
    content = hashlib.sha256()
    for name, split in splits.items():
        content.update(f"{name}{split.inputs.dtype}".encode())
        content.update("\0".join(split.ids).encode())
        content.update(np.ascontiguousarray(split.inputs).tobytes())
        content.update(np.ascontiguousarray(split.targets).tobytes())
        if split.shares is not None:
            content.update(np.ascontiguousarray(split.shares).tobytes())
    return digest([info.name, info.version, list(info.classes), list(info.input_shape), content.hexdigest()])
