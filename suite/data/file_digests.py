"""SHA-256 of files, remembered by absolute path, size and modification time."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from suite.data.decoding import in_order
from suite.paths import cache_folder
from suite.types import Deferred

NAME = "file-digests.sqlite"

SETTLED = 2.0
"""Seconds after which a file's digest is remembered: one that changes again within the resolution of its modification
time would not be noticed."""

CHUNK = 500
"""Paths per query; SQLite has a limit."""

MISSING = b"missing"
"""Digest of a file that cannot be read."""

T = TypeVar("T")


class _Entry(NamedTuple):
    """What is remembered of a file: size in bytes, modification time in nanoseconds, digest."""

    size: int
    modified: int
    digest: bytes


def file_digests(files: Iterable[str]) -> dict[str, bytes]:
    """Return the SHA-256 of the contents of files; files that have not changed since the last time are not read."""
    paths = {file: str(Path(file).absolute()) for file in files}
    stamps = {path: _stamp(path) for path in paths.values()}
    nothing: dict[str, _Entry] = {}
    remembered = _with_table(nothing, lambda table: _remembered(table, [path for path in stamps if stamps[path]]))
    known = {path: entry.digest for path, entry in remembered.items() if entry[:2] == stamps[path]}
    unread = [path for path, stamp in stamps.items() if stamp is not None and path not in known]
    digests = dict.fromkeys(stamps, MISSING) | known
    digests |= zip(unread, in_order(_digest, unread, threads=len(unread) > 1), strict=True)
    latest = (time.time() - SETTLED) * 1e9
    fresh = {path: _Entry(*stamp, digests[path]) for path in unread if (stamp := stamps[path]) and stamp[1] < latest}
    if fresh:
        _with_table(None, lambda table: _remember(table, fresh))
    return {file: digests[path] for file, path in paths.items()}


def deferred_digests(values: Sequence[Deferred], contents: Sequence[bytes]) -> list[bytes]:
    """Return the SHA-256 of the files and keys of deferred values; the given digest for one without files."""
    files = file_digests(file for value in values for file in value.files)
    return [
        hashlib.sha256(b"\0".join([value.key.encode(), *(files[file] for file in value.files)])).digest()
        if value.files
        else content
        for value, content in zip(values, contents, strict=True)
    ]


def _stamp(path: str) -> tuple[int, int] | None:
    """Return a file's size and modification time; None for what is no regular file: a FIFO would never end."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # a ValueError: a name with a null character
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _digest(path: str) -> bytes:
    try:
        with Path(path).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest()
    except OSError:
        return MISSING


def _with_table(default: T, use: Callable[[sqlite3.Connection], T]) -> T:
    """Return what `use` makes of the table; the default where it cannot be used, since it only saves time."""
    file = cache_folder() / NAME
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=10)) as table, table:
            table.execute(
                "CREATE TABLE IF NOT EXISTS contents "
                "(path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, digest BLOB)"
            )
            return use(table)
    except (OSError, sqlite3.Error):
        return default


def _remembered(table: sqlite3.Connection, paths: Sequence[str]) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    for start in range(0, len(paths), CHUNK):
        chunk = paths[start : start + CHUNK]
        query = f"SELECT * FROM contents WHERE path IN ({','.join('?' * len(chunk))})"  # noqa: S608  # only marks
        rows = table.execute(query, [os.fsencode(path) for path in chunk])
        found |= {os.fsdecode(path): _Entry(*entry) for path, *entry in rows}
    return found


def _remember(table: sqlite3.Connection, entries: Mapping[str, _Entry]) -> None:
    rows = [(os.fsencode(path), *entry) for path, entry in entries.items()]  # names that are not UTF-8 are no texts
    table.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?)", rows)
