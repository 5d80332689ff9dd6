"""The records of an annotation file in COCO format: images, categories and objects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from suite.data.formats.image_files import BoxedObject
from suite.data.formats.label_files import around, flag, number, shortened, whole
from suite.errors import DataError

Id = int | str


@dataclass(frozen=True)
class CocoImage:
    """An image record.

    Attributes:
        place: its position in the file, such as ``images[3]``.
        name: the path of the image as the file gives it, or the last part of its URL.
        spellings: paths at which the image may be: with slashes for backslashes, with URL escapes replaced.
        size: width and height that the annotation was made for; None if it does not say.
    """

    place: str
    id: Id
    name: str
    spellings: tuple[str, ...]
    size: tuple[int, int] | None


def identity(value: Any) -> Id | None:
    """Return an id; 3, 3.0, "3" and "03" are one. None if it is no id."""
    try:
        return whole(value)
    except DataError:
        return (value.strip() or None) if isinstance(value, str) else None


def categories(records: Iterable[Any], file: Path) -> dict[Id, str]:
    """Return the names of categories by id, in the order of their ids; if some are words, in the order of the file.

    Raises:
        DataError: a record has no id or no name, there is none, or an id has two names.
    """
    names: dict[Id, str] = {}
    for record in records:
        key = identity(record.get("id")) if isinstance(record, dict) else None
        if key is None or not isinstance(record.get("name"), str) or not record["name"].strip():
            raise DataError(
                f'{str(file)!r} has a category {shortened(record)}; expected {{"id": 1, "name": "person"}}.'
            )
        if names.setdefault(key, record["name"]) != record["name"]:
            raise DataError(f"{str(file)!r} gives category {key} two names; give each its own id.")
    if not names:
        raise DataError(f'{str(file)!r} has no categories; expected some, such as {{"id": 1, "name": "person"}}.')
    numbers = sorted(key for key in names if isinstance(key, int))
    return {key: names[key] for key in numbers} if len(numbers) == len(names) else names


def image(record: Any, place: str) -> CocoImage:
    """Return an image record; its name may come from ``coco_url`` if there is no ``file_name``.

    Raises:
        DataError: it has no id or no name.
    """
    key = identity(record.get("id")) if isinstance(record, dict) else None
    name = (record.get("file_name") or record.get("coco_url")) if key is not None else None
    if key is None or not isinstance(name, str) or not name:
        raise DataError(f"got {shortened(record)}; expected an image with an id and a file_name")
    if "://" in name:
        parts = unquote(name.partition("?")[0]).split("/")
        spellings = ["/".join(parts[-2:]), name := parts[-1]]
    else:
        spellings = [name, name.replace("\\", "/"), unquote(name)]
    return CocoImage(place, key, name, tuple(dict.fromkeys(spellings)), _size(record))


def _size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return width and height; some tools write 0 if they do not know them."""
    try:
        width, height = (whole(record.get(side)) for side in ("width", "height"))
    except DataError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def boxed_object(record: Mapping[str, Any], names: Mapping[Id, str]) -> BoxedObject:
    """Return an object; without a box it is the one around its polygons, and crowds are ignored.

    Raises:
        DataError: its category is unknown, or its box or flag cannot be read.
    """
    category = identity(record.get("category_id"))
    if category is None or category not in names:
        raise DataError(f"there is no category {shortened(record.get('category_id'))}")
    try:
        is_crowd = flag(record.get("iscrowd"))
    except DataError as error:
        raise DataError(f"iscrowd is {error}") from error
    return BoxedObject(_edges(record), names[category], is_crowd)


def _edges(record: Mapping[str, Any]) -> tuple[float, float, float, float]:
    box = record.get("bbox")
    if not box:
        return _around_polygons(record.get("segmentation"))
    try:
        left, top, width, height = (number(value) for value in (box if isinstance(box, list) else ()))
    except (DataError, ValueError):
        raise DataError(f"bbox {shortened(box)}; expected [x, y, width, height]") from None
    if width <= 0 or height <= 0:
        raise DataError(f"bbox {shortened(box)}; expected a width and a height above 0")
    return left, top, left + width, top + height


def _around_polygons(polygons: Any) -> tuple[float, float, float, float]:
    if not isinstance(polygons, Sequence) or isinstance(polygons, str) or not polygons:
        raise DataError("no bbox, nor polygons in segmentation; expected bbox [x, y, width, height]")
    corners = [around(_points(polygon)) for polygon in polygons]
    lefts, tops, rights, bottoms = zip(*corners, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _points(polygon: Any) -> list[tuple[float, float]]:
    if not isinstance(polygon, list) or len(polygon) % 2:
        raise DataError(f"no bbox, and a polygon {shortened(polygon)}; expected [x1, y1, x2, y2, ...]")
    values = [number(value) for value in polygon]
    return list(zip(values[::2], values[1::2], strict=True))
