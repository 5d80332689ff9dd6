"""Images and the label files of the same name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.data.split_files import EVERYTHING, sample_name
from suite.errors import DataError
from suite.types import Rejected, Sample

Reader = Callable[[str, Path, Path], Iterator[Sample | Rejected]]
"""Takes an id, an image and its label file; yields one sample, and what in the label file cannot be read."""


@dataclass(frozen=True)
class Pairs:
    """Images and label files by name.

    Attributes:
        part: the part of the data set that they are, which comes before the name in ids.
        unlabelled: why an image without a label file cannot be used.
    """

    images: Mapping[str, Path]
    labels: Mapping[str, Path]
    part: str = EVERYTHING
    unlabelled: str = "no label file of this name"

    @property
    def names(self) -> list[str]:
        """Every name of an image or a label file, sorted."""
        return sorted(self.images.keys() | self.labels.keys())

    def read(self, names: Sequence[str], reader: Reader) -> Iterator[Sample | Rejected]:
        """Yield a sample for each name, or a rejection where one of the two is missing or cannot be read."""
        for name in names:
            identity = sample_name(self.part, name)
            if name not in self.images:
                yield Rejected(identity, "no image of this name")
            elif name not in self.labels:
                yield Rejected(identity, self.unlabelled)
            else:
                yield from _read(identity, self.images[name], self.labels[name], reader)


def _read(identity: str, image: Path, label: Path, reader: Reader) -> Iterator[Sample | Rejected]:
    try:
        yield from reader(identity, image, label)
    except DataError as error:
        yield Rejected(identity, str(error))
