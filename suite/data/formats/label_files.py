"""What the label files of several formats share: their encoding, their numbers and flags, and what is said of them."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from suite.data.formats.image_files import BoxedObject
from suite.data.regular_files import content_of
from suite.errors import DataError
from suite.types import Remark

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
"""A number as text; Python's `float` also takes nan, inf and 1_000."""

LONGEST_NUMBER, LARGEST = 300, 1e300
"""Characters of a number as text, and the size of a number, from which on it is not read."""

TRUE, FALSE = ("true", "yes", "t", "y"), ("", "false", "no", "f", "n", "none", "null", "unspecified")
"""Words for a flag, in lower case."""

REPEATED = "labels that repeat another one of their image (same class and box) and count once"


SLACK, BEYOND = 1.5, "boxes that reach beyond their image and are cut at its edge"
"""Pixels that tools which count from 0 or 1 differ by, and what is said of boxes that reach farther."""


def number(value: Any) -> float:
    """Return a number, or the number that a text is, as a float.

    Raises:
        DataError: it is neither, or not finite.
    """
    found = value
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER and NUMBER.fullmatch(value.strip()):
        found = float(value)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if not is_number or not abs(found) < LARGEST:  # false for NaN, too
        raise DataError(f"{shortened(value)}; expected a finite number")
    return float(found)


def whole(value: Any) -> int:
    """Return a whole number, which may be written as 3, 3.0, "3" or "3.0".

    Raises:
        DataError: it is none.
    """
    found = number(value)
    if not found.is_integer() or abs(found) >= 2**53:
        raise DataError(f"{shortened(value)}; expected a whole number")
    return int(found)


def flag(value: Any) -> bool:
    """Return whether a flag is set: 1 and true words are, 0, false words, empty texts and None are not.

    Raises:
        DataError: it is anything else.
    """
    if value is None or isinstance(value, bool):
        return bool(value)
    word = value.strip().casefold() if isinstance(value, str) else None
    if word in TRUE or word in FALSE:
        return word in TRUE
    try:
        return (0.0, 1.0).index(number(value)) == 1
    except (DataError, ValueError):
        raise DataError(f"{shortened(value)}; expected 1 or 0, or a word for true or false") from None


def shortened(value: Any) -> str:
    """Return a value as it is shown in a message."""
    shown = repr(value) if isinstance(value, str | float | bool | None) else str(value)[:200]
    return shown if len(shown) <= 60 else shown[:57] + "..."


def around(points: Sequence[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Return the box x1, y1, x2, y2 around a polygon.

    Raises:
        DataError: it has fewer than three points.
    """
    if len(points) < 3:
        raise DataError(f"a polygon of {len(points)} points; expected at least 3")
    columns, rows = zip(*points, strict=True)
    return min(columns), min(rows), max(columns), max(rows)


def unicode_text(file: Path) -> str:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32, as its first bytes say.

    Raises:
        DataError: it is no file, or cannot be read or decoded.
    """
    content = content_of(file)
    return decoded_as(content, json.detect_encoding(content), file)


def text_lines(file: Path) -> list[str]:
    """Return the lines of a text file in Unicode, stripped of white space, empty ones included.

    Raises:
        DataError: it is no file, or cannot be read or decoded.
    """
    text = unicode_text(file).replace("\r\n", "\n").replace("\r", "\n")
    return [line.strip() for line in text.split("\n")]


def listed_names(file: Path, known: Collection[str]) -> tuple[list[str], list[Remark]]:
    """Return the names in a list of images, one a line, and a remark if some are repeated; comments (#) are skipped.

    A name may have spaces: a line that is one of the known names counts as a whole, others by their first word.

    Raises:
        DataError: the file cannot be read or decoded.
    """
    lines = [line for line in text_lines(file) if line in known or (line and not line.startswith("#"))]
    counts = Counter(line if line in known else line.split()[0] for line in lines)
    repeated = [name for name, count in counts.items() if count > 1]
    text = f"{file.name}: images listed more than once, which count once: {len(repeated):,}, such as"
    return list(counts), [Remark(f"{text} {repeated[0]}")] if repeated else []


def decoded_as(content: bytes, encoding: str, file: Path) -> str:
    """Decode bytes.

    Raises:
        DataError: the encoding is unknown, or does not fit; the message names the line.
    """
    try:
        return content.decode(encoding)
    except LookupError:
        raise DataError(f"{file.name}:1: the encoding {encoding!r} is unknown; save the file as UTF-8") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file.name}:{line}: not {encoding}: {error.reason}; save the file as UTF-8") from error
    except UnicodeError as error:
        raise DataError(f"{file.name}: not {encoding}: {error}; save the file as UTF-8") from error


class Notes:
    """Places where label files hold something that is read in a way of which users must know."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = defaultdict(list)

    def add(self, what: str, place: str) -> None:
        """Note a place; `what` says in the plural what is there."""
        self._places[what].append(place)

    def remarks(self, part: str) -> Iterator[Remark]:
        """Yield one remark for all places of a kind in a part of the data."""
        for what, places in self._places.items():
            yield Remark(f"{part}: {what}: {len(places):,}, such as {places[0]}")

    def collect(
        self, objects: dict[BoxedObject, None], item: BoxedObject, place: str, size: tuple[int, int] | None = None
    ) -> None:
        """Add an object to those of its image; note its place if it is one of them, or leaves an image of this size."""
        if item in objects:
            self.add(REPEATED, place)
        if size and (min(item.box[:2]) < -SLACK or item.box[2] > size[0] + SLACK or item.box[3] > size[1] + SLACK):
            self.add(BEYOND, place)
        objects[item] = None
