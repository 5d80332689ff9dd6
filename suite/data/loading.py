"""From a task's samples to arrays: checked, named, free of duplicates, and counted."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from suite.data.digests import in_digest_order
from suite.data.splitting import SPLITS
from suite.data.text import ROOM, text_of
from suite.errors import DataError, PluginError
from suite.registry import Entry
from suite.spec import Spec, digest
from suite.types import Rejected, Sample


class Reads(Protocol):
    """What is asked of a kind about samples; see `suite.kinds.base.Kind`."""

    open_classes: bool
    fixed_length: bool

    def validate_sample(
        self, sample: Sample, classes: Sequence[str] | None
    ) -> tuple[npt.NDArray[Any], Any, tuple[str, ...]]:
        """Return input, target and remarks; a DataError says why the sample cannot be used."""

    def class_names(self, targets: Sequence[Any]) -> tuple[str, ...]:
        """Return the classes that targets speak of."""

    def stack(self, targets: Sequence[Any], classes: Sequence[str]) -> npt.NDArray[Any]:
        """Return targets as one array."""

    def words(self, inputs: npt.NDArray[Any]) -> tuple[str, ...]:
        """Return the vocabulary of training inputs, the most frequent first."""


PART = "part of a sample"
"""The reason under which it stands what of a sample was dropped that is kept."""

PROTECTED_FIRST = ("test", "validation", "train")
"""Of two equal samples the one in the more protected split stays: a test sample must never be trained on."""


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
    """What was kept and what was dropped, by reason, with the id and detail of every dropped record."""

    kept: dict[str, int]
    dropped: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return one line for a person."""
        kept = ", ".join(f"{count:,} {split}" for split, count in self.kept.items())
        return f"{kept}; {self.dropped_sentence()}"

    def dropped_sentence(self) -> str:
        """Return what was dropped, on one line."""
        lines = []
        for reason, records in sorted(self.dropped.items()):
            shown = "; ".join(f"{name}: {detail}" for name, detail in records[:3])
            more = f"; and {len(records) - 3} more" if len(records) > 3 else ""
            what = "kept without a part" if reason == PART else f"dropped, {reason}"
            lines.append(f"{len(records)} {what} ({shown}{more})")
        return "; ".join(lines) if lines else "nothing dropped"


@dataclass(frozen=True)
class Split:
    """Samples of one split.

    Attributes:
        ids: stable and unique, (n,).
        inputs: images (n, ...) in uint8 or float32, or texts (n, characters) as int32 code points.
        targets: of the kind, (n, ...).
        shares: the share of human raters who chose each class, (n, classes), NaN where nobody was asked; None where
            that is so for all samples of the task.
    """

    ids: tuple[str, ...]
    inputs: npt.NDArray[Any]
    targets: npt.NDArray[Any]
    shares: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Sequence[int] | npt.NDArray[Any]) -> Split:
        """Return the samples at some positions."""
        places = np.asarray(positions, dtype=int)
        shares = None if self.shares is None else self.shares[places]
        return Split(tuple(self.ids[p] for p in places), self.inputs[places], self.targets[places], shares)

    def few(self, count: int) -> Split:
        """Return at most so many samples: always the same ones, and a larger count contains a smaller one."""
        return self if len(self) <= count else self.take(sorted(in_digest_order(self.ids)[:count]))

    def pixels(self) -> npt.NDArray[Any]:
        """Return images as float32 in [0, 1], and texts as the code points they are."""
        if self.inputs.dtype == np.int32:
            return self.inputs
        scaled = self.inputs / np.float32(255) if self.inputs.dtype == np.uint8 else self.inputs
        return np.asarray(scaled, dtype=np.float32)


@dataclass(frozen=True)
class TaskData:
    """A task's samples in three splits, what was dropped on the way, and the digest of all of it."""

    info: TaskInfo
    train: Split
    validation: Split
    test: Split
    report: DataReport
    digest: str


