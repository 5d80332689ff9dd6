"""Lists of images, one path a line, that data.yaml gives as the parts of a data set in YOLO format."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from suite.data.formats.label_files import text_lines
from suite.data.named_files import NamedFiles
from suite.types import Rejected, Remark


@dataclass(frozen=True)
class ListedParts:
    """The parts of a data set whose images are in one folder.

    Attributes:
        images: the images of each part.
        missing: lines of each part's list that name no image.
        unlisted: the images that are in no list.
    """

    images: Mapping[str, NamedFiles]
    missing: Mapping[str, list[str]]
    unlisted: tuple[str, ...]

    def rejected(self, part: str) -> Iterator[Rejected]:
        """Yield the lines of a part's list that name no image."""
        for line in self.missing[part]:
            yield Rejected(f"{part}/{line}", "the list of this part names it, and there is no such image")

    def remarks(self) -> Iterator[Remark]:
        """Yield a remark if there are images that are in no list."""
        if self.unlisted:
            count = len(self.unlisted) + len({file for images in self.images.values() for file in images.values()})
            text = f"{len(self.unlisted):,} of {count:,} images are in none of the lists of data.yaml"
            yield Remark(f"{text}, such as {self.unlisted[0]}")


def listed_parts(root: Path, lists: Mapping[str, Path], images: NamedFiles) -> ListedParts:
    """Return the images of each list; paths in it may begin with folders that are not there any more.

    Args:
        root: the data set's folder.
        lists: the list of each part.
        images: all images.

    Raises:
        DataError: a list cannot be read.
    """
    names = {file: name for name, file in images.items()}
    parts = {part: NamedFiles(images.folder) for part in lists}
    first = next(iter(parts.values()))  # says what else is in the folder, but for label files, which may be in it
    first.unused |= {file: reason for file, reason in images.unused.items() if file.suffix.lower() != ".txt"}
    missing: dict[str, list[str]] = {part: [] for part in lists}
    for part, file in lists.items():
        for line in dict.fromkeys(filter(None, text_lines(file))):
            if (name := next((names[path] for path in tails(root, line) if path in names), None)) is None:
                missing[part].append(line)
            else:
                parts[part][name] = images[name]
    listed = {name for found in parts.values() for name in found}
    return ListedParts(parts, missing, tuple(name for name in images if name not in listed))


def tails(root: Path, value: str) -> list[Path]:
    """Return the places below a folder that a path may mean, the longest first; ``..`` is left out."""
    parts = [part for part in PurePosixPath(value.replace("\\", "/")).parts if part not in ("..", ".", "/")]
    return [root.joinpath(*parts[start:]) for start in range(len(parts))]
