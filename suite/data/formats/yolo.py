"""Detection data in YOLO's format: one text file per image, a line per object, lengths as shares of the image's."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from suite.data.formats.image_files import Thing, detection_sample, read_picture
from suite.data.formats.image_pairs import Pairs
from suite.data.formats.yolo_names import class_names
from suite.data.split_files import EVERYTHING, files_by_stem, folder, lines, part_folders, portion
from suite.errors import DataError
from suite.types import Rejected, Sample

UNLABELLED = "no label file of this name; an empty one says that nothing is there"


def read_yolo(
    path: str, split: str, *, seed: int, classes: Sequence[str] | None = None, size: int | None = None
) -> Iterator[Sample | Rejected]:
    """Yield the images of one split, each with its objects; labels are class names.

    A line is ``class x y width height`` with the middle of the box. An empty file says that there is nothing to find;
    an image without a file is rejected, for nobody said so.

    Args:
        path: the folder with ``images/`` and ``labels/``, or ``images/train/`` and ``labels/train/``, or
            ``train/images/`` and ``train/labels/``; `split_files.portion` says which part a
            split takes.
        split: train, validation or test.
        seed: seed of the split, where the data have none of their own.
        classes: class names in the order of their numbers; None to read them from names.txt, classes.txt or data.yaml.
        size: side in pixels of the square to which images are scaled; None to take them as they are.

    Raises:
        DataError: there is no such layout, or there are no class names.
    """
    root = folder(path)
    names = tuple(classes) if classes else class_names(root)
    places = part_folders(root, "images")
    share = portion(places, split)
    if share.part is None:
        return
    labels = files_by_stem(_labels(root, places[share.part], share.part), {".txt"})
    pairs = Pairs(files_by_stem(places[share.part]), labels, share.part, UNLABELLED)
    yield from pairs.read(share.take(pairs.names, split, seed=seed), partial(_objects, names, size))


def _labels(root: Path, images: Path, part: str) -> Path:
    """Return the folder of labels that lies as the folder of images does."""
    if part == EVERYTHING or images.name == "images":
        return images.parent / "labels"
    return root / "labels" / images.name


def _objects(names: Sequence[str], size: int | None, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
    picture = read_picture(image, size=size)
    things = []
    for number, line in enumerate(lines(file), start=1):
        try:
            things += [_thing(line, names, (picture.width, picture.height))] if line else []
        except DataError as error:
            yield Rejected(f"{name}: {file.name}:{number}", str(error))
    yield detection_sample(name, picture, things)


def _thing(line: str, names: Sequence[str], size: tuple[int, int]) -> Thing:
    words = line.split()
    if len(words) != 5:
        raise DataError(f"{len(words)} columns; expected class, x, y, width, height")
    if not words[0].isdecimal() or int(words[0]) >= len(names):
        raise DataError(f"class {words[0]!r}; expected a number from 0 to {len(names) - 1}")
    try:
        x, y, width, height = (float(word) for word in words[1:])
    except ValueError:
        raise DataError(f"{' '.join(words[1:])!r}; expected four numbers") from None
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    left, top, right, lower = (corner * size[place % 2] for place, corner in enumerate(corners))
    return Thing((left, top, right, lower), names[int(words[0])])
