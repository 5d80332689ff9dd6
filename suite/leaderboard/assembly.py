"""A board from a store: select the rows, make the columns, test the ties, order the lines.

One column ranks: the one asked for, accuracy by default. Lines stand in the order of their verdict in that column
(valid, suspect, invalid or not measured), then of its value; the rank is the range that the paired tests between the
valid numbers of that column allow, so that what is suspect or invalid has none. A suspect robust accuracy is no more
than an upper bound, and so stands below every valid one on a board that is ranked by it; on a board that is ranked by
accuracy it moves no line. No column marks a best number but attribution, whose methods must beat the random map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from suite.errors import UnknownNameError, did_you_mean
from suite.leaderboard.columns import Column, columns
from suite.leaderboard.margins import over_random
from suite.leaderboard.notes import board_notes, reasons
from suite.leaderboard.selection import select
from suite.leaderboard.ties import Ties, ties
from suite.store import Store

SEVERITY = ("ok", "suspect", "inconclusive", "skipped", "failed")
"""Statuses from good to bad; a model has the worst of its cells and of its numbers on the board."""


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Attributes:
        task: spec of the task; `task_version`, `data` (a digest), `seed` and `n` are what all its lines have in
            common.
        rank_by: name of the column that orders the lines.
        alpha: family-wise size of the tests behind the ties.
        columns: the measures, in the order of reading.
        frame: one line per model: `model`, `status`, `rank` ("1-2"), `reasons` (a tuple), and for each column its
            value under the column's name, and `NAME_lo`, `_hi`, `_n`, `_status`, `_reason`, `_checks` (JSON),
            `_control`, `_record`, `_interval_by`, `_ties` (letters), `_rank` (a range), and for attribution `_method`.
        notes: what readers must know, in sentences.
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
    rank_by: str = "accuracy",
    alpha: float = 0.05,
    n: int | None = None,
    seed: int | None = None,
) -> Board:
    """Return the leaderboard of a task, on all samples or on `n` of them, of the newest split or that of a seed.

    Raises:
        UnknownNameError: nothing is stored for the task, for `n` or for the seed, or no column is called `rank_by`.
    """
    selection = select(store.rows(), task, n, seed)
    rows = selection.rows
    measured = tuple(over_random(store, column) for column in columns(rows))
    rank_by = _known(rank_by, [column.name for column in measured])
    tested = {column.name: ties(store, column, alpha) for column in measured}
    return Board(
        task=task,
        task_version=selection.task_version,
        data=selection.data,
        seed=selection.seed,
        n=selection.n,
        rank_by=rank_by,
        alpha=alpha,
        columns=measured,
        frame=_ordered(_frame(rows, measured, tested), measured, rank_by),
        notes=(*selection.notes, *board_notes(store, rows, measured, tested)),
    )


def _known(rank_by: str, names: Sequence[str]) -> str:
    """Return the column to rank by: the first where a board without accuracy is asked for nothing else."""
    if not names or rank_by in names:
        return rank_by
    if rank_by == "accuracy":
        return names[0]
    near = [name for name in names if rank_by.lower() in name.lower()]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else did_you_mean(rank_by, names)
    raise UnknownNameError(f"rank_by={rank_by!r} is no column of this board.{hint}")


def _frame(rows: pd.DataFrame, measured: tuple[Column, ...], tested: dict[str, Ties]) -> pd.DataFrame:
    models = sorted(rows["model"].unique())
    worst = rows.groupby("model")["cell_status"].agg(_worst)
    frame = pd.DataFrame({"model": models, "status": worst[models].to_numpy()}).set_index("model")
    parts = [frame, *(_spread(column, tested[column.name]) for column in measured)]
    frame = pd.concat([part.reindex(models) for part in parts], axis=1).copy()  # else pandas keeps hundreds of blocks
    numbers = frame[[f"{column.name}_status" for column in measured]]
    for doubt in ("suspect", "inconclusive"):
        frame.loc[frame["status"].isin(["ok", "suspect"]) & numbers.isin([doubt]).any(axis=1), "status"] = doubt
    said = reasons(rows)
    why = pd.Series([said.get(model, ()) for model in models], index=models, dtype=object)
    return frame.assign(reasons=why).rename_axis("model").reset_index()


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


def _ordered(frame: pd.DataFrame, measured: tuple[Column, ...], rank_by: str) -> pd.DataFrame:
    """Put valid numbers first, then suspect ones, then models without a number to believe."""
    if not measured:
        return frame.assign(rank=None).reindex(columns=["model", "status", "rank", "reasons"])
    column = next(column for column in measured if column.name == rank_by)
    value = frame[rank_by] if column.higher_is_better else -frame[rank_by]
    status = frame[f"{rank_by}_status"]
    tier = np.select([frame[rank_by].notna() & (status == name) for name in ("ok", "suspect")], [0, 1], 2)
    order = frame.assign(_tier=tier, _value=-value, rank=frame[f"{rank_by}_rank"])
    order = order.sort_values(["_tier", "_value", "model"]).drop(columns=["_tier", "_value"]).reset_index(drop=True)
    first = ["model", "status", "rank"]
    return order[[*first, *(name for name in order.columns if name not in first)]]
