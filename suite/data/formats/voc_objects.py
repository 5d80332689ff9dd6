"""Objects in an annotation file of the Pascal VOC format (XML)."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, fromstring

from suite.data.formats.image_files import BoxedObject, Photo, detection_sample
from suite.data.formats.label_files import Notes, around, decoded_as, flag, number, whole
from suite.data.formats.pixel_format import PixelFormat
from suite.data.regular_files import content_of
from suite.errors import DataError
from suite.types import Rejected, Sample

CORNERS = ("xmin", "ymin", "xmax", "ymax")

DECLARED = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")
"""The encoding in the first line of an XML file."""


@dataclass(frozen=True)
class VocObjects:
    """Contents of one annotation file.

    Attributes:
        size: width and height of the labeled image; None if the file does not say.
        objects: in the order of the file; boxes start at 0, so a box over the whole image is 0, 0, width, height.
    """

    size: tuple[int, int] | None
    objects: tuple[BoxedObject, ...]


@dataclass(frozen=True)
class VocReader:
    """Reads images with their annotation files; an image of which an object cannot be read is refused.

    Attributes:
        form: how images become arrays.
        notes: what is said of the files that were read.
    """

    form: PixelFormat
    notes: Notes = field(default_factory=Notes)

    def __call__(self, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
        """Yield an image with the objects of its annotation file, each once.

        Raises:
            DataError: the annotation file or one of its objects cannot be read.
        """
        annotation = read_voc_objects(file)
        objects: dict[BoxedObject, None] = {}
        for count, item in enumerate(annotation.objects, start=1):
            self.notes.collect(objects, item, f"object {count} of {file.name}", annotation.size)
        yield detection_sample(name, Photo(image, self.form, annotation.size), list(objects))


def read_voc_objects(file: Path) -> VocObjects:
    """Read an annotation file; objects marked as difficult are ignored.

    The format counts pixels from 1 and includes the last pixel of a box, so 1 is subtracted from the upper left corner
    only. Coordinates may be fractional. Objects with a polygon and no box, whose points count from 0, get the box
    around it.

    Raises:
        DataError: the file is missing or not such an annotation, or an object cannot be read; the message names the
            line or the object.
    """
    root = _root(file)
    elements = root.findall("object")
    if len(elements) < sum(1 for _ in root.iter("object")):
        raise DataError(f"{file.name} has objects inside other elements; expected them directly in <annotation>")
    objects = []
    for count, element in enumerate(elements, start=1):
        try:
            objects += [] if _flag(element, "deleted") else [_object(element)]
        except DataError as error:
            raise DataError(f"{file.name}: object {count}: {error}") from error
    return VocObjects(_size(root), tuple(objects))


def _root(file: Path) -> Element:
    """Return the root; names of elements are in lower case and without namespaces."""
    content = content_of(file)
    text = decoded_as(content, _encoding(content), file)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{file.name} has a document type, whose entities may expand without limit; remove it")
    try:
        root = fromstring(text)  # noqa: S314  # without a document type there are no entities to expand
    except ParseError as error:
        raise DataError(f"{file.name}:{error.position[0]}: not XML: {error}") from error
    except UnicodeError as error:
        raise DataError(f"{file.name} is not XML: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2].lower()
    if root.tag != "annotation":
        raise DataError(f"{file.name} is XML with <{root.tag}>; expected the <annotation> of Pascal VOC")
    return root


def _encoding(content: bytes) -> str:
    """Return the encoding that the first bytes say, else the declared one.

    A declared UTF-16 is not believed in a file whose declaration can be read byte by byte: .NET writes such files.
    """
    start = json.detect_encoding(content)
    declared = DECLARED.match(content.lstrip())
    if start != "utf-8" or declared is None:
        return start
    name = declared[1].decode("ascii", "replace")
    return "utf-8" if re.match("utf-?(16|32)|ucs|iso-10646", name, re.IGNORECASE) else name


def _object(element: Element) -> BoxedObject:
    names, boxes = element.findall("name"), element.findall("bndbox")
    label = " ".join((names[0].text or "").split()) if len(names) == 1 else ""
    if not label or len(boxes) > 1:
        raise DataError(f"{len(names)} names and {len(boxes)} bndbox; expected one of each, with a text in name")
    edges = _edges(boxes[0]) if boxes else _around_polygon(element)
    return BoxedObject(edges, label, _flag(element, "difficult"))


def _edges(box: Element) -> tuple[float, float, float, float]:
    left, top, right, bottom = (_number(box, corner) for corner in CORNERS)
    if left > right or top > bottom:
        raise DataError(
            f"xmin {left:g}, ymin {top:g}, xmax {right:g}, ymax {bottom:g}; expected no maximum below its minimum"
        )
    return left - 1, top - 1, right, bottom


def _number(box: Element, corner: str) -> float:
    found = box.findall(corner)
    if len(found) != 1:
        raise DataError(f"{len(found)} {corner} in bndbox; expected one")
    try:
        return number(found[0].text or "")
    except DataError as error:
        raise DataError(f"{corner} is {error}") from error


def _around_polygon(element: Element) -> tuple[float, float, float, float]:
    """Return the box around ``<polygon>``, whose points are ``<pt><x/><y/></pt>`` or ``<x1/><y1/><x2/>...``."""
    polygons = element.findall("polygon")
    if len(polygons) != 1:
        raise DataError(f"no bndbox and {len(polygons)} polygons; expected a bndbox")
    values: dict[str, list[float]] = {"x": [], "y": []}
    for part in polygons[0].iter():
        if re.fullmatch(r"[xy]\d*", part.tag):
            values[part.tag[0]].append(number(part.text or ""))
    if len(values["x"]) != len(values["y"]):
        raise DataError(f"a polygon with {len(values['x'])} x and {len(values['y'])} y; expected as many")
    return around(list(zip(values["x"], values["y"], strict=True)))


def _flag(element: Element, name: str) -> bool:
    try:
        return flag(element.findtext(name))
    except DataError as error:
        raise DataError(f"{name} is {error}") from error


def _size(root: Element) -> tuple[int, int] | None:
    """Return width and height; some tools write 0 if they do not know them."""
    try:
        width, height = (whole(root.findtext(f"size/{name}")) for name in ("width", "height"))
    except DataError:
        return None
    return (width, height) if width > 0 and height > 0 else None
