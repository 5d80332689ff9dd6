"""Images and label files with the same names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from suite.data.formats.label_files import listed_names
from suite.data.groups import Grouping
from suite.data.named_files import NamedFiles
from suite.data.split_files import EVERYTHING, Portion, file_contents, sample_name
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

Reader = Callable[[str, Path, Path], Iterator[Sample | Rejected]]
"""Takes an id, an image and its label file; yields one sample, and a rejection for each unreadable label."""


@dataclass(frozen=True)
class Pairs:
    """Images and label files by name.

    Attributes:
        images, labels: by name; of `NamedFiles`, what else is in their folders is yielded as rejected.
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

    def listed(self, lists: Mapping[str, Path], part: str) -> tuple[list[str], list[Remark]]:
        """Return the names in the list of a part, and remarks on repeated names and on images that no list has.

        Raises:
            DataError: a list cannot be read.
        """
        known = {*self.names}
        found = {name: listed_names(file, known) for name, file in lists.items()}
        names, remarks = found[part]
        left = sorted(self.images.keys() - {name for listed, _ in found.values() for name in listed})
        if left:
            count = f"{len(left):,} of {len(self.images):,} images"
            remarks = [*remarks, Remark(f"{count} are in none of the lists that are used, such as {left[0]}")]
        return names, remarks

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
            yield from self._unused()
            yield from self.grouping.remarks(ids)
        chosen = share.take(names, split, seed=seed, contents=self.contents, groups=self.grouping.of_all(ids))
        yield from self.grouping.applied(self.read(chosen, reader))

    def _unused(self) -> Iterator[Rejected]:
        """Yield what is in the folders of images and label files and is neither."""
        used = {*self.images.values(), *self.labels.values()}
        for files in (self.images, self.labels):
            if isinstance(files, NamedFiles) and files.folder is not None:
                root = files.folder.parent if self.part == EVERYTHING else files.folder.parent.parent
                for file, reason in files.unused.items():
                    if file not in used:  # images and label files may share a folder
                        yield Rejected(str(file.relative_to(root)), reason)

    def read(self, names: Sequence[str], reader: Reader) -> Iterator[Sample | Rejected]:
        """Yield a sample for each name, or a rejection if one of the two files is missing or cannot be read."""
        for name in names:
            identity = sample_name(self.part, name)
            if name not in self.images:
                yield Rejected(identity, "no usable image of this name")
            elif name not in self.labels:
                yield Rejected(identity, self.unlabeled)
            else:
                try:
                    yield from reader(identity, self.images[name], self.labels[name])
                except DataError as error:
                    yield Rejected(identity, str(error))
