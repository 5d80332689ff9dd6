"""Your own text, from a file or a folder of files, split by position."""

import codecs
from pathlib import Path

from suite.data.split_files import CUT, EVERYTHING, SPLIT_FOLDERS, portion
from suite.data.windows import Amounts, Stretch, Window, cut, samples
from suite.errors import DataError
from suite.types import Sample

FRACTIONS = (0.8, 0.1, 0.1)
"""Shares of train, validation and test of a text without a split of its own, by position."""

PART_NAMES = {name: split for split, names in SPLIT_FOLDERS.items() for name in names} | {"dev": "validation"}
"""What a file of one split may be called, without its ending and in lower case."""


def decoded(content: bytes, name: str) -> str:
    """Return bytes as text, without a mark of byte order.

    Raises:
        DataError: they are not UTF-8.
    """
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DataError(
            f"{name} is UTF-16, by its first two bytes; convert it, "
            f"for example: iconv -f utf-16 -t utf-8 {name} > converted-{name}"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec counts from behind the mark of byte order.
        place = error.start + (len(content) - len(error.object))
        raise DataError(
            f"{name} is not UTF-8 at byte {place} (0x{content[place]:02x}); convert it, "
            f"for example: iconv -f latin1 -t utf-8 {name} > converted-{name}"
        ) from error


def read_plain(file: Path) -> str:
    """Return a file's text with line feeds between its lines, however they were ended.

    Raises:
        DataError: it cannot be read, is empty, is not UTF-8 or holds a NUL.
    """
    try:
        text = decoded(file.read_bytes(), file.name)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    if "\0" in text:
        raise DataError(f"{file.name} has a NUL at character {text.index(chr(0))}; this is not a file of text.")
    if not text.strip():
        raise DataError(f"{file.name} is empty; give a text.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: str, split: str, *, window: Window, amounts: Amounts) -> list[Sample]:
    """Return the windows of one split of a text; see `suite.data.windows.samples`.

    Args:
        path: a file, or a folder of .txt files. Files named train, validation (val, valid, dev) and test are the
            splits (see `split_files.portion`), and others beside them are not read; otherwise all files
            are one text in the order of their names, cut into the first 80 %, the next 10 % and the last 10 %.
        split: train, validation or test.
        window: how many characters a sample has.
        amounts: how much of each split is used.

    Raises:
        DataError: there is no text, it cannot be read or is too short, or two files are the same.
    """
    parts = _parts(Path(path).expanduser())
    share = portion(parts, split)
    if share.part is None:
        return []
    piece = Stretch(share.part if share.part != EVERYTHING else "text", parts[share.part])
    if share.fractions is not None:
        piece = cut(piece, split, CUT if share.fractions == CUT else FRACTIONS)
    return samples(piece, split, window=window, amounts=amounts)


def _parts(path: Path) -> dict[str, str]:
    """Return the text of every part on disk."""
    if path.is_file():
        return {EVERYTHING: read_plain(path)}
    if not path.is_dir():
        raise DataError(f"{str(path)!r} is neither a file nor a folder; give a text file or a folder of .txt files.")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".txt" and not file.name.startswith("."))
    if not files:
        raise DataError(f"{str(path)!r} has no .txt files; give a text file or a folder of them.")
    named: dict[str, list[Path]] = {}
    for file in files:
        if part := PART_NAMES.get(file.stem.lower()):
            named.setdefault(part, []).append(file)
    return _distinct(named or {EVERYTHING: files})


def _distinct(named: dict[str, list[Path]]) -> dict[str, str]:
    texts: dict[str, Path] = {}
    parts = {}
    for part, files in named.items():
        if part != EVERYTHING and len(files) > 1:
            raise DataError(f"{files[0].name} and {files[1].name} both name the {part} part; keep one of them.")
        contents = [read_plain(file) for file in files]
        for file, content in zip(files, contents, strict=True):
            if (twin := texts.setdefault(content, file)) != file:
                raise DataError(
                    f"{twin.name} and {file.name} are the same text; what is learnt must not be what is judged on. "
                    "Remove one of them."
                )
        parts[part] = "\n".join(contents)
    return parts