def load(entry: Entry, spec: Spec, *, seed: int, kind: Reads) -> TaskData:
    """Read a task's three splits.

    Args:
        entry: the task.
        spec: its arguments.
        seed: seed of the split, for tasks that split by seed.
        kind: checks samples, and says what their targets are.

    Raises:
        DataError: no usable test sample, ids that repeat, or inputs of different shapes.
        PluginError: the task yields something else than samples.
    """
    reader = _Reader(entry, kind, _declared(entry, spec))
    records = {split: reader.read(split, entry.build(spec, split=split, seed=seed)) for split in PROTECTED_FIRST}
    named = ("train",) if kind.open_classes and records["train"] else PROTECTED_FIRST
    classes = reader.classes or kind.class_names([r[2] for name in named for r in records[name]])
    if not records["test"]:
        raise DataError(
            f"Task {spec} has no usable test sample: {DataReport({}, reader.dropped).dropped_sentence()}. "
            "Check the path and the files; where samples are shared out among splits, each class needs some for each."
        )
    records = _padded(records, fixed=kind.fixed_length)
    inputs = [r[1] for kept in records.values() for r in kept]
    shape = _one_shape(spec, [array.shape for array in inputs])
    if len(kinds := sorted({str(array.dtype) for array in inputs})) > 1:
        raise DataError(f"Task {spec} mixes inputs of type {' and '.join(kinds)}; yield one type, uint8 or float.")
    targets = kind.stack([r[2] for name in SPLITS for r in records[name]], classes)
    splits = _stacked(records, shape, targets)
    if reader.shares:
        splits = {
            name: replace(split, shares=_shares(split.ids, reader.shares, classes)) for name, split in splits.items()
        }
    words, about = kind.words(splits["train"].inputs), entry.meta
    info = TaskInfo(entry.name, about["kind"], about["version"], classes, shape, about["source"], words)
    report = DataReport({name: len(splits[name]) for name in SPLITS}, reader.dropped)
    return TaskData(info, splits["train"], splits["validation"], splits["test"], report, _digest(info, splits))


ValidatedSample = tuple[str, npt.NDArray[Any], Any]


class _Reader:
    """Reads split after split, remembering ids and contents so that nothing is seen twice."""

    def __init__(self, entry: Entry, kind: Reads, classes: tuple[str, ...] | None) -> None:
        self.entry, self.kind, self.classes = entry, kind, classes
        self.dropped: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.contents: dict[bytes, tuple[str, Any]] = {}
        self.ids: dict[str, str] = {}
        self.shares: dict[str, tuple[float, ...]] = {}

    def read(self, split: str, samples: Iterable[Any]) -> list[ValidatedSample]:
        """Return the usable samples of one split."""
        if not isinstance(samples, Iterable):
            raise PluginError(f"Task {self.entry.name} returned {type(samples).__name__}; it must yield Sample values.")
        return [kept for sample in samples if (kept := self._one(split, sample)) is not None]

    def _one(self, split: str, sample: Any) -> ValidatedSample | None:
        if isinstance(sample, Rejected):
            self.dropped["unreadable"].append((sample.id, sample.reason))
            return None
        if not isinstance(sample, Sample):
            raise PluginError(f"Task {self.entry.name} yielded {type(sample).__name__}; expected suite.Sample.")
        if sample.id in self.ids:
            raise DataError(
                f"Task {self.entry.name}: the id {sample.id!r} is used in {self.ids[sample.id]} and again in {split}; "
                "ids must be unique over all splits, results are joined on them."
            )
        self.ids[sample.id] = split
        try:
            value, target, remarks = self.kind.validate_sample(sample, self.classes)
        except DataError as error:
            self.dropped["unusable"].append((sample.id, str(error)))
            return None
        content = _content(value, fixed=self.kind.fixed_length)
        twin, label = self.contents.setdefault(content, (sample.id, target))
        if twin != sample.id:
            conflict = _conflict(label, target)
            equal = f"{split} sample equal to {twin} in {self.ids[twin]}{conflict}"
            self.dropped["duplicate"].append((sample.id, equal))
            return None
        if sample.shares is not None:
            self.shares[sample.id] = sample.shares
        if remarks:
            self.dropped[PART] += [(sample.id, remark) for remark in remarks]
        return sample.id, value, target


