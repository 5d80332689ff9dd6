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
from suite.types import Deferred, Input, Rejected, Remark, Sample


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
    """

    samples: list[Sample] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    inputs: Inputs | None = None
    texts: list[npt.NDArray[Any]] = field(default_factory=list)
    is_listed: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def has_deferred_targets(self) -> bool:
        """Whether targets were not read."""
        return self.is_listed and any(isinstance(sample.target, Deferred) for sample in self.samples)

    def add(self, position: int, sample: Sample, target: Any) -> None:
        """Add a sample; arrays and texts that it holds are not kept, since inputs and targets are."""
        self.samples.append(sample if self.is_listed else replace(sample, input=None, target=None))
        self.targets.append(target)
        self.positions.append(position)


class Reader:
    """Reads one split after another and remembers ids and contents, so that repeated ones are noticed."""

    def __init__(self, task: str, kind: SampleKind, classes: tuple[str, ...] | None) -> None:
        self.task, self.kind, self.classes = task, kind, classes
        self.dropped: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.remarks: list[str] = []
        self._contents: dict[bytes, tuple[str, str | int | bytes]] = {}
        self._splits: dict[str, str] = {}

    def checked(self, split: str, samples: Iterable[Any]) -> Iterator[Sample]:
        """Yield the samples of a split, and note rejected ones and remarks.

        Raises:
            PluginError: the task yields something else.
            DataError: an id is used twice.
        """
        for sample in samples:
            if isinstance(sample, Rejected):
                self.dropped["unreadable"].append((sample.id, sample.reason))
                continue
            if isinstance(sample, Remark):
                self.remarks.append(sample.text)
                continue
            if not isinstance(sample, Sample):
                raise PluginError(f"Task {self.task} yielded {type(sample).__name__}; expected suite.Sample.")
            if sample.id in self._splits:
                raise DataError(
                    f"Task {self.task}: the id {sample.id!r} is used in {self._splits[sample.id]} and again in "
                    f"{split}; ids must be unique across splits, because results are joined on them."
                )
            self._splits[sample.id] = split
            yield sample

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
                value, target, remarks = validated
                if isinstance(target, np.ndarray) and np.may_share_memory(target, value):
                    return None
                self._note(sample, remarks)
                part.add(position, sample, target)
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
                self.dropped["unreadable"].append((complete.id, complete.reason))
                continue
            validated = self._validated(complete)
            if validated is None:
                continue
            value, target, remarks = validated
            content = content_of(value, self.kind.input)
            if self._is_repeated(split, sample.id, content, target):
                continue
            if not listed or isinstance(sample.target, Deferred):
                self._note(sample, remarks)
            if part.inputs is None:
                part.texts.append(value)
            else:
                part.inputs.add(value, content, readable_again(sample, complete, value))
            part.add(position, sample, target)
        return part

    def _validated(self, sample: Sample) -> tuple[npt.NDArray[Any], Any, tuple[str, ...]] | None:
        try:
            return self.kind.samples.validate_sample(sample, self.classes)
        except DataError as error:
            self.dropped["unusable"].append((sample.id, str(error)))
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


def _label(target: Any) -> str | int | bytes:
    """Return a target that is a label, or else the digest of the target: targets may be large."""
    if isinstance(target, str | int):
        return target
    return content_digest(target) if isinstance(target, np.ndarray) else hashlib.sha256(repr(target).encode()).digest()


def _conflict(first: str | int | bytes, second: str | int | bytes) -> str:
    if first == second:
        return ""
    is_label = not isinstance(first, bytes) and not isinstance(second, bytes)
    return f", which is labeled {first!s}, not {second!s}" if is_label else ", which has other targets"
