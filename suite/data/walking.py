"""The files in a folder and its subfolders: one rule for every format."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from suite.data.regular_files import problem_of

Identity = tuple[int, int]
"""Device and inode of a folder, which are equal for the folder and links to it."""


@dataclass
class Listing:
    """What is in a folder.

    Attributes:
        files: regular files, sorted.
        folders: sorted.
        problems: by path, why an entry can be used as neither.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    problems: dict[Path, str] = field(default_factory=dict)


def walk(folder: Path) -> Listing:
    """Return what is in a folder and its subfolders, but nothing hidden; linked folders are followed, once each.

    No file is opened. Problems are FIFOs, sockets, devices, broken links, folders that cannot be opened, and links to a
    folder above or to one that another link led to.
    """
    found = Listing()
    top = folder.resolve()
    pending = [(folder, frozenset(_identity(parent) for parent in (top, *top.parents)))]
    linked: dict[Identity, Path] = {}
    while pending:
        current, above = pending.pop()
        inside = children(current)
        found.files += inside.files
        found.problems |= inside.problems
        for child in inside.folders:
            if problem := _repeats(child, above, linked):
                found.problems[child] = problem
            else:
                found.folders.append(child)
                pending.append((child, above | {_identity(child)}))
    found.files.sort()
    found.folders.sort()
    return found


def children(folder: Path) -> Listing:
    """Return what is directly in a folder, but nothing hidden: what begins with a dot, and macOS's ``__MACOSX``."""
    found = Listing()
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
    except OSError as error:
        return Listing(problems={folder: f"a folder that cannot be opened: {error.strerror}"})
    for entry in sorted(visible, key=lambda entry: entry.name):
        path = folder / entry.name
        if problem := problem_of(path) if _may_be_special(entry) else None:
            found.problems[path] = problem
        else:
            (found.folders if entry.is_dir() else found.files).append(path)
    return found


def _may_be_special(entry: "os.DirEntry[str]") -> bool:
    """Return whether the system has to be asked what an entry is; for files and folders, the folder says it."""
    return not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))


def evenly(files: Sequence[Path], count: int) -> Iterator[Path]:
    """Yield at most `count` files, at equal distances in the list."""
    step = max(1.0, len(files) / count)
    for number in range(min(count, len(files))):
        yield files[int(number * step)]


def _repeats(folder: Path, above: frozenset[Identity], linked: dict[Identity, Path]) -> str | None:
    """Return why a folder is not entered; remember where links lead, since links in a circle multiply the files."""
    try:
        identity = _identity(folder)
    except OSError as error:  # the folder above may be listed, but not entered
        return f"a folder that cannot be opened: {error.strerror}"
    if identity in above:
        return f"a link to {str(folder.resolve())!r}, a folder above it, which is not read again"
    if not folder.is_symlink():
        return None
    first = linked.setdefault(identity, folder)
    return None if first == folder else f"a link to the same folder as {str(first)!r}, which is not read again"


def _identity(folder: Path) -> Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino
