"""Rows become boards: one line per model, every number with its interval, ties shown as ties, failures kept.

A board never mixes task versions, data, or numbers of samples: the newest group of comparable rows is shown, and the
notes say what was left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from suite.board_columns import Column, columns
from suite.board_ties import Ties, ties
from suite.errors import UnknownNameError, did_you_mean
from suite.stats import minimum_detectable_effect
from suite.store import Store

SEVERITY = ("ok", "inconclusive", "skipped", "failed")
"""Statuses from good to bad; a model has the worst of its cells."""

GROUP = ["task_version", "data", "cell_n"]
"""What must be equal for two rows to share a board."""


@dataclass(frozen=True)
class Selection:
    """The comparable rows of a task.

    Attributes:
        rows: of each model and spec those of the newest record.
        task_version, data, n: what they have in common: version of the task, digest of its data, samples asked for.
        notes: what was left out, in sentences.
    """

    rows: pd.DataFrame
    task_version: str
    data: str
    n: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        task: spec of the task; `task_version`, `data` (a digest) and `n` are what all its lines have in common.
        rank_by: name of the column that orders the lines.
        alpha: family-wise size of the tests behind the ties.
        columns: the measures, in the order of reading.
        frame: one line per model: `model`, `status`, `rank` ("1-2"), `reasons` (a tuple), and for each column its
            value under the column's name, and `NAME_lo`, `_hi`, `_n`, `_status`, `_reason`, `_control`, `_record`,
            `_ties` (letters), `_rank` (a range), and for attribution `_method`.
        notes: what readers must know, in sentences.
    """

    task: str
    task_version: str
    data: str
    n: int
    rank_by: str
    alpha: float
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    notes: tuple[str, ...]


def board(store: Store, task: str, *, rank_by: str = "accuracy", alpha: float = 0.05) -> Board:
    """Return the leaderboard of a task.

    Raises:
        UnknownNameError: nothing is stored for the task, or no column is called `rank_by`.
    """
    selection = select(store.rows(), task)
    measured = columns(selection.rows)
    names = [column.name for column in measured]
    if measured and rank_by not in names:
        if rank_by != "accuracy":
            raise UnknownNameError(f"rank_by={rank_by!r} is no column of this board.{did_you_mean(rank_by, names)}")
        rank_by = names[0]
    tested = {column.name: ties(store, column, alpha) for column in measured}
    frame = _frame(selection.rows, measured, tested)
    return Board(
        task=task,
        task_version=selection.task_version,
        data=selection.data,
        n=selection.n,
        rank_by=rank_by,
        alpha=alpha,
        columns=measured,
        frame=_ordered(frame, measured, rank_by),
        notes=(*selection.notes, *_notes(store, measured, tested)),
    )


def select(rows: pd.DataFrame, task: str) -> Selection:
    """Return the newest comparable rows of a task.

    Raises:
        UnknownNameError: nothing is stored for the task.
    """
    known = [] if rows.empty else rows["task"].unique().tolist()
    if task not in known:
        raise UnknownNameError(f"Nothing is stored for the task {task!r}; run it first.{did_you_mean(task, known)}")
    rows = rows[rows["task"] == task]
    rows = rows.assign(
        data=_data_digests(rows["digests"]),
        task_version=rows["task_version"].astype(str),
        cell_n=rows["cell_n"].fillna(-1).astype(int),
        moment=pd.to_datetime(rows["time"], utc=True, format="ISO8601", errors="coerce"),
    )
    dated = rows[rows["data"] != ""] if (rows["data"] != "").any() else rows
    newest = dated.sort_values(["moment", "record"], na_position="first").iloc[-1]
    same = (rows[GROUP] == newest[GROUP]).all(axis=1)
    # A cell that failed before it had read the data belongs wherever its task's version does.
    blind = (rows["data"] == "") & (rows["task_version"] == newest["task_version"]) & rows["value"].isna()
    chosen = _newest_records(rows[same | blind])
    notes = _left_out(rows[~(same | blind)])
    return Selection(chosen, newest["task_version"], newest["data"], int(newest["cell_n"]), notes)


def _data_digests(digests: pd.Series) -> pd.Series:
    known = {text: str(json.loads(text).get("data") or "") for text in digests.unique()}
    return digests.map(known)


def _newest_records(rows: pd.DataFrame) -> pd.DataFrame:
    """Of several records of one question (older code, other weights) only the newest counts."""
    order = rows.drop_duplicates("record").sort_values(["moment", "record"], na_position="first")
    newest = order.drop_duplicates(["model", "axis", "spec"], keep="last")["record"]
    return rows[rows["record"].isin(newest)].reset_index(drop=True)


