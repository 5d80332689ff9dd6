"""The rows of a task that share a board: one task version, data, seed and number of samples; one line per model.

A note names everything that is left out, and how to see it where that is possible.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from suite.errors import SuiteError, UnknownNameError, did_you_mean
from suite.registry import REGISTRY
from suite.spec import parse

GROUP = ["task_version", "data", "seed", "cell_n"]
"""Columns that must be equal for two rows to share a board; another seed is another split."""

UNKNOWN = "unknown"
"""Digest of data that could not be read, or of a model that could not be built."""


@dataclass(frozen=True)
class Selection:
    """The comparable rows of a task.

    Attributes:
        rows: of each model and spec, those of the newest record; all records of a model have the same weights.
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


def select(
    rows: pd.DataFrame, task: str, n: int | None = None, seed: int | None = None, *, latest: Collection[str] = ()
) -> Selection:
    """Return the comparable rows of a task: newest version, newest data, most samples, newest seed, in this order.

    Args:
        rows: all rows of a store.
        task: spec of the task.
        n: number of samples; the largest by default, and also where `n` exceeds it.
        seed: seed of the split; that of the newest data by default.
        latest: keys of records that count as the newest, whenever they were stored.

    Raises:
        UnknownNameError: nothing is stored for the task, for `n` or for the seed.
    """
    known = [] if rows.empty else rows["task"].unique().tolist()
    if task not in known:
        raise UnknownNameError(f"Nothing is stored for the task {task!r}; run it first.{did_you_mean(task, known)}")
    rows = _prepared(rows[rows["task"] == task], latest)
    chosen = _group(rows if seed is None else _of_seed(rows, task, seed), task, n)
    # A record that failed before it had read the data belongs to every group of its task version.
    same = (rows[GROUP] == chosen[GROUP]).all(axis=1)
    same |= (rows["data"] == "") & (rows["task_version"] == chosen["task_version"])
    current, other_weights = _newest_weights(rows[same])
    shown = _newest_records(current)
    notes = (
        *_left_out(rows[~same], chosen, task),
        *other_weights,
        *_failed_since(current, shown),
        *_outdated(rows, shown),
    )
    return Selection(shown, chosen["task_version"], chosen["data"], int(chosen["seed"]), int(chosen["cell_n"]), notes)


def _prepared(rows: pd.DataFrame, latest: Collection[str]) -> pd.DataFrame:
    """Add the digests as columns (`data` is empty where it is unknown), and `latest` and `moment`, by which they sort.

    `moment` is the time as a timestamp.
    """
    digests = {text: json.loads(text) for text in rows["digests"].unique()}
    data, weights, code = (
        rows["digests"].map({text: str(parsed.get(name) or "") for text, parsed in digests.items()})
        for name in ("data", "model", "code")
    )
    return rows.assign(
        data=data.replace(UNKNOWN, ""),
        weights=weights.replace("", UNKNOWN),
        code=code,
        task_version=rows["task_version"].astype(str),
        cell_n=rows["cell_n"].fillna(0).astype(int),
        latest=rows["key"].isin(latest),
        moment=pd.to_datetime(rows["time"], utc=True, format="ISO8601", errors="coerce"),
    )


def _group(rows: pd.DataFrame, task: str, n: int | None) -> pd.Series[Any]:
    """Return a row of the group to show; one with unknown data only if there is no other."""
    with_data = rows[rows["data"] != ""]
    pool = _by_time(with_data if len(with_data) else rows)
    newest = pool.iloc[-1]
    pool = pool[(pool["task_version"] == newest["task_version"]) & (pool["data"] == newest["data"])]
    sizes = sorted(pool["cell_n"].unique().tolist())
    if n is not None and n not in sizes and n < sizes[-1]:
        stored = ", ".join(f"{size:,}" for size in sizes)
        raise UnknownNameError(
            f"Nothing with n={n} samples is stored for the task {task!r}; measure it with suite run --n {n}, or choose "
            f"what is stored: {stored}."
        )
    # The largest and not the newest: a quick run on few samples must not hide the full board.
    size = n if n in sizes else sizes[-1]
    chosen: pd.Series[Any] = pool[pool["cell_n"] == size].iloc[-1]
    return chosen


