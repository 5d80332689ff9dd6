"""Images and label files with the same names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from suite.data.formats.image_files import Mask, mask_sample
from suite.data.groups import Grouping
from suite.data.split_files import EVERYTHING, Portion, file_contents, sample_name
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

Reader = Callable[[str, Path, Path], Iterator[Sample | Rejected]]
"""Takes an id, an image and its label file; yields one sample, and a rejection for each unreadable label."""


@dataclass(frozen=True)
class Pairs:
    """Images and label files by name.

    Attributes:
        part: the part of the data set that they belong to; it comes before the name in ids.
        unlabeled: why an image without a label file cannot be used.
        grouping: how ids name groups.
    """

    images: Mapping[str, Path]
    labels: Mapping[str, Path]
    part: str = EVERYTHING
    unlabeled: str = "no label file of this name"
    grouping: Grouping = field(default_factory=Grouping)

    @property
    def names(self) -> list[str]:
        """Every name of an image or a label file, sorted."""
        return sorted(self.images.keys() | self.labels.keys())

    def contents(self, names: Sequence[str]) -> list[bytes]:
        """Return the digest of each image's file, or the name if there is no image."""
        return file_contents([self.images.get(name) for name in names], names)

    def of_split(
        self, share: Portion, split: str, reader: Reader, *, seed: int, names: Sequence[str] | None = None
    ) -> Iterator[Sample | Rejected | Remark]:
        """Yield the samples of a split.

        Args:
            share: what the split takes.
            split: train, validation or test.
            reader: reads them.
            seed: seed of the split, if the data do not come with one.
            names: names of all samples of the part; None for all images and label files.

        Raises:
            DataError: no id names a group.
        """
        names = self.names if names is None else names
        ids = [sample_name(self.part, name) for name in names]
        if share.reports:
            yield from self.grouping.remarks(ids)
        chosen = share.take(names, split, seed=seed, contents=self.contents, groups=self.grouping.of_all(ids))
        yield from self.grouping.applied(self.read(chosen, reader))

    def read(self, names: Sequence[str], reader: Reader) -> Iterator[Sample | Rejected]:
        """Yield a sample for each name, or a rejection if one of the two files is missing or cannot be read."""
        for name in names:
            identity = sample_name(self.part, name)
            if name not in self.images:
                yield Rejected(identity, "no image of this name")
            elif name not in self.labels:
                yield Rejected(identity, self.unlabeled)
            else:
                try:
                    yield from reader(identity, self.images[name], self.labels[name])
                except DataError as error:
                    yield Rejected(identity, str(error))


def mask_reader(size: int | None, to_classes: Callable[[Mask], Mask] | None = None) -> Reader:
    """Return a reader of masks.

    Args:
        size: side in pixels of the square to which images and masks are scaled; None to keep their size.
        to_classes: takes the values of a mask file (h, w) and returns class indices; None if they are class indices.
    """

    def read(name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
        yield mask_sample(name, image, file, to_classes=to_classes, size=size)

    return read
