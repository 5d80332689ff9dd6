"""Files of text: decoded strictly, and named if they are something else."""

import codecs
import json
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from suite.data.regular_files import content_of
from suite.data.walking import children
from suite.errors import DataError
from suite.escaping import escaped_name
from suite.file_kinds import HEAD, disguise
from suite.types import Remark

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # begins with that of UTF-16, and so comes first
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks of encodings that are not read."""


def decoded(content: bytes, name: str) -> str:
    """Decode UTF-8 and remove the byte order mark, if there is one.

    Raises:
        DataError: they are not UTF-8.
    """
    if encoding := next((encoding for mark, encoding in MARKS.items() if content.startswith(mark)), None):
        raise DataError(f"{name} is {encoding.upper()}, by its byte order mark; {_conversion(name, encoding)}")
    if 4 * content.count(0) > len(content) > 0:
        raise DataError(f"{name} has NULs in place of many letters, as UTF-16 has; {_conversion(name, 'utf-16le')}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if kind := disguise(content[:HEAD]):
            raise DataError(f"{name} is {kind}; expected a text in UTF-8.") from error
        # The codec counts bytes from after the byte order mark.
        position = error.start + (len(content) - len(error.object))
        raise DataError(
            f"{name} is not UTF-8 at byte {position} (0x{content[position]:02x}); {_conversion(name, 'latin1')}"
        ) from error


def _conversion(name: str, encoding: str) -> str:
    source, target = shlex.quote(name), shlex.quote(f"converted-{name}")
    return f"convert it, for example: iconv -f {encoding} -t utf-8 {source} > {target}"


def text_of(file: Path) -> str:
    """Return the text of a file in UTF-8, with its line endings as they are.

    Raises:
        DataError: it cannot be read, is not UTF-8, or is a web page or a Git LFS pointer under another name.
    """
    content = content_of(file)
    text = decoded(content, file.name)
    is_json = content.lstrip()[:1] in (b"{", b"[")
    if content and not is_json and file.suffix.lower() not in (".html", ".htm", ".xml", ".svg"):
        if kind := disguise(content[:HEAD]):
            raise DataError(f"{file.name} is {kind}.")
    return text


def read_json(file: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(text_of(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read as JSON: {error}") from error


def rows_of(text: str) -> list[str]:
    """Return the lines of a table: they end with LF or CR LF, or with CR if there is neither."""
    text = text.replace("\r\n", "\n")
    return (text if "\n" in text else text.replace("\r", "\n")).split("\n")


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, whatever it is, by name and without hidden files.

    Raises:
        DataError: it cannot be read.
    """
    found = children(folder)
    if folder in found.problems:
        raise DataError(f"{str(folder)!r} is {found.problems[folder]}.")
    return sorted([*found.files, *found.folders, *found.problems])


def unread(folder: Path, used: Collection[Path]) -> Iterator[Remark]:
    """Yield a remark if a folder has files or folders that are not used; hidden ones do not count."""
    found = entries(folder)
    if left := [escaped_name(path.name) for path in found if path not in used]:
        verb, more = "is" if len(left) == 1 else "are", ", ..." if len(left) > 3 else ""
        yield Remark(
            f"{len(left):,} of {len(found):,} files and folders in {escaped_name(folder.name)} {verb} not read: "
            f"{', '.join(left[:3])}{more}"
        )