def _left_out(rows: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    for _, group in rows.groupby(GROUP):
        version, data, n = group[GROUP].iloc[0]
        notes.append(
            f"Left out: {group['model'].nunique()} model(s) measured on version {version} of the task, data "
            f"{data[:8] or 'unknown'}, {_count(n)} samples. Numbers are only compared on the same version, data and "
            "number of samples."
        )
    return tuple(notes)


def _count(n: int) -> str:
    return "all" if n < 0 else f"{n:,}"


def _frame(rows: pd.DataFrame, measured: tuple[Column, ...], tested: dict[str, Ties]) -> pd.DataFrame:
    models = sorted(rows["model"].unique())
    worst = rows.groupby("model")["cell_status"].agg(_worst)
    frame = pd.DataFrame({"model": models, "status": worst[models].to_numpy()}).set_index("model")
    parts = [frame, *(_spread(column, tested[column.name]) for column in measured)]
    frame = pd.concat([part.reindex(models) for part in parts], axis=1)
    doubtful = [f"{column.name}_status" for column in measured]
    sound = frame["status"].eq("ok") & frame[doubtful].isin(["inconclusive"]).any(axis=1)
    frame.loc[sound, "status"] = "inconclusive"
    reasons = pd.Series(_reasons(rows, models), index=models, dtype=object)
    return frame.assign(reasons=reasons).rename_axis("model").reset_index()


def _worst(statuses: pd.Series) -> str:
    return str(max(statuses, key=SEVERITY.index))


def _spread(column: Column, tested: Ties) -> pd.DataFrame:
    """Return a column's entries under names that carry the column's."""
    entries = column.entries.rename(columns=lambda name: column.name if name == "value" else f"{column.name}_{name}")
    ranks = {model: f"{best}" if best == worst else f"{best}-{worst}" for model, (best, worst) in tested.ranks.items()}
    reason = entries[f"{column.name}_reason"].astype(object)
    left_out = entries.index.to_series().map(tested.left_out)
    entries[f"{column.name}_reason"] = reason.where(reason.notna(), left_out)
    entries[f"{column.name}_ties"] = entries.index.to_series().map(tested.letters)
    entries[f"{column.name}_rank"] = entries.index.to_series().map(ranks)
    return entries


def _reasons(rows: pd.DataFrame, models: list[str]) -> list[tuple[str, ...]]:
    """Return for each model what failed or was skipped, and why."""
    failed = rows[rows["status"].isin(["failed", "skipped"])].drop_duplicates("record")
    failed = failed.assign(clean=failed["axis"] != "clean").sort_values(["clean", "axis", "spec"])
    said = {
        model: tuple(f"{row.spec} {row.status}: {row.reason}" for row in group.itertuples())
        for model, group in failed.groupby("model")
    }
    return [said.get(model, ()) for model in models]


def _ordered(frame: pd.DataFrame, measured: tuple[Column, ...], rank_by: str) -> pd.DataFrame:
    """Put sound numbers first, then inconclusive ones, then models without a number."""
    if not measured:
        return frame.assign(rank=None).reindex(columns=["model", "status", "rank", "reasons"])
    column = next(column for column in measured if column.name == rank_by)
    value = frame[rank_by] if column.higher_is_better else -frame[rank_by]
    tier = np.select([frame[rank_by].isna(), frame[f"{rank_by}_status"] != "ok"], [2, 1], 0)
    order = frame.assign(_tier=tier, _value=-value, rank=frame[f"{rank_by}_rank"])
    order = order.sort_values(["_tier", "_value", "model"]).drop(columns=["_tier", "_value"]).reset_index(drop=True)
    first = ["model", "status", "rank"]
    return order[[*first, *(name for name in order.columns if name not in first)]]


def _notes(store: Store, measured: tuple[Column, ...], tested: dict[str, Ties]) -> tuple[str, ...]:
    notes = [
        f"{column.title}, {model}: {reason}."
        for column in measured
        for model, reason in sorted(tested[column.name].left_out.items())
    ]
    notes.extend(_power(tested.get("accuracy")))
    if store.damaged:
        notes.append(f"{len(store.damaged)} damaged record(s) could not be read and are not shown: {_few(store)}.")
    return tuple(notes)


def _power(ties: Ties | None) -> Iterator[str]:
    """Say which gaps in accuracy these samples could show at all."""
    if ties is None or not ties.samples:
        return
    gap = minimum_detectable_effect(ties.samples, ties.discordance) if ties.discordance else None
    if gap is not None:
        yield (
            f"Two models here typically disagree on {100 * ties.discordance:.1f} % of the {ties.samples:,} samples; a "
            f"single comparison then finds a true gap in accuracy of {100 * gap:.1f} points four times in five, and "
            "smaller ones less often."
        )


def _few(store: Store) -> str:
    names = sorted(store.damaged)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


__all__ = ["Board", "Column", "Selection", "board", "select"]
