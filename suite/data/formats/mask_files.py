"""Masks on disk: their values, and what these mean, from a look at some of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.formats.image_files import Photo
from suite.data.formats.image_pairs import Reader
from suite.data.formats.opening import open_image
from suite.data.formats.pixel_format import PixelFormat, remembered
from suite.data.walking import evenly
from suite.errors import DataError
from suite.types import Deferred, Rejected, Remark, Sample

Mask = npt.NDArray[np.uint8]

LOOKED_AT, MOST = 64, 1024
"""Masks with more than background that are looked at, and masks that are read to find them."""

IGNORED = 255

EIGHT_BIT = ("L", "P", "1")
"""Pillow's modes for masks with at most 256 values."""

MANY_COLORS = 256
"""Colors that are counted in a mask; a mask with more is a photograph."""

BLACK = (0, 0, 0)

LOSSY = ("JPEG", "MPO")
"""Pillow's formats that change the values of a mask."""


@dataclass(frozen=True)
class Meaning:
    """How values of masks become classes.

    Attributes:
        to_classes: takes the values of a mask (h, w) and returns class indices; None if they are class indices.
        remarks: what users must know of it.
    """

    to_classes: Callable[[Mask], Mask] | None = None
    remarks: tuple[Remark, ...] = ()


def mask_reader(form: PixelFormat, to_classes: Callable[[Mask], Mask] | None = None) -> Reader:
    """Return a reader of images with their masks (h, w) as targets, scaled as the images are, by nearest neighbor.

    Args:
        form: how images become arrays; the square to which they are scaled counts for masks, too.
        to_classes: takes the values of a mask file (h, w) and returns class indices; None if they are class indices.
    """
    key = f"size={form.size}, classes={getattr(to_classes, '__qualname__', to_classes)}"

    def read(name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
        target = Deferred(partial(_class_mask, file, to_classes, form.size), (str(file),), key)
        yield Sample(name, Photo(image, form, file).deferred(), target)

    return read


def read_mask(file: Path) -> Mask:
    """Return a mask's values (h, w) as they are stored: for a palette image the indices, not the colors.

    Raises:
        DataError: it is missing, cannot be read, is a JPEG file, or holds colors or values over 255.
    """
    with open_image(file) as image:
        if image.format in LOSSY:
            raise DataError(f"{file.name} is a JPEG file, which changes the values of masks; save them as PNG")
        if image.mode not in EIGHT_BIT and not image.mode.startswith("I"):
            raise DataError(
                f"a mask in mode {image.mode} with {_colors(image)}; expected one number per pixel: save class "
                "indices, not colors"
            )
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 255):
            raise DataError(f"a mask with values {values.min()} to {values.max()}; expected 0 to 255")
        return values.astype(np.uint8)


def _colors(image: Any) -> str:
    """Return the most frequent colors of an image in words."""
    counts = image.getcolors(MANY_COLORS)
    if counts is None:
        return f"over {MANY_COLORS} colors"
    colors = [color for _, color in sorted(counts, reverse=True)]
    return f"{len(colors)} colors ({', '.join(map(str, colors[:4]))}{', ...' if len(colors) > 4 else ''})"


def meaning_of(masks: Sequence[Path], classes: Sequence[str]) -> Meaning:
    """Return how the values of a data set's masks become classes.

    Values are class indices, and 255 is ignored. But masks of two classes are often saved as 0 and 255, which is white.

    Args:
        masks: the masks of all splits, sorted, so that all splits are read alike.
        classes: the classes in order.

    Raises:
        DataError: there are more than two classes, and the masks hold nothing but 0 and 255; or masks that hold only
            these stand beside some with numbers above the classes.
    """
    meaning = _meaning(_foregrounds(masks), classes)
    return replace(meaning, remarks=(*meaning.remarks, *_palette_remarks(masks)))


