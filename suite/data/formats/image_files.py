"""Images on disk as arrays of one size, with their boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from suite.data.formats.opening import SIDEWAYS, displayed_size, open_image, orientation, turned
from suite.data.formats.pixel_format import AS_STORED, PixelFormat, channels_first
from suite.errors import DataError
from suite.types import Deferred, Sample


@dataclass(frozen=True)
class Photo:
    """An image on disk, read when it is needed.

    The image is rotated according to its EXIF tag, as labelling tools display it, unless only the unrotated image has
    the labeled size.

    Attributes:
        file: the image.
        form: how it becomes an array; it is scaled to its square (bilinear, with antialiasing) and not cropped.
        labeled: width and height that the annotation was made for, if it says so; or the file of the image's mask,
            which has them.
    """

    file: Path
    form: PixelFormat = AS_STORED
    labeled: tuple[int, int] | Path | None = None

    def deferred(self) -> Deferred:
        """Return its pixels, (channels, h, w) uint8, as they are read later."""
        mask = (str(self.labeled),) if isinstance(self.labeled, Path) else ()
        labeled = "mask" if mask else self.labeled
        key = f"scaled, {self.form}, labeled={labeled}"
        return Deferred(self.pixels, (str(self.file), *mask), key)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Read the pixels, (channels, h, w).

        Raises:
            DataError: the file is missing, cannot be read, or does not have the labeled size.
        """
        from PIL import Image

        with open_image(self.file, load=False) as raw:
            image = self.form.load(raw)
            image = turned(image, self._turn(raw))  # Pillow turns TIFF files when it loads them
            if (size := self.form.size) is not None:
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            return channels_first(image)

    def dimensions(self) -> tuple[int, int]:
        """Return width and height on disk, as displayed; if the annotation says them, nothing is read.

        Raises:
            DataError: the file is missing or cannot be read.
        """
        if self.labeled is not None:
            return _labeled_size(self.labeled)
        with open_image(self.file, load=False) as raw:
            return displayed_size(raw)

    def scale(self) -> tuple[float, float]:
        """Return the horizontal and the vertical factor from pixels on disk to pixels of the array."""
        if self.form.size is None:
            return 1.0, 1.0
        width, height = self.dimensions()
        return self.form.size / width, self.form.size / height

    def _turn(self, raw: Any) -> int:
        """Return how a loaded image is turned, so that it has the labeled size."""
        turn = orientation(raw)
        if self.labeled is None:
            return turn
        labeled, stored = _labeled_size(self.labeled), (raw.width, raw.height)
        displayed = stored[::-1] if turn in SIDEWAYS else stored
        if labeled not in (displayed, stored):
            raise DataError(f"{_size(displayed)} pixels, but the annotation was made for {_size(labeled)}")
        return turn if labeled == displayed else 1


class BoxedObject(NamedTuple):
    """An object in an image: its box x1, y1, x2, y2 in pixels on disk, its class, and whether it is ignored."""

    box: tuple[float, float, float, float]
    label: str
    ignored: bool = False


def detection_sample(name: str, photo: Photo, objects: Sequence[BoxedObject]) -> Sample:
    """Return an image with its objects as the target; see `objects_target`."""
    return Sample(name, photo.deferred(), objects_target(photo, objects))


def objects_target(photo: Photo, objects: Sequence[BoxedObject]) -> dict[str, Any]:
    """Return objects as a target: ``boxes`` (k, 4), ``labels`` and ``ignore``; k may be 0.

    Boxes are scaled with the image, and neither cleaned nor rounded.

    Raises:
        DataError: the size of the image is needed and cannot be read.
    """
    x, y = photo.scale()
    boxes = np.array([item.box for item in objects], dtype=np.float64).reshape(-1, 4) * (x, y, x, y)
    labels, ignore = [item.label for item in objects], np.array([item.ignored for item in objects], dtype=bool)
    return {"boxes": boxes, "labels": labels, "ignore": ignore}


def tight_box(mask: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    """Return the tightest box x1, y1, x2, y2 around the true pixels of a mask (h, w); x2 and y2 are exclusive edges.

    Raises:
        DataError: no pixel is true.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise DataError("an empty mask has no box; leave the object out")
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _labeled_size(labeled: tuple[int, int] | Path) -> tuple[int, int]:
    if isinstance(labeled, tuple):
        return labeled
    with open_image(labeled, load=False) as mask:
        return int(mask.width), int(mask.height)


def _size(size: tuple[int, int] | None) -> str:
    return "x".join(str(length) for length in size or ())
