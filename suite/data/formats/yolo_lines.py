"""Label files in YOLO format."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from suite.data.formats.image_files import BoxedObject, Photo, detection_sample
from suite.data.formats.label_files import Notes, around, number, shortened, text_lines, whole
from suite.data.formats.pixel_format import PixelFormat
from suite.errors import DataError
from suite.types import Rejected, Sample

FARTHEST = 2.0
"""Largest fraction of an image's side that a coordinate may be; more are pixels."""

FARTHEST_POINT = 1.1
"""The same for points of polygons, which do not leave the image; 2 is the mark of a visible keypoint."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class YoloReader:
    """Reads images with their label files; an image of which a line cannot be read is refused.

    Attributes:
        names: class names in the order of their numbers.
        form: how images become arrays.
        extra: how many numbers of keypoints follow a box.
        notes: what is said of the files that were read.
    """

    names: Sequence[str]
    form: PixelFormat
    extra: int = 0
    notes: Notes = field(default_factory=Notes)

    def __call__(self, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
        """Yield an image with the objects of its label file, each once.

        Raises:
            DataError: the label file or one of its lines cannot be read.
        """
        photo = Photo(image, self.form)
        width, height = photo.dimensions()
        objects: dict[BoxedObject, None] = {}
        for count, line in enumerate(text_lines(file), start=1):
            place = f"{file.name}:{count}"
            if line:
                try:
                    label, (left, top, right, bottom) = self._object(line, place)
                except DataError as error:
                    raise DataError(f"{place}: {error}") from error
                box = (left * width, top * height, right * width, bottom * height)
                self.notes.collect(objects, BoxedObject(box, label), place, (width, height))
        yield detection_sample(name, photo, list(objects))

    def _object(self, line: str, place: str) -> tuple[str, Box]:
        """Return the class and the box, x1, y1, x2, y2 as fractions of the image's width and height."""
        words = [word.strip() for word in line.split(",")] if "," in line else line.split()
        label = self._label(words[0])
        values = [number(word) for word in words[1:]]
        if self.extra and len(values) == 4 + self.extra:
            self.notes.add("lines with keypoints, which are not used", place)
            return label, _box(values[:4])
        if len(values) == 5:
            self.notes.add("lines with a sixth column, perhaps a score, which is not used", place)
            return label, _box(values[:4])
        if len(values) == 4:
            return label, _box(values)
        if len(values) < 6 or len(values) % 2:
            raise DataError(
                f"{len(words)} columns; expected class, x, y, width, height, or a class and the points of a polygon"
            )
        _check(values)
        if max(values) > FARTHEST_POINT:
            raise DataError(
                f"{len(words)} columns with the number {max(values):g}; expected a class and points of a polygon from "
                "0 to 1. If these are keypoints, give their number and dimensions in data.yaml, kpt_shape: [17, 3]"
            )
        self.notes.add("polygons, read as the boxes around them", place)
        return label, around(list(zip(values[::2], values[1::2], strict=True)))

    def _label(self, word: str) -> str:
        try:
            index = whole(word)
        except DataError:
            index = -1
        if not 0 <= index < len(self.names):
            raise DataError(f"class {shortened(word)}; expected a number from 0 to {len(self.names) - 1}")
        return self.names[index]


def _box(values: Sequence[float]) -> Box:
    _check(values)
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise DataError(f"width {width:g} and height {height:g}; expected fractions above 0")
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _check(values: Sequence[float]) -> None:
    if (farthest := max(values, key=abs)) and abs(farthest) > FARTHEST:
        raise DataError(
            f"the coordinate {farthest:g}; expected fractions of the image's width and height, from 0 to 1. Are these "
            "pixels?"
        )
