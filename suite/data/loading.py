"""From a task's samples to splits: validated and deduplicated, with a report of what was dropped.

The test split is read at once. Where inputs of training and validation samples are in files, these splits are listed,
and read when something uses them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from suite.data.deferred import split_deferred
from suite.data.groups import in_two_splits
from suite.data.near_duplicates import near_duplicate_remarks
from suite.data.reading import Part, Reader, SampleKind
from suite.data.report import DataReport, TaskInfo
from suite.data.split import Split
from suite.data.splitting import PROTECTED_FIRST, SPLITS
from suite.data.stacking import Labels, Unread, form_of, shares_of, split_of
from suite.data.text import vocabulary
from suite.errors import DataError, PluginError
from suite.registry import Entry
from suite.spec import Spec, digest


class _WhenUsed:
    """A field that holds a split, or an `Unread` one that is read when the field is used."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.name]
        if isinstance(value, Unread):
            value = instance.__dict__[self.name] = value()
        return value

    def __set__(self, instance: Any, value: Split | Unread) -> None:
        instance.__dict__[self.name] = value


@dataclass(frozen=True)
class TaskData:
    """A task's samples in three splits, the report of what was dropped, and the digest of all samples.

    Attributes:
        train, validation: read when they are used for the first time, if their inputs are in files; `replace` uses
            both of them.
        report: what is known without reading them; it does not change.
        complete: returns the report after reading everything; None if `report` is complete.
    """

    info: TaskInfo
    train: Split
    validation: Split
    test: Split
    report: DataReport
    digest: str
    complete: Callable[[], DataReport] | None = None

    def full_report(self) -> DataReport:
        """Read all splits, and return the report on all of them."""
        return self.report if self.complete is None else self.complete()


for _name in ("train", "validation"):  # not in the body of the class, where they would be defaults of the fields
    setattr(TaskData, _name, _WhenUsed(_name))


def load(entry: Entry, spec: Spec, *, seed: int, kind: SampleKind) -> TaskData:
    """Read a task's test split, and read or list its training and validation samples.

    Args:
        entry: the task.
        spec: its arguments.
        seed: seed of the split, for tasks that split by seed.
        kind: validates samples and stacks their targets.

    Raises:
        DataError: no usable test sample, repeated ids, or inputs of different shapes or types.
        PluginError: the task yields something other than samples.
    """
    reader = Reader(entry.name, kind, _declared_classes(entry, spec))
    parts = _parts(reader, entry, spec, seed)
    form = form_of(str(spec), kind.input, [part for part in parts.values() if not part.is_listed])
    classes = reader.classes or kind.samples.class_names({name: parts[name].targets for name in SPLITS})
    try:
        labels = _labels(parts, classes, kind)
    except DataError as error:  # what was noticed may say why
        text = "; ".join([str(error).removesuffix("."), *reader.remarks])
        raise DataError(text if text.endswith("?") else f"{text}.") from error
    reader.remarks += [sentence for name in SPLITS if (sentence := _absent(name, parts[name].labels, classes))]
    reader.remarks += in_two_splits({name: [sample.group for sample in parts[name].samples] for name in SPLITS})
    splits: dict[str, Split] = {}
    unread: dict[str, Unread] = {}
    for name in PROTECTED_FIRST:
        if parts[name].is_listed:
            before = unread.get("validation")
            unread[name] = Unread(str(spec), name, reader, parts[name], labels[name], form, classes, before)
        else:
            splits[name] = split_of(parts[name], labels[name], form)
    words, meta = vocabulary(splits["train"].inputs) if kind.input.has_words else (), entry.meta
    info = TaskInfo(entry.name, meta["kind"], meta["version"], classes, form[0], meta["source"], words)
    prints = [(splits[name] if name in splits else unread[name]).fingerprint() for name in SPLITS]
    whole: dict[str, Any] = {**splits, **unread}
    complete = cache(lambda: _complete(reader, splits, unread))
    counts, listed = {name: len(parts[name]) for name in SPLITS}, tuple(name for name in SPLITS if name in unread)
    return TaskData(
        info,
        whole["train"],
        whole["validation"],
        whole["test"],
        _report(reader, counts, listed) if listed else complete(),
        digest([info.name, info.version, list(info.classes), list(info.input_shape), prints]),
        complete,
    )


