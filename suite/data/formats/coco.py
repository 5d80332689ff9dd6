"""Detection data in COCO format: one JSON file per part, boxes as x, y, width, height."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from suite.data.formats.coco_paths import CocoFiles, annotation_files, image_folders
from suite.data.formats.image_files import BoxedObject, Photo, detection_sample
from suite.data.groups import Grouping
from suite.data.split_files import file_contents, portion, sample_name
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample


def read_coco(
    files: CocoFiles, split: str, *, seed: int, size: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its objects; labels are category names, and crowds are ignored objects.

    Args:
        files: the folder and the annotation files; `split_files.portion` says which of them a split takes.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        size: side in pixels of the square to which images are scaled; None to keep their size.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: no annotation file, or one without images, annotations or categories, or no id names a group.
    """
    annotations = annotation_files(files)
    share = portion(annotations, split)
    yield from share.remarks
    if share.part is None:
        return
    content = _read(annotations[share.part])
    if share.reports:
        yield from content.rejected
    folders = image_folders(files, share.part, annotations[share.part])
    grouping, ids = Grouping(group), [sample_name(share.part, record["file_name"]) for record in content.images]
    if share.reports:
        yield from grouping.remarks(ids)
    contents, groups = partial(_contents, folders), grouping.of_all(ids)
    chosen = share.take(content.images, split, seed=seed, contents=contents, groups=groups)
    part = share.part
    yield from grouping.applied(
        _sample(sample_name(part, record["file_name"]), record, content.objects[record["id"]], (folders, size))
        for record in chosen
    )


@dataclass
class _Content:
    """Contents of an annotation file: image records, objects by image id, and entries that cannot be used."""

    images: list[Mapping[str, Any]] = field(default_factory=list)
    objects: dict[Any, list[BoxedObject]] = field(default_factory=lambda: defaultdict(list))
    rejected: list[Rejected] = field(default_factory=list)


def _read(file: Path) -> _Content:
    document = _document(file)
    categories = _categories(document["categories"], file)
    content = _Content()
    seen: set[tuple[str, Any]] = set()
    for index, record in enumerate(document["images"]):
        if reason := _image_error(record, seen):
            content.rejected.append(Rejected(f"{file.name}: images[{index}]", reason))
        else:
            seen |= _keys(record)
            content.images.append(record)
    known = {record["id"] for record in content.images}
    for index, record in enumerate(document["annotations"]):
        try:
            image, item = _object(record, known, categories)
            content.objects[image].append(item)
        except DataError as error:
            content.rejected.append(Rejected(f"{file.name}: annotations[{index}]", str(error)))
    return content


def _document(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{str(file)!r} is not JSON: line {error.lineno}: {error.msg}.") from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{str(file)!r} cannot be read: {error}.") from error
    needed = ("images", "annotations", "categories")
    missing = [name for name in needed if not isinstance(document, dict) or not isinstance(document.get(name), list)]
    if missing:
        raise DataError(
            f"{str(file)!r} has no list {' nor '.join(repr(name) for name in missing)}; expected an object with "
            'images, annotations and categories, such as {"id": 1, "name": "person"}.'
        )
    return dict(document)


def _categories(records: list[Any], file: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for record in records:
        if not isinstance(record, dict) or not _is_id(record.get("id")) or not isinstance(record.get("name"), str):
            raise DataError(f'{str(file)!r} has a category {record!r}; expected {{"id": 1, "name": "person"}}.')
        if names.setdefault(record["id"], record["name"]) != record["name"]:
            raise DataError(f"{str(file)!r} gives category {record['id']} two names; give each its own id.")
    return names


def _keys(record: Mapping[str, Any]) -> set[tuple[str, Any]]:
    return {(key, record[key]) for key in ("id", "file_name")}


def _image_error(record: Any, seen: set[tuple[str, Any]]) -> str | None:
    if not isinstance(record, dict) or not _is_id(record.get("id")) or not isinstance(record.get("file_name"), str):
        return f"got {str(record)[:80]}; expected an image with an id and a file_name"
    repeated = sorted(f"{key} {value!r}" for key, value in seen & _keys(record))
    return (
        f"{' and '.join(repeated)} already used by an earlier image; ids and file names must be unique"
        if repeated
        else None
    )


def _object(record: Any, known: set[Any], categories: Mapping[Any, str]) -> tuple[Any, BoxedObject]:
    if not isinstance(record, dict):
        raise DataError(f"got {str(record)[:80]}; expected an object with image_id, category_id and bbox")
    image, category, box = record.get("image_id"), record.get("category_id"), record.get("bbox")
    if not _is_id(image) or image not in known:
        raise DataError(f"there is no image {image!r}")
    if not _is_id(category) or category not in categories:
        raise DataError(f"there is no category {category!r} (image {image!r})")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise DataError(f"bbox {box!r} of image {image!r}; expected [x, y, width, height]")
    left, top, width, height = (float(value) for value in box)
    edges = (left, top, left + width, top + height)
    return image, BoxedObject(edges, categories[category], bool(record.get("iscrowd", 0)))


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53)


def _sample(
    name: str, record: Mapping[str, Any], objects: list[BoxedObject], options: tuple[list[Path], int | None]
) -> Sample | Rejected:
    folders, size = options
    file = _file(folders, record)
    if file is None:
        return Rejected(name, f"no such image in {', '.join(repr(str(folder)) for folder in folders)}")
    try:
        return detection_sample(name, Photo(file, size, _labeled_size(record)), objects)
    except DataError as error:
        return Rejected(name, str(error))


def _file(folders: Sequence[Path], record: Mapping[str, Any]) -> Path | None:
    return next((path for folder in folders if (path := folder / record["file_name"]).is_file()), None)


def _contents(folders: Sequence[Path], records: Sequence[Mapping[str, Any]]) -> list[bytes]:
    return file_contents([_file(folders, record) for record in records], [record["file_name"] for record in records])


def _labeled_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = record.get("width"), record.get("height")
    is_known = _is_number(width) and _is_number(height) and width and height
    return (int(width or 0), int(height or 0)) if is_known else None
