"""From the samples that a task yields to validated ones without repeated contents."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from suite.data.collecting import Form, Inputs
from suite.data.deferred import readable_again, resolved_ahead
from suite.data.report import PART
from suite.data.sources import content_digest
from suite.data.text import text_of
from suite.errors import DataError, PluginError
from suite.escaping import escaped, escaped_name
from suite.types import ClassNames, Deferred, Input, Rejected, Remark, Sample

Validated = tuple[npt.NDArray[Any], Any, tuple[str, ...], frozenset[str | int] | None]
"""Input, target, sentences about dropped parts, and labels; see `suite.kinds.base.ValidatedSample`."""


class SampleReader(Protocol):
    """How a kind reads samples; see `suite.kinds.base.Samples`."""

    def validate_sample(self, sample: Sample, classes: Sequence[str] | None) -> Validated:
        """Return input, target, remarks and labels; raise a DataError that says why the sample cannot be used."""

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


@dataclass
class Part:
    """Validated samples of one split.

    Attributes:
        samples: as the task yielded them if they are listed, else without their inputs and targets.
        targets: validated ones; None for deferred ones that were not read.
        positions: which of the samples that were offered these are.
        inputs: their inputs; None for texts, and for samples that were only listed.
        texts: inputs of texts, which are padded before they are stacked.
        is_listed: whether no input was read.
        labels: labels, names or indices, in its targets; None if they are not known or targets have none.
    """

    samples: list[Sample] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    inputs: Inputs | None = None
    texts: list[npt.NDArray[Any]] = field(default_factory=list)
    is_listed: bool = False
    labels: set[str | int] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def has_deferred_targets(self) -> bool:
        """Whether targets were not read."""
        return self.is_listed and any(isinstance(sample.target, Deferred) for sample in self.samples)

    def add(self, position: int, sample: Sample, target: Any, labels: Iterable[str | int] | None = None) -> None:
        """Add a sample; arrays and texts that it holds are not kept, since inputs and targets are."""
        if (found := (target,) if is_label(target) else labels) is not None:
            self.labels = set() if self.labels is None else self.labels
            self.labels.update(found)
        self.samples.append(sample if self.is_listed else replace(sample, input=None, target=None))
        self.targets.append(target)
        self.positions.append(position)


class Reader:
    """Reads one split after another and remembers ids and contents, so that repeated ones are noticed.

    Attributes:
        classes: declared ones; without any, those that the task yields as `ClassNames`, or None if it does not.
        seen: number of records that were offered: samples and rejected ones.
        dropped: id and detail of every dropped record, by reason.
    """

    def __init__(self, task: str, kind: SampleKind, classes: tuple[str, ...] | None) -> None:
        self.task, self.kind, self.classes = task, kind, classes
        self.seen = 0
        self.dropped: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.remarks: list[str] = []
        self._are_declared = classes is not None
        self._contents: dict[bytes, tuple[str, str | int | bytes]] = {}
        self._splits: dict[str, str] = {}

    def checked(self, split: str, samples: Iterable[Any]) -> Iterator[Sample]:
        """Yield the samples of a split, and note rejected ones, remarks and class names.

        Ids and groups are escaped: they may be names of files, which may hold anything.

        Raises:
            PluginError: the task yields something else.
            DataError: an id is used twice, or the splits have different classes.
        """
        for sample in samples:
            if isinstance(sample, Rejected):
                self._reject("unreadable", sample)
            elif isinstance(sample, Remark):
                self._remark(escaped(sample.text))
            elif isinstance(sample, ClassNames):
                self._name_classes(split, sample)
            elif isinstance(sample, Sample):
                yield self._identified(split, sample)
            else:
                raise PluginError(f"Task {self.task} yielded {type(sample).__name__}; expected suite.Sample.")

    def _reject(self, reason: str, record: Rejected) -> None:
        self.seen += 1
        self.dropped[reason].append((escaped_name(record.id), escaped_name(record.reason)))

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)

    def _name_classes(self, split: str, given: ClassNames) -> None:
        if self._are_declared:
            return
        names = tuple(map(escaped_name, given.names))
        if self.classes is not None and self.classes != names:
            raise DataError(
                f"Task {self.task}: the {split} part has the classes {_listed(names)} ({given.source}), and another "
                f"part has {_listed(self.classes)}. Give both the same, or give classes=[...] in the order of the "
                "models' outputs."
            )
        if self.classes is None:
            self._remark(escaped(f"classes in the order of {given.source}"))
        self.classes = names

    def _identified(self, split: str, sample: Sample) -> Sample:
        self.seen += 1
        name = escaped_name(sample.id)
        if name in self._splits:
            raise DataError(
                f"Task {self.task}: the id {name!r} is used in {self._splits[name]} and again in {split}; ids must be "
                "unique across splits, because results are joined on them."
            )
        self._splits[name] = split
        return replace(sample, id=name, group=None if sample.group is None else escaped_name(sample.group))

    def listed(self, samples: Sequence[Sample], form: Form) -> Part | None:
        """Return samples whose targets are validated as if their images were black; no image is read.

        All images of a task have one form, and targets do not depend on their pixels. There are two exceptions, for
        which None is returned: the image is its own target, or class names have to be found in deferred targets.
        """
        if self.classes is None and any(isinstance(sample.target, Deferred) for sample in samples):
            return None
        part, black = Part(is_listed=True), np.zeros(*form)
        for position, sample in enumerate(samples):
            if isinstance(sample.target, Deferred):
                part.add(position, sample, None)
                continue
            validated = self._validated(replace(sample, input=black))
            if validated is not None:
                value, target, remarks, labels = validated
                if isinstance(target, np.ndarray) and np.may_share_memory(target, value):
                    return None
                self._note(sample, remarks)
                part.add(position, sample, target, labels)
        return part

    def read(self, split: str, samples: Iterable[Sample], *, listed: bool = False) -> Part:
        """Read and validate samples, and drop those with contents that are known; deferred ones are read ahead.

        Args:
            split: their split.
            samples: checked ones.
            listed: whether their targets were validated before, so that remarks on them are known.
        """
        part = Part(inputs=None if self.kind.input.type == "text" else Inputs())
        for position, (sample, complete) in enumerate(resolved_ahead(samples)):
            if isinstance(complete, Rejected):
                self.dropped["unreadable"].append((complete.id, escaped_name(complete.reason)))
                continue
            validated = self._validated(complete)
            if validated is None:
                continue
            value, target, remarks, labels = validated
            content = content_of(value, self.kind.input)
            if self._is_repeated(split, sample.id, content, target):
                continue
            if not listed or isinstance(sample.target, Deferred):
                self._note(sample, remarks)
            if part.inputs is None:
                part.texts.append(value)
            else:
                part.inputs.add(value, content, readable_again(sample, complete, value))
            part.add(position, sample, target, labels)
        return part

    def _validated(self, sample: Sample) -> Validated | None:
        try:
            return self.kind.samples.validate_sample(sample, self.classes)
        except DataError as error:
            self.dropped["unusable"].append((sample.id, escaped_name(str(error))))
            return None

    def _note(self, sample: Sample, remarks: Sequence[str]) -> None:
        for remark in remarks:
            self.dropped[PART].append((sample.id, remark))

    def _is_repeated(self, split: str, name: str, content: bytes, target: Any) -> bool:
        original, label = self._contents.setdefault(content, (name, _label(target)))
        if original == name:
            return False
        detail = f"{split} sample equal to {original} in {self._splits[original]}{_conflict(label, _label(target))}"
        self.dropped["duplicate"].append((name, detail))
        return True


def content_of(value: npt.NDArray[Any], kind: Input) -> bytes:
    """Return the digest of an input; for texts of free length, case and white space do not count."""
    if kind.type == "text" and not kind.fixed_length:
        return hashlib.sha256(" ".join(text_of(value).casefold().split()).encode()).digest()
    return content_digest(value)


def is_label(target: Any) -> bool:
    """Return whether a validated target is a label: a class name or an index."""
    return isinstance(target, str | int)


def _label(target: Any) -> str | int | bytes:
    """Return a target that is a label, or else the digest of the target: targets may be large."""
    if is_label(target):
        return target  # type: ignore[no-any-return]  # as `is_label` says
    return content_digest(target) if isinstance(target, np.ndarray) else hashlib.sha256(repr(target).encode()).digest()


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"


def _conflict(first: str | int | bytes, second: str | int | bytes) -> str:
    if first == second:
        return ""
    is_label = not isinstance(first, bytes) and not isinstance(second, bytes)
    return f", which is labeled {first!s}, not {second!s}" if is_label else ", which has other targets"
