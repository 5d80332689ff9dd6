"""Publishing on purpose: a task's current rows as plain files for a repository."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from suite.errors import StoreError
from suite.leaderboard import select
from suite.store import Store

COLUMNS = (
    "task", "task_version", "model", "axis", "spec", "metric", "params", "value", "lo", "hi", "level", "method", "n",
    "unit", "higher_is_better", "status", "reason", "checks", "control", "n_failed", "seed", "device", "suite_version",
    "git", "time", "key", "digests",
)  # fmt: skip
"""What a reader needs to judge a number, or to make it again."""


def publish(store: Store, task: str, folder: Path) -> list[Path]:
    """Write a task's current rows to ``folder/TASK.csv`` and return the paths written.

    Raises:
        StoreError: nothing is stored for the task, or the folder cannot be written.

    """
    rows = store.rows()
    if not len(rows) or task not in set(rows["task"]):
        raise StoreError(f"Nothing is stored for {task!r}; measure it first with: suite run {task} --model NAME")
    current = select(rows, task).rows
    table = current.loc[:, list(COLUMNS)].sort_values(["model", "axis", "spec", "metric", "params"])
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in task)
    path = folder / f"{name}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        pd.DataFrame(table).to_csv(text, index=False, lineterminator="\n")
        scratch = path.with_suffix(".csv.new")
        scratch.write_text(text.getvalue(), "utf-8")
        scratch.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error}. Choose another folder with --to.") from error
    return [path]
