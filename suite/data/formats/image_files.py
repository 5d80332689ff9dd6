"""Photographs and masks on disk, as arrays of one size, and the boxes that belong to them."""

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
"""Pillow's modes of a mask with at most 256 values."""


@dataclass(frozen=True)
class Picture:
    """A photograph: pixels (3, h, w) uint8, and the width and height that it has on disk."""

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """How many pixels of the array one pixel on disk became, to the right and downwards."""
        return self.pixels.shape[2] / self.width, self.pixels.shape[1] / self.height


class Thing(NamedTuple):
    """An object in a photograph: its box x1, y1, x2, y2 in pixels on disk, its class, and whether it is ignored."""

    box: tuple[float, float, float, float]
    label: str
    ignored: bool = False


def read_picture(file: Path, *, size: int | None = None, labelled: tuple[int, int] | None = None) -> Picture:
    """Return a photograph in red, green and blue.

    It is turned upright as its EXIF tag says, which is how labelling tools show it, unless only the unturned one has
    the labelled size.

    Args:
        file: the image.
        size: side in pixels of the square to which it is scaled (linear, with smoothing); None to take it as it is.
        labelled: width and height that the annotation was made for, where it says so.

    Raises:
        DataError: it is missing, cannot be read, or is not of the labelled size.
    """
    from PIL import ImageOps

    with _opened(file) as raw:
        upright = ImageOps.exif_transpose(raw)
        image = raw if labelled not in (None, upright.size) and labelled == raw.size else upright
        if labelled not in (None, image.size):
            raise DataError(f"{_size(image.size)} pixels, but the annotation was made for {_size(labelled)}")
        pixels = _rgb(image)
        width, height = pixels.size
        pixels = pixels if size is None else pixels.resize((size, size), _resampling("BILINEAR"))
        return Picture(np.moveaxis(np.asarray(pixels, dtype=np.uint8), -1, 0).copy(), width, height)


def read_mask(file: Path) -> Mask:
    """Return a mask's values (h, w) as they are stored: of a palette the indices, not the colours.

    Raises:
        DataError: it is missing, cannot be read, or holds colours or values over 255.
    """
    with _opened(file) as image:
        if image.mode not in EIGHT_BIT and not image.mode.startswith("I"):
            raise DataError(
                f"a mask in mode {image.mode}; expected one number per pixel: save class indices, not colours"
            )
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 255):
            raise DataError(f"a mask with values {values.min()} to {values.max()}; expected 0 to 255")
        return values.astype(np.uint8)


def resized(mask: Mask, size: int | None) -> Mask:
    """Return a mask (h, w) scaled to a square of a side; every pixel keeps the value of one that was there."""
    from PIL import Image

    if size is None:
        return mask
    return np.array(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST), dtype=np.uint8)


def mask_sample(name: str, file: Path, mask: Mask, *, size: int | None = None) -> Sample:
    """Return a photograph with its mask (h, w) as the target, both scaled to `size`.

    Raises:
        DataError: the photograph cannot be read, or is not of the mask's size.
    """
    picture = read_picture(file, size=size, labelled=(mask.shape[1], mask.shape[0]))
    return Sample(name, picture.pixels, resized(mask, size))


def detection_sample(name: str, picture: Picture, things: Sequence[Thing]) -> Sample:
    """Return a photograph with its objects as the target: ``boxes`` (k, 4), ``labels`` and ``ignore``, k may be 0.

    Boxes are neither cleaned nor rounded.
    """
    across, down = picture.scale
    boxes = np.array([thing.box for thing in things], dtype=np.float64).reshape(-1, 4) * (across, down, across, down)
    labels, ignore = [thing.label for thing in things], np.array([thing.ignored for thing in things], dtype=bool)
    return Sample(name, picture.pixels, {"boxes": boxes, "labels": labels, "ignore": ignore})


def extent(mask: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    """Return the tightest box x1, y1, x2, y2 round the true pixels of a mask (h, w), right and lower edge included.

    Raises:
        DataError: no pixel is true.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise DataError("a mask without a pixel has no box; leave the object out")
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
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


def _rgb(image: Any) -> Any:
    from PIL import Image

    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8 instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DataError(f"pixels in mode {image.mode} have no known range; save the image with 8 or 16 bits")
    return image.convert("RGB")


def _resampling(name: str) -> Any:
    from PIL import Image

    return Image.Resampling[name]


def _size(size: tuple[int, int] | None) -> str:
    return "x".join(str(length) for length in size or ())
