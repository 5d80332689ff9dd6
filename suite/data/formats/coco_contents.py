"""An annotation file in COCO format: which images can be used, and which objects they have."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.data.formats.coco_records import CocoImage, Id, boxed_object, categories, identity, image
from suite.data.formats.image_files import BoxedObject
from suite.data.formats.label_files import LONGEST_NUMBER, Notes, shortened, unicode_text
from suite.errors import DataError
from suite.file_kinds import HEAD, disguise
from suite.types import Rejected

LISTS = ("images", "annotations", "categories")


@dataclass
class Contents:
    """Contents of an annotation file.

    Attributes:
        file: the annotation file.
        names: category names by id, in the order of the ids.
        images: usable image records.
        listed: all image records that name a file.
        sizes: width and height of images by their id; None if the file does not say.
        objects: each object once, by image id.
        errors: why annotations cannot be read, by image id.
        rejected: records that cannot be used.
        notes: what is said of annotations that are used.
    """

    file: Path
    names: Mapping[Id, str]
    images: list[CocoImage] = field(default_factory=list)
    listed: list[CocoImage] = field(default_factory=list)
    sizes: dict[Id, tuple[int, int] | None] = field(default_factory=dict)
    objects: dict[Id, dict[BoxedObject, None]] = field(default_factory=lambda: defaultdict(dict))
    errors: dict[Id, list[str]] = field(default_factory=lambda: defaultdict(list))
    rejected: list[Rejected] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    def reject(self, place: str, reason: str) -> None:
        """Add a record, such as ``images[3]``, to those that cannot be used."""
        self.rejected.append(Rejected(f"{self.file.name}: {place}", reason))


def read_contents(file: Path) -> Contents:
    """Read an annotation file.

    Raises:
        DataError: it cannot be read, or none of its annotations belongs to an image of it.
    """
    document = read_document(file)
    content = Contents(file, categories(document["categories"], file))
    known = _add_images(content, document["images"])
    unmatched = [
        record
        for index, record in enumerate(document["annotations"])
        if not _add_object(content, known, f"annotations[{index}]", record)
    ]
    if unmatched and len(unmatched) == len(document["annotations"]):
        raise DataError(
            f"None of the {len(unmatched)} annotations of {str(file)!r} belongs to an image of it, such as "
            f"annotations[0]: {_no_image(unmatched[0])}; the ids of its images are such as "
            f"{', '.join(map(shortened, list(known)[:3])) or 'none'}. Is the file whole?"
        )
    return content


def _add_object(content: Contents, known: Collection[Id], place: str, record: Any) -> bool:
    """Add an annotation to the objects or the errors of its image; return whether there is such an image."""
    key = identity(record.get("image_id")) if isinstance(record, dict) else None
    if key is None or key not in known:
        content.reject(place, _no_image(record))
        return False
    try:
        item = boxed_object(record, content.names)
        content.notes.collect(content.objects[key], item, place, content.sizes.get(key))
    except DataError as error:
        content.errors[key].append(f"{place}: {error}")
    return True


def listed_images(file: Path) -> list[CocoImage]:
    """Return all image records of an annotation file that name a file.

    Raises:
        DataError: it cannot be read.
    """
    content = Contents(file, {})
    _add_images(content, read_document(file)["images"])
    return content.listed


def _no_image(record: Any) -> str:
    if not isinstance(record, dict):
        return f"got {shortened(record)}; expected an object with image_id, category_id and bbox"
    return f"there is no image {shortened(record.get('image_id'))}"


def _add_images(content: Contents, records: Sequence[Any]) -> set[Id]:
    """Add images and reject those of which it is unclear which objects they have; return all ids."""
    found: dict[tuple[Id, str], CocoImage] = {}
    for index, record in enumerate(records):
        place = f"images[{index}]"
        try:
            item = image(record, place)
        except DataError as error:
            content.reject(place, str(error))
            continue
        content.listed.append(item)
        content.sizes[item.id] = item.size
        first = found.setdefault((item.id, item.name), item)
        if first is not item:
            content.reject(place, f"repeats {first.place}, id {item.id!r} and file_name {item.name!r}")
    _add_usable(content, found.values())
    return {key for key, _ in found}


def _add_usable(content: Contents, items: Collection[CocoImage]) -> None:
    ids, names = Counter(item.id for item in items), Counter(item.name for item in items)
    for item in items:
        if ids[item.id] == names[item.name] == 1:
            content.images.append(item)
        else:
            shared = f"id {item.id!r}" if ids[item.id] > 1 else f"file_name {item.name!r}"
            reason = f"{shared} is also that of another image, so it is unclear which objects belong to this one"
            content.reject(item.place, reason)


def read_document(file: Path) -> dict[str, Any]:
    """Return the lists of images, annotations and categories.

    Raises:
        DataError: it cannot be read, is not JSON, gives a key twice, or lacks a list; the message names the line.
    """
    text = unicode_text(file)
    try:
        document = json.loads(text, parse_int=_integer, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith(("{", "[")) and (what := disguise(text.encode()[:HEAD])):
            raise DataError(f"{str(file)!r} is not JSON but {what}.") from error
        raise DataError(f"{str(file)!r} is not JSON: {_position(error, text)}.") from error
    except RecursionError as error:
        raise DataError(f"{str(file)!r} is nested too deeply for an annotation file.") from error
    except DataError as error:
        raise DataError(f"{str(file)!r}: {error}") from error
    missing = [name for name in LISTS if not isinstance(document, dict) or not isinstance(document.get(name), list)]
    if missing:
        raise DataError(
            f"{str(file)!r} has no list {' nor '.join(repr(name) for name in missing)}; expected an object with "
            'images, annotations and categories, such as {"id": 1, "name": "person"}.'
        )
    return dict(document)


def _position(error: json.JSONDecodeError, text: str) -> str:
    where = f"line {error.lineno}, column {error.colno}: {error.msg}"
    if error.msg == "Extra data":
        return f"{where}; expected one object, while JSON lines are not the COCO format"
    is_cut = error.msg.startswith("Unterminated") or error.pos >= len(text.rstrip())
    return f"{where}; the file ends too early, perhaps its download" if is_cut else where


def _integer(text: str) -> int | float:
    """Return a number that is too long for a float as infinite, so that the record that holds it is refused."""
    return int(text) if len(text) < LONGEST_NUMBER else float(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        [(repeated, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise DataError(f"an object has the key {repeated!r} twice: {shortened(record)}; keep one.")
    return record
