"""How images become arrays, and what a look at a data set's files says of all of them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from suite.data.formats.bit_depth import DEPTHS, eight_bits, is_deep, own_bits
from suite.data.formats.opening import open_image
from suite.data.walking import evenly
from suite.errors import DataError
from suite.types import Remark

T = TypeVar("T")

LOOKED_AT = 64
"""Files of each suffix whose headers say what the images of a data set are."""

TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
"""Pillow's modes with an alpha channel."""


@dataclass(frozen=True)
class PixelFormat:
    """How images become arrays.

    Attributes:
        size: side in pixels of the square that images become; None to keep their size.
        grey: read one channel instead of three.
        bits: the number of bits that values of 16-bit images use; None to take it from their highest value.
    """

    size: int | None = None
    grey: bool = False
    bits: int | None = None

    def load(self, image: Any) -> Any:
        """Load an image of which the header was read; return it with 8 bits per channel, in its own size.

        Raises:
            DataError: the number of bits is unknown or does not fit.
        """
        return eight_bits(image, "L" if self.grey else "RGB", self.bits)


AS_STORED = PixelFormat()
"""Three channels, in the size on disk."""


def channels_first(image: Any) -> npt.NDArray[np.uint8]:
    """Return an image in mode L or RGB as an array (channels, h, w)."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0).copy()


def agreed_format(files: Sequence[Path], pixels: PixelFormat) -> tuple[PixelFormat, list[Remark]]:
    """Return how all images of a data set become arrays, and remarks on what is assumed and what is left out.

    Args:
        files: the images of all splits, sorted, so that all splits are read alike.
        pixels: what the user says.

    Raises:
        DataError: a number of bits or a size that no image has.
    """
    if pixels.size is not None and pixels.size < 1:
        raise DataError(f"size={pixels.size}; expected the side of a square in pixels, such as size=64.")
    bits, assumed = agreed_bits(files, pixels.bits)
    return replace(pixels, bits=bits), [*assumed, *left_out(files)]


class _Header(NamedTuple):
    """Whether an image has one channel of 16 bits, whether it has transparent pixels, and its number of frames."""

    is_deep: bool
    has_alpha: bool
    frames: int


def agreed_bits(files: Sequence[Path], bits: int | None = None) -> tuple[int | None, list[Remark]]:
    """Return the number of bits that 16-bit images of a data set use, and a remark if it is an assumption.

    It is the smallest usual number that holds all values of at most `LOOKED_AT` of them.

    Args:
        files: the images of all splits, sorted, so that all splits are read alike.
        bits: the number, if the user gave it.

    Raises:
        DataError: `bits` is not 8 to 16.
    """
    if bits is not None:
        if bits not in range(8, 17):
            raise DataError(f"bits={bits!r}; expected 8 to 16: 16-bit images have the value 2^bits - 1 where white.")
        return bits, []
    deep = [file for file, header in _headers(files).items() if header.is_deep]
    values = [value for file in evenly(deep, LOOKED_AT) if (value := remembered(_highest, file)) is not None]
    if not values:
        return None, []
    bits = next(bits for bits in DEPTHS if max(values) < 2**bits)
    if bits == DEPTHS[-1]:
        return bits, []
    text = f"16-bit images with no value above {2**bits - 1:,} in {len(values):,} looked at: read as {bits} bits"
    return bits, [Remark(f"{text}; give bits=16 if white is 65535")]


def left_out(files: Sequence[Path]) -> Iterator[Remark]:
    """Yield remarks on what is in images and not in their arrays: transparency, and all frames but the first."""
    headers = _headers(files)
    several = [file for file, header in headers.items() if header.frames > 1]
    transparent = [file for file, header in headers.items() if header.has_alpha]
    for found, what in (
        (several, "more than one frame or page, of which the first is read"),
        (transparent, "transparency, which is left out, as by torchvision"),
    ):
        if found:
            verb = "has" if len(found) == 1 else "have"
            yield Remark(f"{len(found)} of {len(headers)} images looked at {verb} {what} (for example {found[0].name})")


def _headers(files: Sequence[Path]) -> dict[Path, _Header]:
    """Return the headers of evenly chosen files of each suffix, since images with one suffix have much in common."""
    by_suffix: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_suffix[file.suffix.lower()].append(file)
    chosen = [file for same in by_suffix.values() for file in evenly(same, LOOKED_AT)]
    return {file: header for file in chosen if (header := remembered(_header, file)) is not None}


def _header(file: Path) -> _Header:
    with open_image(file, load=False) as image:
        has_alpha = image.mode in TRANSPARENT or "transparency" in image.info
        frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))  # MPO: previews and depth maps
        return _Header(is_deep(image) and own_bits(image) is None, has_alpha, frames)


def _highest(file: Path) -> int:
    with open_image(file) as image:
        return int(np.asarray(image).max(initial=0))


def remembered(read: Callable[[Path], T], file: Path) -> T | None:
    """Return what is read of a file, from memory if it has not changed; None if it cannot be read."""
    try:
        status = file.stat()
        found: T = _known(read, file, (status.st_mtime_ns, status.st_size))
    except (DataError, OSError):
        return None
    return found


@lru_cache(maxsize=4096)
def _known(read: Callable[[Path], Any], file: Path, stamp: tuple[int, int]) -> Any:
    return read(file)
