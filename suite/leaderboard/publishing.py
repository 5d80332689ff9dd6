"""Write a task's current rows to a plain file that can be committed."""

import re
from pathlib import Path
from typing import Any

from suite.errors import StoreError, did_you_mean
from suite.leaderboard import select
from suite.leaderboard.spreadsheets import without_formulas
from suite.spec import digest
from suite.store import Store
from suite.types import verdict_of

COLUMNS = (
    "task", "task_version", "model", "axis", "spec", "metric", "params", "value", "lo", "hi", "level", "method", "n",
    "groups", "unit", "higher_is_better", "status", "verdict", "reason", "checks", "control", "n_failed", "seed",
    "device", "suite_version", "git", "time", "key", "digests",
)  # fmt: skip
"""What a reader needs to assess a number, or to reproduce it."""

TEXT = ("task", "model", "spec", "params", "reason")
"""Columns that may hold paths of this machine."""

LONGEST_NAME = 200
"""Maximum length of the name of a file, in bytes and without its suffix."""

_FOLDERS = re.compile(r"(?<![\w./:])(?:/|[A-Za-z]:[/\\]+)(?:[^\s/\\'\"(),:]+[/\\]+)*(?=[^\s/\\'\"(),:])")


def publish(store: Store, task: str, folder: Path, *, n: int | None = None, seed: int | None = None) -> list[Path]:
    """Write a task's current rows (see `select` for `n` and `seed`) to ``folder/TASK.csv``; return the paths written.

    Paths of this machine are reduced to file names. Texts that a spreadsheet would compute begin with an apostrophe.

    Raises:
        StoreError: nothing is stored for the task, or the folder cannot be written.
        UnknownNameError: nothing is stored for `n` samples or for the seed.
    """
    rows = store.rows()
    known = set(rows["task"]) if len(rows) else set()
    if task not in known:
        hint = did_you_mean(task, known)
        raise StoreError(f"Nothing is stored for {task!r}; run it first with: suite run TASK --model NAME.{hint}")
    table = select(rows, task, n, seed).rows
    table = table.assign(verdict=table["status"].map(verdict_of))[[*COLUMNS]]
    table = table.sort_values(["model", "axis", "spec", "metric", "params"])
    table = table.assign(**{column: table[column].map(_without_folders) for column in TEXT})
    path = folder / f"{_file_name(_without_folders(task))}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".csv.new")
        without_formulas(table).to_csv(scratch, index=False, lineterminator="\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error}. Choose another folder with --to.") from error
    return [path]


def _file_name(task: str) -> str:
    """Return a task as the name of a file; a long one ends in its digest, since file systems allow 255 bytes."""
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in task)
    return name if len(name.encode()) <= LONGEST_NAME else f"{name[:40]}-{digest(task)[:16]}"


def _without_folders(value: Any) -> Any:
    return _FOLDERS.sub("", value) if isinstance(value, str) else value