def _meaning(found: Sequence[frozenset[int]], classes: Sequence[str]) -> Meaning:
    white, indices = [values for values in found if values == {IGNORED}], [v for v in found if v - {IGNORED}]
    if not white or any(IGNORED in values for values in indices):
        return Meaning()
    if not indices and len(classes) == 2:
        text = f"masks hold only 0 and 255 ({len(white)} looked at): 255 is read as the class {classes[1]!r}"
        return Meaning(white_is_foreground, (Remark(f"{text}; save class indices if 255 is to be ignored"),))
    if beyond := sorted({value for values in indices for value in values if len(classes) <= value < IGNORED}):
        listed = ", ".join(map(str, beyond[:6])) + ", ..." * (len(beyond) > 6)
        raise DataError(
            f"The masks hold the values {listed} and 255, which look like shades of gray. Save class indices 0 to "
            f"{len(classes) - 1}, and 255 only where a pixel is ignored."
        )
    if not indices:
        raise DataError(
            f"The masks hold only 0 and 255 ({len(white)} looked at), and 255 is ignored, so no pixel is any of "
            f"{', '.join(classes[1:4])}. Save class indices 0 to {len(classes) - 1}."
        )
    if len(classes) > 2:
        return Meaning()
    text = f"of {len(found)} masks looked at, {len(white)} with only 0 and 255, and {len(indices)} with other values"
    return Meaning(remarks=(Remark(f"{text}: 255 is ignored in all of them"),))


def _palette_remarks(masks: Sequence[Path]) -> Iterator[Remark]:
    """Yield a remark if palettes suggest that indices are no classes: they differ, or the color of 0 is not black."""
    found = [(file, palette) for file in evenly(masks, LOOKED_AT) if (palette := remembered(_palette, file))]
    what = "masks are palette images, of which the indices are read as classes and not the colors"
    odd = next(
        (index for index, colors in enumerate(zip(*(p for _, p in found), strict=False)) if len({*colors}) > 1), 0
    )
    others = [(file, palette[odd]) for file, palette in found if palette[odd] != found[0][1][odd]]
    if others:
        first, (other, color) = found[0], others[0]
        text = f"but index {odd} is the color {first[1][odd]} in {first[0].name}, and {color} in {other.name}"
        yield Remark(f"{what}, {text}")
    elif found and found[0][1][0] != BLACK:
        yield Remark(f"{what}: index 0, the first class, is the color {found[0][1][0]}")


def _palette(file: Path) -> tuple[tuple[int, ...], ...]:
    """Return the colors of a palette image by index; nothing for other images."""
    with open_image(file) as image:
        values = (image.getpalette("RGB") or ()) if image.mode == "P" else ()
        return tuple(zip(values[::3], values[1::3], values[2::3], strict=False))


def white_is_foreground(values: Mask) -> Mask:
    """Return class 1 where a mask (h, w) of 0 and 255 is 255.

    Raises:
        DataError: it holds another value.
    """
    others = np.setdiff1d(values, [0, IGNORED])
    if len(others):
        raise DataError(f"a mask with the values {others[:4].tolist()}, among masks of only 0 and 255; save all alike")
    return np.equal(values, IGNORED).astype(np.uint8)


def _foregrounds(masks: Sequence[Path]) -> list[frozenset[int]]:
    """Return the values but 0 of some masks that have any; masks that cannot be read are left out."""
    found: list[frozenset[int]] = []
    for position in np.random.default_rng(0).permutation(len(masks))[:MOST]:
        values = remembered(_foreground, masks[position])
        if values:
            found.append(values)
        if len(found) == LOOKED_AT or (values and IGNORED in values and len(values) > 1):
            break
    return found


def _foreground(file: Path) -> frozenset[int]:
    return frozenset(np.unique(read_mask(file)).tolist()) - {0}


def _class_mask(file: Path, to_classes: Callable[[Mask], Mask] | None, size: int | None) -> Mask:
    from PIL import Image

    mask = read_mask(file) if to_classes is None else to_classes(read_mask(file))
    if size is None:
        return mask
    return np.array(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST), dtype=np.uint8)
