"""Boxes, masks and outlines drawn on images: pure functions, no Streamlit.

Everything important differs in line style or hatching and not only in color; names are written into the image.
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
from suite.reports.objects import DETECTED, DUPLICATE, FALSE_POSITIVE, MISSED, NOT_SCORED, WRONG_CLASS, Box, Scene

Array = NDArray[Any]
Pattern = tuple[int, int] | None
Rectangle = tuple[float, float, float, float]

WIDTH = 384
"""Width in pixels that small scenes are enlarged to, at most."""

DARK, WHITE, SQUARE = "#111111", "#ffffff", "#8fff8f"

LINES: dict[str, tuple[str, Pattern]] = {
    DETECTED: ("#6cc0ff", None),
    WRONG_CLASS: ("#ffa733", (12, 5)),
    FALSE_POSITIVE: ("#ff9bd5", (3, 4)),
    DUPLICATE: ("#f0e442", (12, 3)),
    NOT_SCORED: ("#bbbbbb", (3, 7)),
}
"""Color and dash pattern of predicted boxes by state: pixels drawn, pixels left out; None is solid."""

TRUTH: Pattern = (5, 4)
"""Dash pattern of true boxes, in thin white."""

IGNORED = 255
"""Class of pixels that are not scored."""

COLORS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00"),
    *("#332288", "#88ccee", "#999933", "#aa4499", "#44aa99", "#882255", "#ddcc77"),
)
"""Class colors that most color-blind readers can distinguish; they repeat from the fifteenth class on."""

TAGS = 12
"""Largest number of labeled regions in a mask."""

SMALL = 10
"""Smallest number of pixels of a labeled region."""

LONGEST = 12
"""Longest name in an image, in characters."""


def boxed(image: NDArray[np.uint8], scene: Scene, classes: Sequence[str], width: int = WIDTH) -> Image.Image:
    """Return an image (h, w, 3) enlarged, with predicted boxes, their class and score, and true boxes in thin white.

    Missed objects have thick lines. The true class is written below objects that were missed or got another class.
    """
    large = enlarged(image, width)
    factor, thick = large.width / image.shape[1], max(2, large.width // 150)
    draw = ImageDraw.Draw(large)
    for box in scene.truth:
        _outline(draw, _scaled(box, factor), WHITE, TRUTH, thick if box.state == MISSED else max(1, thick // 2))
    for box in scene.detections:
        color, pattern = LINES[box.state]
        _outline(draw, _scaled(box, factor), color, pattern, thick)
    taken: list[Rectangle] = []
    for box in scene.detections:
        text = f"{name_of(box.label, classes)} {100 * (box.score or 0):.0f} %"
        _tag(draw, _scaled(box, factor)[0:2], text, LINES[box.state][0], taken)
    for box in scene.truth:
        if box.state in (MISSED, WRONG_CLASS):
            text = f"{'missed' if box.state == MISSED else 'true:'} {name_of(box.label, classes)}"
            _tag(draw, _scaled(box, factor)[0::3], text, WHITE, taken, below=True)
    return large


def tinted(
    image: NDArray[np.uint8], mask: Array, classes: Sequence[str], truth: Array | None = None, width: int = WIDTH
) -> Image.Image:
    """Return an image (h, w, 3) enlarged, its classes (h, w) as colors and names, hatched where the truth differs.

    Background keeps its colors. Pixels that are not scored (255) are gray and never hatched.
    """
    colors = image.astype(float)
    for index in np.unique(mask):
        if has_color(int(index), classes):
            region = mask == index
            colors[region] = 0.4 * colors[region] + 0.6 * np.array(color_of(int(index)))
    large = np.asarray(enlarged(colors.round().astype(np.uint8), width)).copy()
    factor = large.shape[1] // image.shape[1]
    if truth is not None:
        wrong = (mask != truth) & (truth != IGNORED)
        _hatch(large, wrong.repeat(factor, axis=0).repeat(factor, axis=1))
    picture = Image.fromarray(large)
    draw, taken = ImageDraw.Draw(picture), list[Rectangle]()
    for index, row, column in _regions(mask, classes):
        _tag(draw, (factor * (column - 2), factor * (row + 2)), name_of(index, classes), WHITE, taken)
    return picture


def outlined(picture: Image.Image, region: Array) -> Image.Image:
    """Return an image with the border of a region, bool (h, w), in black and white dashes."""
    large = np.asarray(picture).copy()
    inside = np.asarray(Image.fromarray(np.asarray(region, dtype=bool)).resize(picture.size, Image.Resampling.NEAREST))
    border = inside & ~ndimage.binary_erosion(inside, iterations=max(2, picture.width // 190))
    row, column = np.indices(border.shape)
    large[border] = np.where(((row + column) // 6 % 2 == 0)[..., None], 0, 255)[border]
    return Image.fromarray(large)


def squared(picture: Image.Image, corner: Sequence[float], side: float, factor: float) -> Image.Image:
    """Return an image with a square, whose upper left corner is (row, column), in long green dashes."""
    marked = picture.copy()
    row, column = (float(value) for value in corner)
    box = tuple(factor * value for value in (column, row, column + side, row + side))
    _outline(ImageDraw.Draw(marked), box, SQUARE, (18, 8), max(2, picture.width // 150))
    return marked


def legend(indices: Sequence[int], classes: Sequence[str], width: int = 800) -> Image.Image:
    """Return a legend: the color of each class with its name."""
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
        draw.rectangle((x + 4, y + 4, x + 20, y + 20), fill=color_of(index), outline=DARK)
        draw.text((x + 25, y + 12), name, fill=DARK, font=font, anchor="lm")
    return picture


def has_color(index: int, classes: Sequence[str]) -> bool:
    """Return whether a class has a color: every class but one called background."""
    return not (0 <= index < len(classes) and classes[index].lower() == "background")


def color_of(index: int) -> tuple[int, int, int]:
    """Return the color of a class, 0 to 255; gray for pixels that are not scored."""
    text = "#808080" if index == IGNORED else COLORS[index % len(COLORS)]
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def name_of(index: int, classes: Sequence[str]) -> str:
    """Return the name of a class as an image shows it."""
    if index == IGNORED and index >= len(classes):
        return "not scored"
    name = printable(classes[index]) if 0 <= index < len(classes) else f"class {index}"
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _regions(mask: Array, classes: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield class, row and column of the largest regions, at the pixel nearest to the center of each."""
    regions = []
    for index in np.unique(mask):
        if has_color(int(index), classes):
            parts, count = ndimage.label(mask == index)
            regions += [(np.argwhere(parts == part), int(index)) for part in range(1, count + 1)]
    for pixels, index in sorted(regions, key=lambda entry: -len(entry[0]))[:TAGS]:
        if len(pixels) >= SMALL:
            row, column = pixels[np.abs(pixels - pixels.mean(axis=0)).sum(axis=1).argmin()]
            yield index, int(row), int(column)


