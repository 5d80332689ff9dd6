"""Your own text, from a file or a folder of files, split by position."""

from pathlib import Path

from suite.data.formats.text_files import entries, text_of, unread
from suite.data.regular_files import existing_path
from suite.data.split_files import EVERYTHING, SPLIT_FOLDERS, TRAIN_FRACTIONS, check_no_split, portion
from suite.data.splitting import SPLITS
from suite.data.windows import Passage, SplitLimits, Window, cut, samples
from suite.errors import DataError
from suite.types import Remark, Sample

FRACTIONS = (0.8, 0.1, 0.1)
"""Shares of train, validation and test, by position, of a text without a split of its own."""

PART_NAMES = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}
"""Names that a split's file may have, in lower case and without the extension."""


def read_plain(file: Path) -> str:
    """Return a file's text with line feeds for all line endings.

    Raises:
        DataError: it cannot be read, is empty, is not UTF-8 or holds a NUL.
    """
    text = text_of(file)
    if "\0" in text:
        raise DataError(f"{file.name} has a NUL at character {text.index(chr(0))}; this is not a file of text.")
    if not text.strip():
        raise DataError(f"{file.name} is empty; give a text.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: str, split: str, *, window: Window, limits: SplitLimits) -> list[Sample | Remark]:
    """Return the windows of one split of a text; see `suite.data.windows.samples`.

    Args:
        path: a file, or a folder of .txt files. Files named train, validation (val, valid, dev) and test are the
            splits (see `split_files.portion`), and other files are then not read. Without such names, each file is cut
            into its first 80 %, the next 10 % and the last 10 %, so that another file moves no text to another split;
            a split's pieces are one text in the order of the files' names.
        split: train, validation or test.
        window: how many characters a sample has.
        limits: how much of each split is used.

    Raises:
        DataError: there is no text, it cannot be read or is too short, or two files have the same text.
    """
    files, remarks = _files(existing_path(path, "give a text file or a folder of .txt files"))
    parts = _distinct(files)
    share = portion(parts, split)
    if share.part is None:
        return list(remarks)
    name = share.part if share.part != EVERYTHING else "text"
    pieces = [Passage(name, text) for text in parts[share.part]]
    if share.fractions is not None:
        fractions = TRAIN_FRACTIONS if share.fractions == TRAIN_FRACTIONS else FRACTIONS
        pieces = [cut(piece, split, fractions) for piece in pieces]
    return [*remarks, *share.remarks, *samples(_joined(pieces, split), split, window=window, limits=limits)]


def _joined(pieces: list[Passage], split: str) -> Passage:
    """Return the pieces of one split as one passage; passages of several splits start at different positions."""
    separators = SPLITS.index(split) * (len(pieces) - 1)  # those of the splits before it
    start = sum(piece.start for piece in pieces) + separators
    return Passage(pieces[0].name, "\n".join(piece.text for piece in pieces), start)


def _files(path: Path) -> tuple[dict[str, list[Path]], list[Remark]]:
    """Return the files of every part on disk, and remarks on what else is there."""
    if not path.is_dir():
        return {EVERYTHING: [path]}, []
    files = [file for file in entries(path) if file.suffix.lower() == ".txt"]
    if not files:
        raise DataError(f"{str(path)!r} has no .txt files; give a text file or a folder of them.")
    named: dict[str, list[Path]] = {}
    for file in files:
        if part := PART_NAMES.get(file.stem.lower()):
            named.setdefault(part, []).append(file)
    if not named:
        check_no_split([file.stem for file in files], path)
    parts = named or {EVERYTHING: files}
    return parts, list(unread(path, [file for part in parts.values() for file in part]))


def _distinct(named: dict[str, list[Path]]) -> dict[str, list[str]]:
    texts: dict[str, Path] = {}
    parts = {}
    for part, files in named.items():
        if part != EVERYTHING and len(files) > 1:
            raise DataError(f"{files[0].name} and {files[1].name} both name the {part} part; keep one of them.")
        contents = [read_plain(file) for file in files]
        for file, content in zip(files, contents, strict=True):
            if (first := texts.setdefault(content, file)) != file:
                raise DataError(
                    f"{first.name} and {file.name} are the same text; models must not be evaluated on what they were "
                    "trained on. Remove one of them."
                )
        parts[part] = contents
    return parts