def _of_seed(rows: pd.DataFrame, task: str, seed: int) -> pd.DataFrame:
    of_seed = rows[rows["seed"] == seed]
    if of_seed.empty:
        stored = ", ".join(map(str, sorted(rows["seed"].unique())))
        raise UnknownNameError(
            f"Nothing with seed {seed} is stored for the task {task!r}; choose what is stored: {stored}."
        )
    return of_seed


def _by_time(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["latest", "moment", "record"], na_position="first")


def _newest_weights(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows whose weights are those of their model's newest record, and notes about the others."""
    has_data = rows["data"] != ""
    newest = _by_time(rows[has_data].drop_duplicates("record")).drop_duplicates("model", keep="last")
    current = rows["model"].map(newest.set_index("model")["weights"])
    keep = ~has_data | (rows["weights"] == current)
    # A build that failed once and works now does not count as other weights.
    others = rows[~keep & (rows["weights"] != UNKNOWN)].groupby("model")["record"].nunique()
    notes = [
        f"{model}: {count} record{'s' if count > 1 else ''} with other weights {'are' if count > 1 else 'is'} "
        "not shown."
        for model, count in others.items()
    ]
    return rows[keep], notes


def _newest_records(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the newest record of each model and spec, preferring records that read their data."""
    order = rows.drop_duplicates("record").assign(has_data=lambda frame: frame["data"] != "")
    order = order.sort_values(["has_data", "latest", "moment", "record"], na_position="first")
    newest = order.drop_duplicates(["model", "axis", "spec"], keep="last")["record"]
    return rows[rows["record"].isin(newest)].reset_index(drop=True)


def _failed_since(rows: pd.DataFrame, shown: pd.DataFrame) -> Iterator[str]:
    """Yield the models whose data could no longer be read after the numbers shown were measured."""
    cell = ["model", "axis", "spec"]
    failed = rows[(rows["data"] == "") & ~rows["record"].isin(shown["record"])]
    both = failed.merge(shown[[*cell, "moment"]].drop_duplicates(cell), on=cell, suffixes=("", "_shown"))
    later = both[both["moment"] > both["moment_shown"]]
    for reason, part in later.groupby("reason"):
        yield f"{', '.join(sorted(part['model'].unique()))}: a later run failed, earlier numbers are shown: {reason}"


def _left_out(rows: pd.DataFrame, chosen: pd.Series[Any], task: str) -> list[str]:
    """Return a note for every other group with the way to see it, and one that says why they are separate."""
    notes = []
    for _, group in rows.groupby(GROUP):
        version, data, seed, n = group[GROUP].iloc[0]
        has_command = seed != chosen["seed"] or (version, data) == (chosen["task_version"], chosen["data"])
        options = f"--n {n}" if seed == chosen["seed"] else f"--seed {seed} --n {n}"
        way = f"suite board {shlex.quote(task)} {options}" if has_command else "Store.rows() in Python"
        notes.append(
            f"Left out: {group['model'].nunique()} model(s) measured on version {version} of the task, data "
            f"{data[:8] or UNKNOWN}, seed {seed}, {n:,} samples. See them with: {way}"
        )
    if notes:
        notes.append("Numbers are only comparable for the same task version, data, seed and number of samples.")
    return notes


def _outdated(rows: pd.DataFrame, shown: pd.DataFrame) -> Iterator[str]:
    """Yield the models with numbers from a different code version than that of the newest records.

    A code digest also covers the files of the axis and of the model, so digests are only comparable within one spec
    and one model file. A run uses one version of the code: if one of its digests is old, all its numbers are.
    """
    records = rows[rows["code"] != ""].drop_duplicates("record")
    if records.empty or records.groupby("spec")["code"].nunique().max() < 2:
        return
    origins = {model: _origin(model) for model in records["model"].unique()}
    records = _by_time(records.assign(origin=records["model"].map(origins)))
    latest = records.groupby(["spec", "origin"])["code"].transform("last")
    old = records.loc[records["code"] != latest, "run"].unique()
    models = sorted(shown.loc[shown["run"].isin(old), "model"].unique())
    if models:
        names = ", ".join(models)
        yield f"{names}: measured with a different code version from the newest records; run again to compare."


def _origin(model: str) -> str:
    """Return the file or package that a model comes from, or its name if that is not known."""
    file, in_file, _ = model.rpartition(".py:")
    if in_file:
        return file
    try:
        return REGISTRY.get("model", parse(model).name).origin
    except SuiteError:  # it existed in memory only, or is no longer installed
        return model