def _hatch(large: NDArray[np.uint8], place: NDArray[np.bool_]) -> None:
    row, column = np.indices(place.shape)
    line = (row + column) % 10
    large[place & (line < 2)] = 255
    large[place & ((line == 2) | (line == 9))] = 0


def _scaled(box: Box, factor: float) -> tuple[float, ...]:
    return tuple(factor * value for value in box.corners)


def _outline(draw: ImageDraw.ImageDraw, box: Sequence[float], color: str, pattern: Pattern, thick: int) -> None:
    """Draw a rectangle with a dark edge, so that it is visible on any image."""
    left, top, right, bottom = box
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    for shade, extra in ((DARK, 2), (color, 0)):
        for start, end in itertools.pairwise(corners):
            for dash in _dashes(start, end, pattern):
                draw.line(dash, fill=shade, width=thick + extra)


def _dashes(start: tuple[float, float], end: tuple[float, float], pattern: Pattern) -> Iterator[list[Any]]:
    """Yield the segments of a straight line that a dash pattern draws."""
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
    color: str,
    taken: list[Rectangle],
    *,
    below: bool = False,
) -> None:
    """Write on a dark rectangle above or below a point (x, y), moved to where the image has room."""
    font = ImageFont.load_default(size=min(28, max(12, draw.im.size[0] // 28)))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 6
    x, y = _room((at[0], at[1] if below else at[1] - height), (width, height), draw.im.size, taken)
    taken.append((x, y, x + width, y + height))
    draw.rectangle(taken[-1], fill=DARK, outline=color)
    draw.text((x + 3 - left, y + 3 - top), text, fill=color, font=font)


def _room(
    at: tuple[float, float], size: tuple[float, float], picture: Sequence[int], taken: Sequence[Rectangle]
) -> tuple[float, float]:
    """Return the corner nearest to `at`, above or below it, at which a rectangle covers no other one."""
    (width, height), (most_x, most_y) = size, (picture[0] - size[0], picture[1] - size[1])
    x, first = min(max(0, at[0]), max(0, most_x)), min(max(0, at[1]), max(0, most_y))
    for step in (0, 1, -1, 2, -2, 3, -3, 4, -4):
        y = first + step * (height + 1)
        overlaps = any(
            x < right and x + width > left and y < bottom and y + height > top for left, top, right, bottom in taken
        )
        if not overlaps and 0 <= y <= max(0, most_y):
            return x, y
    return x, first
