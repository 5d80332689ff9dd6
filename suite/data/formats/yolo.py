"""Detection data in YOLO format: one text file per image, one line per object, lengths relative to the image's."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from suite.data.formats.image_files import BoxedObject, Photo, detection_sample
from suite.data.formats.image_pairs import Pairs
from suite.data.formats.yolo_names import class_names
from suite.data.groups import Grouping
from suite.data.split_files import EVERYTHING, existing_folder, files_by_stem, lines, part_folders, portion
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

UNLABELED = "no label file of this name; an empty file means that the image has no objects"


def read_yolo(
    path: str,
    split: str,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
    size: int | None = None,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its objects; labels are class names.

    A line is ``class x y width height`` with the center of the box. An empty file means that the image has no objects;
    an image without a label file is rejected, because it may not have been labeled.

    Args:
        path: the folder with ``images/`` and ``labels/``, or ``images/train/`` and ``labels/train/``, or
            ``train/images/`` and ``train/labels/``; `split_files.portion` says which part a split takes.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        classes: class names in the order of their numbers; None to read them from names.txt, classes.txt or data.yaml.
        size: side in pixels of the square to which images are scaled; None to keep their size.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, there are no class names, or no id names a group.
    """
    root = existing_folder(path)
    names = tuple(classes) if classes else class_names(root)
    folders = part_folders(root, "images")
    share = portion(folders, split)
    yield from share.remarks
    if share.part is None:
        return
    labels = files_by_stem(_label_folder(root, folders[share.part], share.part), {".txt"})
    pairs = Pairs(files_by_stem(folders[share.part]), labels, share.part, UNLABELED, Grouping(group))
    yield from pairs.of_split(share, split, partial(_objects, names, size), seed=seed)


def _label_folder(root: Path, images: Path, part: str) -> Path:
    """Return the folder of labels that corresponds to a folder of images."""
    if part == EVERYTHING or images.name == "images":
        return images.parent / "labels"
    return root / "labels" / images.name


def _objects(names: Sequence[str], size: int | None, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
    photo = Photo(image, size)
    dimensions = photo.dimensions()
    objects = []
    for number, line in enumerate(lines(file), start=1):
        try:
            objects += [_object(line, names, dimensions)] if line else []
        except DataError as error:
            yield Rejected(f"{name}: {file.name}:{number}", str(error))
    yield detection_sample(name, photo, objects)


def _object(line: str, names: Sequence[str], size: tuple[int, int]) -> BoxedObject:
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
    left, top, right, bottom = (corner * size[axis % 2] for axis, corner in enumerate(corners))
    return BoxedObject((left, top, right, bottom), names[int(words[0])])
