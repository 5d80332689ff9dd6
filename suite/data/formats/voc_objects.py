"""Objects in an annotation file of the Pascal VOC format (XML)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, fromstring

from suite.data.formats.image_files import BoxedObject, Photo, detection_sample
from suite.errors import DataError
from suite.types import Rejected, Sample

CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocObjects:
    """Contents of one annotation file.

    Attributes:
        size: width and height of the labeled image; None if the file does not say.
        objects: those that can be read; boxes start at 0, so a box over the whole image is 0, 0, width, height.
        broken: number, from 1, and error of objects that cannot be read.
    """

    size: tuple[int, int] | None
    objects: tuple[BoxedObject, ...]
    broken: tuple[tuple[int, str], ...]


def read_voc_objects(file: Path) -> VocObjects:
    """Read an annotation file; objects marked as difficult are ignored.

    The format counts pixels from 1 and includes the last pixel of a box, so 1 is subtracted from the upper left corner
    only. Coordinates may be fractional.

    Raises:
        DataError: the file is missing or not XML; the message names the line.
    """
    root = _root(file)
    objects, broken = [], []
    for number, element in enumerate(root.findall("object"), start=1):
        try:
            objects.append(_object(element))
        except DataError as error:
            broken.append((number, str(error)))
    return VocObjects(_size(root), tuple(objects), tuple(broken))


def voc_sample(size: int | None, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
    """Yield an image, scaled to `size` unless it is None, with the objects of its annotation file.

    Objects that cannot be read are yielded as rejections before it.

    Raises:
        DataError: the annotation file cannot be read.
    """
    annotation = read_voc_objects(file)
    sample = detection_sample(name, Photo(image, size, annotation.size), annotation.objects)
    yield from (Rejected(f"{file.name}: object {number}", reason) for number, reason in annotation.broken)
    yield sample


def _root(file: Path) -> Element:
    try:
        text = file.read_text("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DataError(f"{file.name} has a document type, whose entities may expand without limit; remove it")
        return fromstring(text)  # noqa: S314  # without a document type there are no entities to expand
    except ParseError as error:
        raise DataError(f"{file.name}:{error.position[0]}: not XML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file.name} cannot be read: {error}") from error


def _object(element: Element) -> BoxedObject:
    box, label = element.find("bndbox"), (element.findtext("name") or "").strip()
    if box is None or not label:
        raise DataError("an object needs a name and a bndbox")
    left, top, right, bottom = (_number(box, corner) for corner in CORNERS)
    ignored = (element.findtext("difficult") or "0").strip() not in ("0", "")
    return BoxedObject((left - 1, top - 1, right, bottom), label, ignored)


def _number(box: Element, corner: str) -> float:
    text = box.findtext(corner)
    try:
        return float(text or "")
    except ValueError:
        raise DataError(f"{corner} is {text!r}; expected a number") from None


def _size(root: Element) -> tuple[int, int] | None:
    """Return width and height; some tools write 0 if they do not know them."""
    try:
        width, height = (int(root.findtext(f"size/{name}") or 0) for name in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None
