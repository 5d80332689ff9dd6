"""Images and masks on disk as arrays of one size, with their boxes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from suite.errors import DataError
from suite.types import Sample

Mask = npt.NDArray[np.uint8]

EIGHT_BIT = ("L", "P", "1")
"""Pillow's modes for masks with at most 256 values."""


@dataclass(frozen=True)
class Picture:
    """An image: pixels (3, h, w) uint8, and its width and height on disk."""

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """Horizontal and vertical factor from pixels on disk to pixels of the array."""
        return self.pixels.shape[2] / self.width, self.pixels.shape[1] / self.height


class BoxedObject(NamedTuple):
    """An object in an image: its box x1, y1, x2, y2 in pixels on disk, its class, and whether it is ignored."""

    box: tuple[float, float, float, float]
    label: str
    ignored: bool = False


def read_picture(file: Path, *, size: int | None = None, labeled: tuple[int, int] | None = None) -> Picture:
    """Return an RGB image.

    The image is rotated according to its EXIF tag, as labelling tools display it, unless only the unrotated image has
    the labeled size.

    Args:
        file: the image.
        size: side in pixels of the square to which it is scaled (bilinear, with antialiasing); None to keep its size.
        labeled: width and height that the annotation was made for, if it says so.

    Raises:
        DataError: it is missing, cannot be read, or does not have the labeled size.
    """
    from PIL import Image, ImageOps

    with open_image(file) as raw:
        upright = ImageOps.exif_transpose(raw)
        image = raw if labeled not in (None, upright.size) and labeled == raw.size else upright
        if labeled not in (None, image.size):
            raise DataError(f"{_size(image.size)} pixels, but the annotation was made for {_size(labeled)}")
        pixels = convert(image, "RGB")
        width, height = pixels.size
        pixels = pixels if size is None else pixels.resize((size, size), Image.Resampling.BILINEAR)
        return Picture(np.moveaxis(np.asarray(pixels, dtype=np.uint8), -1, 0).copy(), width, height)


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


def mask_sample(name: str, file: Path, mask: Mask, *, size: int | None = None) -> Sample:
    """Return an image with its mask (h, w) as the target, both scaled to `size`; masks by nearest neighbor.

    Raises:
        DataError: the image cannot be read, or does not have the mask's size.
    """
    from PIL import Image

    picture = read_picture(file, size=size, labeled=(mask.shape[1], mask.shape[0]))
    if size is not None:
        mask = np.array(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST), dtype=np.uint8)
    return Sample(name, picture.pixels, mask)


def detection_sample(name: str, picture: Picture, objects: Sequence[BoxedObject]) -> Sample:
    """Return an image with its objects as the target: ``boxes`` (k, 4), ``labels`` and ``ignore``; k may be 0.

    Boxes are scaled with the image, and neither cleaned nor rounded.
    """
    x, y = picture.scale
    boxes = np.array([item.box for item in objects], dtype=np.float64).reshape(-1, 4) * (x, y, x, y)
    labels, ignore = [item.label for item in objects], np.array([item.ignored for item in objects], dtype=bool)
    return Sample(name, picture.pixels, {"boxes": boxes, "labels": labels, "ignore": ignore})


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
def open_image(file: Path) -> Iterator[Any]:
    """Open an image with Pillow and load its pixels.

    Raises:
        DataError: it is missing or cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    if not file.is_file():
        raise DataError(f"there is no file {file.name} in {str(file.parent)!r}")
    try:
        with Image.open(file) as image:
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


def _size(size: tuple[int, int] | None) -> str:
    return "x".join(str(length) for length in size or ())
