"""Images with more than 8 bits per channel as 8 bits."""

from typing import Any

import numpy as np
import numpy.typing as npt

from suite.errors import DataError

DEPTHS = (8, 10, 12, 14, 16)
"""Numbers of bits that cameras and scanners put into 16."""

WHITE_IS_ZERO, BITS_PER_SAMPLE = (262, 0), 258
"""TIFF tags: the photometric interpretation with its value for inverted images, and the number of bits."""


def eight_bits(image: Any, mode: str, bits: int | None = None) -> Any:
    """Load an image of which the header was read; return it in mode L or RGB, with 8 bits per channel.

    Colors are converted as torchvision's loader does: without the alpha channel, CMYK without a color profile.

    Args:
        image: as Pillow opened it.
        mode: L or RGB.
        bits: the number of bits that values of 16-bit images use; None if unknown.

    Raises:
        DataError: the value of white is unknown, or a value is above it.
    """
    from PIL import Image

    if image.mode == "F":
        raise DataError("floating-point pixels have no known range; save the image with 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray(_scaled(image, bits)).convert(mode)
    has_deep_colors = ";16" in _raw_mode(image)
    image.load()
    if has_deep_colors:
        _check_high_bytes(np.asarray(image), bits)
    return image.convert(mode)


def _scaled(image: Any, bits: int | None) -> npt.NDArray[np.uint8]:
    bits = own_bits(image) or bits
    is_16_bit = is_deep(image)
    is_inverted = image.format == "TIFF" and image.tag_v2.get(WHITE_IS_ZERO[0]) == WHITE_IS_ZERO[1]
    image.load()
    values = np.asarray(image).astype(np.int64)
    highest = int(values.max(initial=0))
    if bits is None and is_16_bit and highest >= 2 ** DEPTHS[-2]:
        bits = 16
    if bits is None:
        kind = "16-bit" if is_16_bit else "32-bit"
        raise DataError(
            f"{kind} pixels, none above {highest:,}: the value of white is unknown; give bits=12 if it is 4095, or "
            "bits=16 if it is 65535, or save the image with 8 bits"
        )
    white = 2**bits - 1
    if highest > white or values.min(initial=0) < 0:
        raise DataError(
            f"pixels from {values.min():,} to {highest:,}, but bits={bits} allow 0 to {white:,}; give bits=16 if white "
            "is 65535"
        )
    return ((white - values if is_inverted else values) >> (bits - 8)).astype(np.uint8)


def _check_high_bytes(values: npt.NDArray[np.uint8], bits: int | None) -> None:
    """Check that the high bytes of 16-bit colors, which is all that Pillow reads, are the image.

    Raises:
        DataError: they are not, or perhaps not.
    """
    highest = int(values[..., :3].max(initial=0))
    if bits != 16 and (bits is not None or highest < 2 ** (DEPTHS[-2] - 8)):
        raise DataError(
            f"16 bits per color, none above {highest * 256 + 255:,}, and only the high bytes can be read: save the "
            "image with 8 bits per color, or give bits=16 if white is 65535"
        )


def _raw_mode(image: Any) -> str:
    arguments = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def is_deep(image: Any) -> bool:
    """Return whether an image has one channel of 16 bits; older versions of Pillow call the mode of some I."""
    return bool(image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")))


def own_bits(image: Any) -> int | None:
    """Return the number of bits that the file declares and Pillow scales to, if it says so."""
    if image.format in ("PPM", "JPEG2000"):
        return 16
    declared = image.tag_v2.get(BITS_PER_SAMPLE, (16,)) if image.format == "TIFF" else (16,)
    return int(declared[0]) if 8 < declared[0] < 16 else None