def _parts(reader: Reader, entry: Entry, spec: Spec, seed: int) -> dict[str, Part]:
    """Return the samples of each split: those of the test split read, the others read or listed.

    Either both others are listed or none, since one must be read before the other.
    """
    yielded = {name: _samples(entry, spec, name, seed) for name in PROTECTED_FIRST}
    parts = {"test": reader.read("test", reader.checked("test", yielded["test"]))}
    if not len(parts["test"]):
        dropped = _report(reader, {}).dropped_sentence() if reader.dropped else "the test part is empty"
        raise DataError(
            f"Task {spec} has no usable test sample: {dropped}. "
            "Check the path and the files; if splits are drawn by seed, each class needs samples for all three splits."
        )
    found = {name: split_deferred(yielded[name]) for name in PROTECTED_FIRST[1:]}
    if reader.kind.input.type != "text" and all(is_deferred for _, is_deferred in found.values()):
        form = form_of(str(spec), reader.kind.input, [parts["test"]])
        samples = {name: list(reader.checked(name, items)) for name, (items, _) in found.items()}
        listed = {name: reader.listed(kept, form) for name, kept in samples.items()}
        if (others := _all_listed(listed)) is not None:
            return parts | others
        return parts | {name: reader.read(name, kept) for name, kept in samples.items()}
    return parts | {name: reader.read(name, reader.checked(name, items)) for name, (items, _) in found.items()}


def _all_listed(parts: Mapping[str, Part | None]) -> dict[str, Part] | None:
    listed = {name: part for name, part in parts.items() if part is not None}
    return listed if len(listed) == len(parts) else None


def _samples(entry: Entry, spec: Spec, split: str, seed: int) -> Iterable[Any]:
    samples = entry.build(spec, split=split, seed=seed)
    if not isinstance(samples, Iterable):
        raise PluginError(f"Task {entry.name} returned {type(samples).__name__}; it must yield Sample values.")
    return samples


def _declared_classes(entry: Entry, spec: Spec) -> tuple[str, ...] | None:
    """Return the classes from the spec's ``classes=`` argument, or else those that the task declares."""
    given = spec.kwargs.get("classes") or entry.meta["classes"]
    if not given:
        return None
    names = (str(given),) if isinstance(given, str | int | float) else tuple(map(str, given))
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"Task {entry.name}: classes= has {repeated[0]!r} more than once; give each class once.")
    return names


def _labels(parts: Mapping[str, Part], classes: tuple[str, ...], kind: SampleKind) -> dict[str, Labels]:
    """Return the targets of each split, stacked together so that they share one form, with shares and groups."""
    stackable = [name for name in SPLITS if not parts[name].has_deferred_targets]
    targets = kind.samples.stack([target for name in stackable for target in parts[name].targets], classes)
    samples = [sample for part in parts.values() for sample in part.samples]
    has_shares = any(sample.shares is not None for sample in samples)
    labels, start = {}, 0
    for name in SPLITS:
        part = parts[name]
        stop = start + (len(part) if name in stackable else 0)
        labels[name] = Labels(
            targets[start:stop] if name in stackable else None,
            shares_of(part, classes) if has_shares else None,
            _groups(part),
        )
        start = stop
    return labels


def _absent(split: str, labels: Collection[str | int] | None, classes: Sequence[str]) -> str | None:
    """Return a sentence on the classes of which a split has no label, object or pixel, or None."""
    found = {label if isinstance(label, str) else classes[label] for label in labels or ()}
    absent = [name for name in classes if name not in found]
    if labels is None or not absent:
        return None
    listed = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    return f"no {split} sample of {len(absent):,} of {len(classes):,} classes: {listed}"


def _groups(part: Part) -> tuple[str | None, ...] | None:
    groups = tuple(sample.group for sample in part.samples)
    return None if groups.count(None) == len(groups) else groups


def _report(reader: Reader, kept: dict[str, int], listed: tuple[str, ...] = ()) -> DataReport:
    dropped = {reason: list(records) for reason, records in reader.dropped.items()}
    return DataReport(kept, dropped, listed, tuple(reader.remarks), reader.seen)


def _complete(reader: Reader, splits: Mapping[str, Split], unread: Mapping[str, Unread]) -> DataReport:
    """Return the report on all splits after reading them, with the near-duplicates."""
    whole = {name: splits[name] if name in splits else unread[name]() for name in SPLITS}
    report = _report(reader, {name: len(split) for name, split in whole.items()})
    alike = near_duplicate_remarks(whole, reader.kind.input)
    return replace(report, remarks=(*report.remarks, *alike))
