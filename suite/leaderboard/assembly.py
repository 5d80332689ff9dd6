"""Build a board from a store: select the rows, make the columns, test for ties, order the lines.

One column ranks: `rank_by`, by default the headline metric on clean samples. Lines are ordered by their verdict in that
column (valid, suspect, then invalid or not measured) and by its value. The rank is the range that the paired tests
between the valid numbers of that column allow, so suspect and invalid numbers have none. A suspect robust accuracy is
an upper bound; it is listed below every valid one on a board that it ranks, and does not affect the order of a board
that another column ranks.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from suite.errors import UnknownNameError, did_you_mean
from suite.leaderboard.columns import Column, columns
from suite.leaderboard.margins import over_random
from suite.leaderboard.notes import board_notes, failures_by_model
from suite.leaderboard.selection import select
from suite.leaderboard.ties import Ties, ties
from suite.store import Store

SEVERITY = ("ok", "suspect", "inconclusive", "skipped", "failed")
"""Statuses from good to bad; a model has the worst status of its cells and of its numbers on the board."""


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        task: spec of the task; `task_version`, `data` (a digest), `seed` and `n` are the same for all lines.
        rank_by: name of the column that orders the lines.
        alpha: family-wise error rate of the tests for ties.
        columns: the metrics, from left to right.
        frame: one line per model: `model`, `status`, `rank` ("1-2"), `reasons` (a tuple), and for each column its
            value under the column's name, and `NAME_lo`, `_hi`, `_n`, `_status`, `_reason`, `_checks` (JSON),
            `_control`, `_record`, `_interval_by`, `_ties` (letters), `_rank` (a range), and for attribution `_method`
            and `_optimism`.
        notes: sentences that readers need to interpret the numbers.
    """

    task: str
    task_version: str
    data: str
    seed: int
    n: int
    rank_by: str
    alpha: float
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    notes: tuple[str, ...]


def board(
    store: Store,
    task: str,
    *,
    rank_by: str | None = None,
    alpha: float = 0.05,
    n: int | None = None,
    seed: int | None = None,
    latest: Collection[str] = (),
) -> Board:
    """Return the leaderboard of a task.

    Args:
        store: where the results are.
        task: spec of the task.
        rank_by: name of the column that orders the lines; the first by default, which is the headline metric.
        alpha: family-wise error rate of the tests for ties.
        n: number of samples; all by default.
        seed: seed of the split; the newest by default.
        latest: keys of records that count as the newest, whenever they were stored.

    Raises:
        UnknownNameError: nothing is stored for the task, for `n` or for the seed, or no column is called `rank_by`.
    """
    selection = select(store.rows(), task, n, seed, latest=latest)
    rows = selection.rows
    shown = tuple(over_random(store, column) for column in columns(rows))
    rank_by = _ranking_name(rank_by, [column.name for column in shown])
    tested = {column.name: ties(store, column, alpha) for column in shown}
    return Board(
        task=task,
        task_version=selection.task_version,
        data=selection.data,
        seed=selection.seed,
        n=selection.n,
        rank_by=rank_by,
        alpha=alpha,
        columns=shown,
        frame=_ordered(_frame(rows, shown, tested), shown, rank_by),
        notes=(*selection.notes, *board_notes(store, rows, shown, tested, alpha)),
    )


def _ranking_name(rank_by: str | None, names: Sequence[str]) -> str:
    """Return `rank_by`, or the first column by default.

    Raises:
        UnknownNameError: there is no such column.
    """
    if rank_by is None or not names:
        return names[0] if names else ""
    if rank_by in names:
        return rank_by
    near = [name for name in names if rank_by.lower() in name.lower()]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else did_you_mean(rank_by, names)
    raise UnknownNameError(f"rank_by={rank_by!r} is not a column of this board.{hint}")


def _frame(rows: pd.DataFrame, shown: tuple[Column, ...], tested: dict[str, Ties]) -> pd.DataFrame:
    models = sorted(rows["model"].unique())
    status = rows.groupby("model")["cell_status"].agg(lambda statuses: str(max(statuses, key=SEVERITY.index)))
    parts = [status.to_frame("status"), *(_prefixed(column, tested[column.name]) for column in shown)]
    frame = pd.concat([part.reindex(models) for part in parts], axis=1).copy()  # else pandas keeps hundreds of blocks
    statuses = frame[[f"{column.name}_status" for column in shown]]
    for worse in ("suspect", "inconclusive"):
        frame.loc[frame["status"].isin(["ok", "suspect"]) & statuses.isin([worse]).any(axis=1), "status"] = worse
    failures = failures_by_model(rows)
    reasons = pd.Series([failures.get(model, ()) for model in models], index=models, dtype=object)
    return frame.assign(reasons=reasons).rename_axis("model").reset_index()


def _prefixed(column: Column, tested: Ties) -> pd.DataFrame:
    """Return a column's entries, with the column's name as prefix of each field."""
    name = column.name
    entries = column.entries.drop(columns="params").rename(
        columns=lambda field: name if field == "value" else f"{name}_{field}"
    )
    ranks = {model: f"{best}" if best == worst else f"{best}-{worst}" for model, (best, worst) in tested.ranks.items()}
    reason, models = entries[f"{name}_reason"].astype(object), entries.index.to_series()
    return entries.assign(
        **{
            f"{name}_reason": reason.where(reason.notna(), models.map(tested.left_out)),
            f"{name}_ties": models.map(tested.letters),
            f"{name}_rank": models.map(ranks),
        }
    )


def _ordered(frame: pd.DataFrame, shown: tuple[Column, ...], rank_by: str) -> pd.DataFrame:
    """Sort valid numbers first, then suspect ones, then models without a usable number."""
    if not shown:
        return frame.assign(rank=None).reindex(columns=["model", "status", "rank", "reasons"])
    column = next(column for column in shown if column.name == rank_by)
    value = frame[rank_by] if column.higher_is_better else -frame[rank_by]
    status = frame[f"{rank_by}_status"]
    tier = np.select([frame[rank_by].notna() & (status == name) for name in ("ok", "suspect")], [0, 1], 2)
    order = frame.assign(_tier=tier, _value=-value, rank=frame[f"{rank_by}_rank"])
    order = order.sort_values(["_tier", "_value", "model"]).drop(columns=["_tier", "_value"]).reset_index(drop=True)
    first = ["model", "status", "rank"]
    return order[[*first, *order.columns.drop(first)]]
