"""Boxes, masks and outlines drawn on pictures: pure functions, no Streamlit.

What matters differs in line or hatching and not in colour alone; names stand in the picture.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from suite.leaderboard.text import printable
from suite.reports.images import enlarged
from suite.reports.objects import ASIDE, EXTRA, FOUND, MISSED, NOTHING, WRONG, Box, Scene

Array = NDArray[Any]
Pattern = tuple[int, int] | None
Place = tuple[float, float, float, float]

WIDTH = 384
"""Width in pixels that small scenes are enlarged to, at most."""

DARK, WHITE, SQUARE = "#111111", "#ffffff", "#8fff8f"

LINES: dict[str, tuple[str, Pattern]] = {
    FOUND: ("#6cc0ff", None),
    WRONG: ("#ffa733", (12, 5)),
    NOTHING: ("#ff9bd5", (3, 4)),
    EXTRA: ("#f0e442", (12, 3)),
    ASIDE: ("#bbbbbb", (3, 7)),
}
"""Colour and pattern of the lines of detections: pixels drawn, pixels left out; None is solid."""

TRUTH: Pattern = (5, 4)
"""Pattern of the thin white line around a true box."""

IGNORED = 255
"""Class of pixels that do not count."""

COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00"),
    *("#332288", "#88ccee", "#999933", "#aa4499", "#44aa99", "#882255", "#ddcc77"),
)
"""Class colours that most colour-blind readers tell apart; from the fifteenth class on they begin again."""

TAGS = 12
"""Regions of a mask that carry their name, at most."""

SMALL = 10
"""Pixels of the image below which a region of a mask carries no name."""

LONGEST = 12
"""Characters of a name in a picture."""


def boxed(image: NDArray[np.uint8], scene: Scene, classes: Sequence[str], width: int = WIDTH) -> Image.Image:
    """Return an image (h, w, 3) enlarged, with detections, their class and score, and true boxes in thin white.

    A missed object's line is as thick as a detection's, and its name stands under it, as does that of an object that
    was given another class.
    """
    large = enlarged(image, width)
    factor, thick = large.width / image.shape[1], max(2, large.width // 150)
    draw = ImageDraw.Draw(large)
    for box in scene.truth:
        _outline(draw, _scaled(box, factor), WHITE, TRUTH, thick if box.state == MISSED else max(1, thick // 2))
    for box in scene.detections:
        colour, pattern = LINES[box.state]
        _outline(draw, _scaled(box, factor), colour, pattern, thick)
    taken: list[Place] = []
    for box in scene.detections:
        text = f"{name_of(box.label, classes)} {100 * (box.score or 0):.0f} %"
        _tag(draw, _scaled(box, factor)[0:2], text, LINES[box.state][0], taken)
    for box in scene.truth:
        if box.state in (MISSED, WRONG):
            word = "missed" if box.state == MISSED else "truly"
            text = f"{word} {name_of(box.label, classes)}"
            _tag(draw, _scaled(box, factor)[0::3], text, WHITE, taken, below=True)
    return large


def tinted(
    image: NDArray[np.uint8], mask: Array, classes: Sequence[str], truth: Array | None = None, width: int = WIDTH
) -> Image.Image:
    """Return an image (h, w, 3) enlarged, its classes (h, w) as colours and names, hatched where the truth differs.

    Background stays as it is. Pixels that do not count (255) are grey, and never hatched.
    """
    shown = image.astype(float)
    for index in np.unique(mask):
        if is_tinted(int(index), classes):
            place = mask == index
            shown[place] = 0.4 * shown[place] + 0.6 * np.array(colour_of(int(index)))
    large = np.asarray(enlarged(shown.round().astype(np.uint8), width)).copy()
    factor = large.shape[1] // image.shape[1]
    if truth is not None:
        _hatch(large, _grown((mask != truth) & (truth != IGNORED), factor))
    picture = Image.fromarray(large)
    draw, taken = ImageDraw.Draw(picture), list[Place]()
    for index, row, column in _regions(mask, classes):
        _tag(draw, (factor * (column - 2), factor * (row + 2)), name_of(index, classes), WHITE, taken)
    return picture


def outlined(picture: Image.Image, region: Array) -> Image.Image:
    """Return a picture with the border of a region, bool (h, w), in black and white dashes."""
    large = np.asarray(picture).copy()
    inside = np.asarray(Image.fromarray(np.asarray(region, dtype=bool)).resize(picture.size, Image.Resampling.NEAREST))
    border = inside & ~ndimage.binary_erosion(inside, iterations=max(2, picture.width // 190))
    row, column = np.indices(border.shape)
    large[border] = np.where(((row + column) // 6 % 2 == 0)[..., None], 0, 255)[border]
    return Image.fromarray(large)


def squared(picture: Image.Image, corner: Sequence[float], side: float, factor: float) -> Image.Image:
    """Return a picture with a square of the image, whose upper left corner is (row, column), in long green dashes."""
    marked = picture.copy()
    row, column = (float(value) for value in corner)
    box = tuple(factor * value for value in (column, row, column + side, row + side))
    _outline(ImageDraw.Draw(marked), box, SQUARE, (18, 8), max(2, picture.width // 150))
    return marked


def key(indices: Sequence[int], classes: Sequence[str], width: int = 800) -> Image.Image:
    """Return a legend: a patch of each class's colour with its name."""
    font, cells = ImageFont.load_default(size=14), []
    for index in indices:
        name = name_of(index, classes)
        cells.append((index, name, 34 + int(font.getlength(name))))
    places, at = [], [0, 0]
    for _, _, length in cells:
        at = [0, at[1] + 24] if at[0] and at[0] + length > width else at
        places.append(tuple(at))
        at = [at[0] + length, at[1]]
    picture = Image.new(
        "RGB", (max([x + c[2] for (x, _), c in zip(places, cells, strict=True)], default=1), at[1] + 24)
    )
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, *picture.size), fill=WHITE)
    for (x, y), (index, name, _) in zip(places, cells, strict=True):
        draw.rectangle((x + 4, y + 4, x + 20, y + 20), fill=colour_of(index), outline=DARK)
        draw.text((x + 25, y + 12), name, fill=DARK, font=font, anchor="lm")
    return picture