def _content(value: npt.NDArray[Any], *, fixed: bool) -> bytes:
    """Return the digest of an input; texts whose length is free are equal whatever their case and their spaces."""
    if value.ndim == 1 and value.dtype == np.int32 and not fixed:
        return hashlib.sha256(" ".join(text_of(value).casefold().split()).encode()).digest()
    return hashlib.sha256(f"{value.shape}{value.dtype}".encode() + value.tobytes()).digest()


def _declared(entry: Entry, spec: Spec) -> tuple[str, ...] | None:
    """Return the classes that a task declares, or that it was given where it takes an argument of that name."""
    given = spec.kwargs.get("classes") or entry.meta["classes"]
    if isinstance(given, str):
        return (given,)
    return tuple(given) if given else None


def _conflict(label: Any, target: Any) -> str:
    if isinstance(label, str | int) and isinstance(target, str | int):
        return "" if label == target else f", which is labelled {label}, not {target}"
    same = np.array_equal(label, target) if isinstance(label, np.ndarray) else repr(label) == repr(target)
    return "" if same else ", which has other targets"


def _one_shape(spec: Spec, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    found = sorted(set(shapes), key=shapes.count, reverse=True)
    if len(found) > 1:
        listed = ", ".join(f"{shape} ({shapes.count(shape)}x)" for shape in found[:4])
        raise DataError(f"Task {spec} has inputs of {len(found)} shapes: {listed}. Bring them to one, e.g. size=224.")
    return found[0]


def _padded(records: dict[str, list[ValidatedSample]], *, fixed: bool) -> dict[str, list[ValidatedSample]]:
    """Return texts at one length, that of the longest and, where it is not fixed, some room for edits; images stay."""
    texts = [r[1] for kept in records.values() for r in kept if r[1].ndim == 1 and r[1].dtype == np.int32]
    if not texts:
        return records
    width = max(len(text) for text in texts) + (0 if fixed else ROOM)

    def padded(text: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.pad(text, (0, width - len(text))) if text.ndim == 1 else text

    return {name: [(r[0], padded(r[1]), r[2]) for r in kept] for name, kept in records.items()}


def _shares(
    ids: Sequence[str], shares: Mapping[str, tuple[float, ...]], classes: Sequence[str]
) -> npt.NDArray[np.float64]:
    nobody = (math.nan,) * len(classes)
    found = np.array([shares.get(name, nobody) for name in ids], np.float64).reshape(len(ids), -1)
    asked = ~np.isnan(found).any(axis=1)
    fit = found.shape[1] == len(classes) or not len(ids)
    if not fit or (found[asked] < 0).any() or not np.allclose(found[asked].sum(axis=1), 1, atol=1e-6):
        raise DataError(
            f"The raters' shares of some samples are no distribution over the {len(classes)} classes; expected one "
            "share per class, adding up to 1."
        )
    return found


def _stacked(
    records: dict[str, list[ValidatedSample]], shape: tuple[int, ...], targets: npt.NDArray[Any]
) -> dict[str, Split]:
    """Return the splits; targets are those of all splits in the order of `SPLITS`, so that they share one form."""
    splits, start = {}, 0
    for name in SPLITS:
        kept = records[name]
        inputs = np.stack([r[1] for r in kept]) if kept else np.zeros((0, *shape), np.float32)
        splits[name] = Split(tuple(r[0] for r in kept), inputs, targets[start : start + len(kept)])
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
