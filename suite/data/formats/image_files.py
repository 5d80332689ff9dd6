"""Images and masks on disk as arrays of one size, with their boxes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from suite.errors import DataError
from suite.types import Deferred, Sample

Mask = npt.NDArray[np.uint8]

EIGHT_BIT = ("L", "P", "1")
"""Pillow's modes for masks with at most 256 values."""


@dataclass(frozen=True)
class Photo:
    """An RGB image on disk, read when it is needed.

    The image is rotated according to its EXIF tag, as labelling tools display it, unless only the unrotated image has
    the labeled size.

    Attributes:
        file: the image.
        size: side in pixels of the square to which it is scaled (bilinear, with antialiasing); None to keep its size.
        labeled: width and height that the annotation was made for, if it says so; or the file of the image's mask,
            which has them.
    """

    file: Path
    size: int | None = None
    labeled: tuple[int, int] | Path | None = None

    def deferred(self) -> Deferred:
        """Return its pixels, (3, h, w) uint8, as they are read later."""
        mask = (str(self.labeled),) if isinstance(self.labeled, Path) else ()
        labeled = "mask" if mask else self.labeled
        return Deferred(self.pixels, (str(self.file), *mask), f"RGB, size={self.size}, labeled={labeled}")

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Read the pixels, (3, h, w).

        Raises:
            DataError: the file is missing, cannot be read, or does not have the labeled size.
        """
        from PIL import Image

        with open_image(self.file) as raw:
            pixels = convert(self._upright(raw), "RGB")
            if self.size is not None:
                pixels = pixels.resize((self.size, self.size), Image.Resampling.BILINEAR)
            return np.moveaxis(np.asarray(pixels, dtype=np.uint8), -1, 0).copy()

    def dimensions(self) -> tuple[int, int]:
        """Return width and height on disk, as displayed; if the annotation says them, nothing is read.

        Raises:
            DataError: the file is missing or cannot be read.
        """
        if self.labeled is not None:
            return _labeled_size(self.labeled)
        with open_image(self.file, load=False) as raw:
            turned = raw.getexif().get(ORIENTATION, 1) in SIDEWAYS
            return (raw.height, raw.width) if turned else (raw.width, raw.height)

    def scale(self) -> tuple[float, float]:
        """Return the horizontal and the vertical factor from pixels on disk to pixels of the array."""
        if self.size is None:
            return 1.0, 1.0
        width, height = self.dimensions()
        return self.size / width, self.size / height

    def _upright(self, raw: Any) -> Any:
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(raw)
        if self.labeled is None:
            return upright
        labeled = _labeled_size(self.labeled)
        image = raw if labeled != upright.size and labeled == raw.size else upright
        if labeled != image.size:
            raise DataError(f"{_size(image.size)} pixels, but the annotation was made for {_size(labeled)}")
        return image


ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of the orientation, and its values for images that are turned by 90 degrees."""


class BoxedObject(NamedTuple):
    """An object in an image: its box x1, y1, x2, y2 in pixels on disk, its class, and whether it is ignored."""

    box: tuple[float, float, float, float]
    label: str
    ignored: bool = False


def read_mask(file: Path) -> Mask:
    """Return a mask's values (h, w) as they are stored: for a palette image the indices, not the colors.

    Raises:
        DataError: it is missing, cannot be read, or holds colors or values over 255.
    """
    with open_image(file) as image:
        if image.mode not in EIGHT_BIT and not image.mode.startswith("I"):
            raise DataError(
                f"a mask in mode {image.mode}; expected one number per pixel: save class indices, not colors"
            )
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 255):
            raise DataError(f"a mask with values {values.min()} to {values.max()}; expected 0 to 255")
        return values.astype(np.uint8)


def mask_sample(
    name: str, file: Path, mask: Path, *, to_classes: Callable[[Mask], Mask] | None = None, size: int | None = None
) -> Sample:
    """Return an image with its mask (h, w) as the target, both scaled to `size`; masks by nearest neighbor.

    Args:
        name: the id.
        file: the image.
        mask: the mask, which has the size of the image.
        to_classes: takes the values of the mask (h, w) and returns class indices; None if they are class indices.
        size: side in pixels of the square to which both are scaled; None to keep their size.
    """
    key = f"size={size}, classes={getattr(to_classes, '__qualname__', to_classes)}"
    target = Deferred(partial(_class_mask, mask, to_classes, size), (str(mask),), key)
    return Sample(name, Photo(file, size, mask).deferred(), target)


def _class_mask(file: Path, to_classes: Callable[[Mask], Mask] | None, size: int | None) -> Mask:
    from PIL import Image

    mask = read_mask(file) if to_classes is None else to_classes(read_mask(file))
    if size is None:
        return mask
    return np.array(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST), dtype=np.uint8)


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


@contextmanager
def open_image(file: Path, *, load: bool = True) -> Iterator[Any]:
    """Open an image with Pillow, and load its pixels unless only its header is needed.

    Raises:
        DataError: it is missing or cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    if not file.is_file():
        raise DataError(f"there is no file {file.name} in {str(file.parent)!r}")
    try:
        with Image.open(file) as image:
            if load:
                image.load()
            yield image
    except UnidentifiedImageError:
        raise DataError(f"{file.name} is not an image that can be read ({file.stat().st_size} bytes)") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file.name}: {type(error).__name__}: {error}") from error


def convert(image: Any, mode: str) -> Any:
    """Return a Pillow image in mode L or RGB; 16-bit values are scaled to 8 bits, which Pillow would clip.

    Raises:
        DataError: the range of the pixel values is unknown.
    """
    from PIL import Image

    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DataError(f"pixels in mode {image.mode} have no known range; save the image with 8 or 16 bits")
    return image.convert(mode)


def _labeled_size(labeled: tuple[int, int] | Path) -> tuple[int, int]:
    if isinstance(labeled, tuple):
        return labeled
    with open_image(labeled, load=False) as mask:
        return int(mask.width), int(mask.height)


def _size(size: tuple[int, int] | None) -> str:
    return "x".join(str(length) for length in size or ())