def is_tinted(index: int, classes: Sequence[str]) -> bool:
    """Return whether a class has a colour: all but one that is called background."""
    return not (0 <= index < len(classes) and classes[index].lower() == "background")


def colour_of(index: int) -> tuple[int, int, int]:
    """Return the colour of a class, 0 to 255; grey for pixels that do not count."""
    text = "#808080" if index == IGNORED else COLOURS[index % len(COLOURS)]
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def name_of(index: int, classes: Sequence[str]) -> str:
    """Return the name of a class as a picture shows it."""
    if index == IGNORED and index >= len(classes):
        return "not counted"
    name = printable(classes[index]) if 0 <= index < len(classes) else f"class {index}"
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _regions(mask: Array, classes: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield class, row and column of the largest regions, at the pixel that is nearest to the middle of each."""
    found = []
    for index in np.unique(mask):
        if is_tinted(int(index), classes):
            parts, count = ndimage.label(mask == index)
            found += [(np.argwhere(parts == part), int(index)) for part in range(1, count + 1)]
    for pixels, index in sorted(found, key=lambda entry: -len(entry[0]))[:TAGS]:
        if len(pixels) >= SMALL:
            row, column = pixels[np.abs(pixels - pixels.mean(axis=0)).sum(axis=1).argmin()]
            yield index, int(row), int(column)


def _grown(flags: Array, factor: int) -> NDArray[np.bool_]:
    return np.asarray(flags, dtype=bool).repeat(factor, axis=0).repeat(factor, axis=1)


def _hatch(large: NDArray[np.uint8], place: NDArray[np.bool_]) -> None:
    row, column = np.indices(place.shape)
    line = (row + column) % 10
    large[place & (line < 2)] = 255
    large[place & ((line == 2) | (line == 9))] = 0


def _scaled(box: Box, factor: float) -> tuple[float, ...]:
    return tuple(factor * value for value in box.corners)


def _outline(draw: ImageDraw.ImageDraw, box: Sequence[float], colour: str, pattern: Pattern, thick: int) -> None:
    """Draw a rectangle over a dark line, so that it shows on any image."""
    left, top, right, bottom = box
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    for shade, extra in ((DARK, 2), (colour, 0)):
        for start, end in itertools.pairwise(corners):
            for piece in _pieces(start, end, pattern):
                draw.line(piece, fill=shade, width=thick + extra)


def _pieces(start: tuple[float, float], end: tuple[float, float], pattern: Pattern) -> Iterator[list[Any]]:
    """Yield the parts of a straight line that a pattern draws."""
    a, b = np.array(start), np.array(end)
    length = float(np.abs(b - a).max())
    if pattern is None or not length:
        yield [start, end]
        return
    on, off = pattern
    for at in np.arange(0, length, on + off):
        first, last = (a + (b - a) * min(1.0, place / length) for place in (at, at + on))
        yield [tuple(first), tuple(last)]


def _tag(
    draw: ImageDraw.ImageDraw,
    at: Sequence[float],
    text: str,
    colour: str,
    taken: list[Place],
    *,
    below: bool = False,
) -> None:
    """Write on a dark patch whose left edge is at x, above y or below it, moved to where the picture has room."""
    font = _font(draw.im.size[0])
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 6
    x, y = _room((at[0], at[1] if below else at[1] - height), (width, height), draw.im.size, taken)
    taken.append((x, y, x + width, y + height))
    draw.rectangle(taken[-1], fill=DARK, outline=colour)
    draw.text((x + 3 - left, y + 3 - top), text, fill=colour, font=font)


def _room(
    at: tuple[float, float], size: tuple[float, float], picture: Sequence[int], taken: Sequence[Place]
) -> tuple[float, float]:
    """Return the corner nearest to the one asked for, above or below it, at which a patch hides no other."""
    (width, height), (most_x, most_y) = size, (picture[0] - size[0], picture[1] - size[1])
    x, first = min(max(0, at[0]), max(0, most_x)), min(max(0, at[1]), max(0, most_y))
    for step in (0, 1, -1, 2, -2, 3, -3, 4, -4):
        y = first + step * (height + 1)
        hides = any(
            x < right and x + width > left and y < bottom and y + height > top for left, top, right, bottom in taken
        )
        if not hides and 0 <= y <= max(0, most_y):
            return x, y
    return x, first


def _font(width: int) -> Any:
    return ImageFont.load_default(size=min(28, max(12, width // 28)))
