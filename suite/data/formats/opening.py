"""Opening images of any origin with Pillow: nothing but our own errors leaves here."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from suite.data.regular_files import problem_of
from suite.errors import DataError, described
from suite.file_kinds import HEAD, disguise

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "DIB", "DDS", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are read, whatever a file's suffix is. Others are left out: EPS runs a program,
and TGA has no signature, so that any damaged file can look like one."""

ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of the orientation, and its values for images that are turned by 90 degrees."""

TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""Pillow's name of what turns an image upright, by its orientation."""


@contextmanager
def open_image(file: Path, *, load: bool = True) -> Iterator[Any]:
    """Open an image with Pillow, and load its pixels unless only its header is needed.

    Raises:
        DataError: it is missing or cannot be read; or anything was raised in the block, since Pillow raises errors of
            nearly any type for damaged files, also when it converts or scales an image.
    """
    try:
        with _opened(file) as image:
            if load:
                image.load()
            yield image
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{file.name}: {described(error)}") from error


def orientation(image: Any) -> int:
    """Return how an opened image has to be turned, 1 to 8 as in EXIF; 1, upright, if that is unknown or invalid."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged EXIF block; viewers show such an image as it is
        return 1
    return int(value) if value in range(1, 9) else 1


def turned(image: Any, orientation: int) -> Any:
    """Return an image turned upright; `ImageOps.exif_transpose` also writes the EXIF block, and fails for slips."""
    from PIL import Image

    return image.transpose(Image.Transpose[TURNS[orientation]]) if orientation in TURNS else image


def displayed_size(image: Any) -> tuple[int, int]:
    """Return width and height of an image of which only the header was read, as it is displayed."""
    is_turned = image.format != "TIFF" and orientation(image) in SIDEWAYS  # Pillow turns TIFF files itself
    return (image.height, image.width) if is_turned else (image.width, image.height)


def _opened(file: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    if problem := problem_of(file):
        missing = not file.exists() and not file.is_symlink()
        where = str(file.parent)
        raise DataError(f"there is no file {file.name} in {where!r}" if missing else f"{file.name}: {problem}")
    try:
        return Image.open(file, "r", _formats())
    except UnidentifiedImageError:
        raise DataError(_not_an_image(file)) from None


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """Return those formats that Pillow was built with."""
    from PIL import Image

    warnings.filterwarnings("ignore", module="PIL")  # they name no file; what cannot be read raises an error
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _not_an_image(file: Path) -> str:
    with file.open("rb") as opened:
        head = opened.read(HEAD)
    if what := disguise(head):
        return f"{file.name} is not an image but {what}"
    return f"{file.name} is not an image that can be read ({file.stat().st_size:,} bytes, the first are {head[:8]!r})"
