"""Which rows of a task stand on one board: those of one version, data, seed and number of samples, one model a line.

Everything left out is named in a note, with the way to see it where there is one.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from suite.errors import UnknownNameError, did_you_mean
from suite.leaderboard.states import outdated

GROUP = ["task_version", "data", "seed", "cell_n"]
"""What must be equal for two rows to share a board; another seed is another split."""

UNKNOWN = "unknown"
"""The digest of what could not be read or built."""


@dataclass(frozen=True)
class Selection:
    """The comparable rows of a task.

    Attributes:
        rows: of each model and spec those of the newest record; all records of a model have the same weights.
        task_version, data, seed, n: what they have in common: version of the task, digest of its data, seed of the
            split, number of samples.
        notes: what was left out, in sentences.
    """

    rows: pd.DataFrame
    task_version: str
    data: str
    seed: int
    n: int
    notes: tuple[str, ...]


def select(rows: pd.DataFrame, task: str, n: int | None = None, seed: int | None = None) -> Selection:
    """Return the comparable rows of a task: newest version, newest data, most samples, newest seed, in this order.

    Args:
        rows: all rows of a store.
        task: spec of the task.
        n: how many samples instead of most; more than there are means all.
        seed: of the split, instead of that of the newest data.

    Raises:
        UnknownNameError: nothing is stored for the task, or nothing of `n` samples or of the seed.
    """
    known = [] if rows.empty else rows["task"].unique().tolist()
    if task not in known:
        raise UnknownNameError(f"Nothing is stored for the task {task!r}; run it first.{did_you_mean(task, known)}")
    rows = _prepared(rows[rows["task"] == task])
    chosen = _group(rows if seed is None else _of_seed(rows, task, seed), task, n)
    same = (rows[GROUP] == chosen[GROUP]).all(axis=1)
    # What failed before it had read the data belongs wherever its task's version does.
    blind = (rows["data"] == "") & (rows["task_version"] == chosen["task_version"])
    one, other_weights = _one_model_a_line(rows[same | blind])
    shown = _newest_records(one)
    notes = (
        *_left_out(rows[~(same | blind)], chosen, task),
        *other_weights,
        *_failed_since(one, shown),
        *outdated(rows, shown),
    )
    return Selection(
        shown, chosen["task_version"], chosen["data"], int(chosen["seed"]), int(chosen["cell_n"]), tuple(notes)
    )


def _prepared(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the digests as columns (`data` is empty where it is unknown) and `moment`, the time as a time."""
    parsed = {text: json.loads(text) for text in rows["digests"].unique()}
    data = {text: str(found.get("data") or "") for text, found in parsed.items()}
    return rows.assign(
        data=rows["digests"].map(data).replace(UNKNOWN, ""),
        weights=rows["digests"].map({text: str(found.get("model") or UNKNOWN) for text, found in parsed.items()}),
        code=rows["digests"].map({text: str(found.get("code") or "") for text, found in parsed.items()}),
        task_version=rows["task_version"].astype(str),
        cell_n=rows["cell_n"].fillna(0).astype(int),
        moment=pd.to_datetime(rows["time"], utc=True, format="ISO8601", errors="coerce"),
    )


def _group(rows: pd.DataFrame, task: str, n: int | None) -> pd.Series[Any]:
    """Return a row of the group to show; one whose data are unknown only where there is no other."""
    sighted = rows[rows["data"] != ""]
    pool = _by_time(sighted if len(sighted) else rows)
    newest = pool.iloc[-1]
    pool = pool[(pool["task_version"] == newest["task_version"]) & (pool["data"] == newest["data"])]
    sizes = sorted(pool["cell_n"].unique().tolist())
    if n is not None and n not in sizes and n < sizes[-1]:
        there = ", ".join(f"{size:,}" for size in sizes)
        raise UnknownNameError(
            f"Nothing of n={n} samples is stored for the task {task!r}; measure it with suite run --n {n}, or choose "
            f"what is there: {there}."
        )
    # A quick run on few samples must not hide the board of all, so that the most count and not the newest.
    size = n if n in sizes else sizes[-1]
    chosen: pd.Series[Any] = pool[pool["cell_n"] == size].iloc[-1]
    return chosen


def _of_seed(rows: pd.DataFrame, task: str, seed: int) -> pd.DataFrame:
    found = rows[rows["seed"] == seed]
    if found.empty:
        there = ", ".join(map(str, sorted(rows["seed"].unique())))
        raise UnknownNameError(
            f"Nothing of seed {seed} is stored for the task {task!r}; choose what is there: {there}."
        )
    return found


def _by_time(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["moment", "record"], na_position="first")


def _one_model_a_line(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows whose weights are those of their model's newest record, and notes about the others."""
    sighted = rows["data"] != ""
    newest = _by_time(rows[sighted].drop_duplicates("record")).drop_duplicates("model", keep="last")
    current = rows["model"].map(newest.set_index("model")["weights"])
    keep = ~sighted | (rows["weights"] == current)
    # A build that failed once and works now is no other model.
    gone = rows[~keep & (rows["weights"] != UNKNOWN)].groupby("model")["record"].nunique()
    notes = [
        f"{model}: {count} older record{'s' if count > 1 else ''} of other weights {'are' if count > 1 else 'is'} "
        "not shown."
        for model, count in gone.items()
    ]
    return rows[keep], notes


def _newest_records(rows: pd.DataFrame) -> pd.DataFrame:
    """Of several records of one question only the newest counts; one that never read its data only if it is alone."""
    order = rows.drop_duplicates("record").assign(sighted=lambda frame: frame["data"] != "")
    order = order.sort_values(["sighted", "moment", "record"], na_position="first")
    newest = order.drop_duplicates(["model", "axis", "spec"], keep="last")["record"]
    return rows[rows["record"].isin(newest)].reset_index(drop=True)


def _failed_since(rows: pd.DataFrame, shown: pd.DataFrame) -> Iterator[str]:
    """Say which models' data could not be read any more after the numbers shown were made."""
    question = ["model", "axis", "spec"]
    blind = rows[(rows["data"] == "") & ~rows["record"].isin(shown["record"])]
    both = blind.merge(shown[[*question, "moment"]].drop_duplicates(question), on=question, suffixes=("", "_shown"))
    later = both[both["moment"] > both["moment_shown"]]
    for reason, part in later.groupby("reason"):
        yield f"{', '.join(sorted(part['model'].unique()))}: a later run failed, earlier numbers are shown: {reason}"


def _left_out(rows: pd.DataFrame, chosen: pd.Series[Any], task: str) -> list[str]:
    """Return a note for every other group, the way to see it, and once why they are apart."""
    notes = []
    for _, group in rows.groupby(GROUP):
        version, data, seed, n = group[GROUP].iloc[0]
        near = seed != chosen["seed"] or (version, data) == (chosen["task_version"], chosen["data"])
        which = f"--n {n}" if seed == chosen["seed"] else f"--seed {seed} --n {n}"
        way = f"suite board {shlex.quote(task)} {which}" if near else "Store.rows() in Python"
        notes.append(
            f"Left out: {group['model'].nunique()} model(s) measured on version {version} of the task, data "
            f"{data[:8] or UNKNOWN}, seed {seed}, {n:,} samples. See them with: {way}"
        )
    if notes:
        notes.append("Numbers are only compared on the same version of the task, data, seed and number of samples.")
    return notes
