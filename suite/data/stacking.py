"""From validated samples to the arrays of a split, at once or when the split is used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.collecting import Form
from suite.data.file_digests import deferred_digests
from suite.data.reading import Part, Reader
from suite.data.sources import InMemory, Source
from suite.data.split import Split, fingerprint
from suite.data.text import ROOM
from suite.errors import DataError
from suite.types import Deferred, Input


@dataclass(frozen=True)
class Labels:
    """What is known of the samples of a split beside their inputs.

    Attributes:
        targets: stacked; None if they are deferred.
        shares, groups: as in `Split`.
    """

    targets: npt.NDArray[Any] | None
    shares: npt.NDArray[np.float64] | None
    groups: tuple[str | None, ...] | None


@dataclass
class Unread:
    """A split whose samples were listed and are read when it is used.

    Attributes:
        task: spec of the task, for errors.
        part: the listed samples.
        labels: theirs.
        form: shape and type of all inputs of the task.
        before: a split that has to be read first, since its samples are kept rather than equal ones of this one.
    """

    task: str
    name: str
    reader: Reader
    part: Part
    labels: Labels
    form: Form
    classes: tuple[str, ...]
    before: Unread | None = None
    _split: Split | None = None

    def __call__(self) -> Split:
        """Return the split; read it first if it was not read.

        Raises:
            DataError: images of another shape or type than those of the test split.
        """
        if self._split is None:
            if self.before is not None:
                self.before()
            self._split = self._read()
        return self._split

    def fingerprint(self) -> str:
        """Return the SHA-256 of ids, targets and files, as `Split.fingerprint`."""
        samples = self.part.samples
        values = [sample.input for sample in samples]
        values += [sample.target for sample in samples if isinstance(sample.target, Deferred)]
        contents = deferred_digests(values, [b""] * len(values))
        return fingerprint([sample.id for sample in samples], [repr(self.form).encode(), *contents], self.labels)

    def _read(self) -> Split:
        read = self.reader.read(self.name, self.part.samples, listed=True)
        forms = Counter([self.form]) + (read.inputs.forms if read.inputs else Counter())
        common_form(self.task, forms)
        rows = np.array(read.positions, np.int64)
        whole = self.labels
        targets = (
            self.reader.kind.samples.stack(read.targets, self.classes) if whole.targets is None else whole.targets[rows]
        )
        labels = Labels(
            targets,
            None if whole.shares is None else whole.shares[rows],
            None if whole.groups is None else tuple(whole.groups[row] for row in rows),
        )
        self.part.samples = []
        return split_of(read, labels, self.form)


def split_of(part: Part, labels: Labels, form: Form) -> Split:
    """Return samples that were read as a split; `form` is the shape and type of the task's inputs."""
    source: Source
    if part.inputs is None:
        source = InMemory(_padded(part.texts, form))
    else:
        source = part.inputs.source(form)
    ids = tuple(sample.id for sample in part.samples)
    targets = labels.targets if labels.targets is not None else np.zeros((0,))
    return Split(ids, source, targets, labels.shares, labels.groups)


def form_of(task: str, kind: Input, parts: Sequence[Part]) -> Form:
    """Return the shape and type of all inputs; that of texts has room for insertions, unless their length is fixed.

    Raises:
        DataError: they have several.
    """
    if kind.type != "text":
        return common_form(task, sum((part.inputs.forms for part in parts if part.inputs), Counter()))
    lengths = [len(text) for part in parts for text in part.texts]
    return (max(lengths, default=0) + (0 if kind.fixed_length else ROOM),), np.dtype(np.int32)


def common_form(task: str, forms: Counter[Form]) -> Form:
    """Return the only shape and type among those of inputs.

    Raises:
        DataError: there are several.
    """
    shapes: Counter[tuple[int, ...]] = Counter()
    for (shape, _), count in forms.items():
        shapes[shape] += count
    if len(shapes) > 1:
        listed = ", ".join(f"{shape} ({count}x)" for shape, count in shapes.most_common(4))
        raise DataError(f"Task {task} has inputs of {len(shapes)} shapes: {listed}. Resize them, e.g. size=224.")
    if len(dtypes := sorted({str(dtype) for _, dtype in forms})) > 1:
        raise DataError(f"Task {task} mixes inputs of type {' and '.join(dtypes)}; yield one type, uint8 or float.")
    return next(iter(forms))


def shares_of(part: Part, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the raters' shares of samples, (n, classes), NaN where there are none.

    Raises:
        DataError: they are not distributions over the classes.
    """
    missing = (math.nan,) * len(classes)
    rows = [missing if sample.shares is None else sample.shares for sample in part.samples]
    if all(len(row) == len(classes) for row in rows):
        shares = np.array(rows, np.float64).reshape(len(rows), len(classes))
        rated = shares[~np.isnan(shares).any(axis=1)]
        if (rated >= 0).all() and np.allclose(rated.sum(axis=1), 1, atol=1e-6):
            return shares
    raise DataError(
        f"The raters' shares of some samples do not form a distribution over the {len(classes)} classes; expected one "
        "share per class, adding up to 1."
    )


def _padded(texts: Sequence[npt.NDArray[Any]], form: Form) -> npt.NDArray[np.int32]:
    rows = np.zeros((len(texts), *form[0]), np.int32)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = text
    return rows
