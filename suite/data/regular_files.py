"""Paths that users give, and files that are read only if they are regular files."""

import os
import stat
from pathlib import Path

from suite.errors import DataError

SPECIAL = {
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
"""What an entry of a folder can be beside a file, a folder or a link: opening it may wait forever."""


FOLDER = "give the folder that the data set was unpacked to"


def existing_path(path: str, expected: str) -> Path:
    """Return a path that exists, with the home folder in place of ``~``; `expected` says what to give instead.

    Raises:
        DataError: nothing is there.
    """
    return _found(path, "neither a file nor a folder", expected)


def existing_folder(path: str) -> Path:
    """Return a path as a folder.

    Raises:
        DataError: there is no such folder, or it cannot be opened.
    """
    found = _found(path, "not a folder", FOLDER)
    if not found.is_dir():
        raise DataError(f"{path!r} is not a folder; {FOLDER}.")
    if not os.access(found, os.R_OK | os.X_OK):
        raise DataError(f"{path!r} is a folder that cannot be opened; get the permission to read it.")
    return found


def _found(path: str, problem: str, expected: str) -> Path:
    if not isinstance(path, str | os.PathLike) or not str(path).strip():
        raise DataError(f"path={path!r} is not the name of a file or folder; {expected}.")
    try:
        found = Path(path).expanduser()
        found.stat()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path; an unknown user's home
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path!r} is {problem} ({reason}); {expected}.") from error
    return found


def problem_of(path: Path) -> str | None:
    """Return why a path is neither a regular file nor a folder; None if it is one of them."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # a ValueError: a name with a null character
        return _link(path) + (str(error.strerror) if isinstance(error, OSError) else str(error))
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return f"{SPECIAL.get(stat.S_IFMT(mode), 'a special file')}, not a file with data"


def _link(path: Path) -> str:
    try:
        return f"a link to {str(path.readlink())!r}, which cannot be followed: "
    except (OSError, ValueError):  # not a link
        return ""


def check_regular(file: Path) -> None:
    """Check that a path is a regular file or a link to one.

    Raises:
        DataError: it is missing, or a folder, FIFO, socket or device.
    """
    problem = problem_of(file) or ("a folder; expected a file" if file.is_dir() else None)
    if problem:
        raise DataError(f"{str(file)!r} cannot be read: {problem}")


def content_of(file: Path) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        DataError: it is none, or cannot be read.
    """
    check_regular(file)
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{str(file)!r} cannot be read: {error.strerror or error}") from error
