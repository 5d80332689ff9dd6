"""The best of several rows of a model, such as its attribution methods, by the margin over the random control."""

from __future__ import annotations

import json

import pandas as pd

from suite.metrics.catalogue import RANDOM, BoardColumn


def best_rows(shown: BoardColumn, rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model: the one with the largest margin over random, or an undefined row with the reason.

    Rows with too few samples for a comparison with the control keep their margin, and their reason says so. Rows get
    the columns `best`, the value of the param that they differ in, and `compared`, the number of its values.
    """
    names = pd.Series([params.get(shown.best_of) for params in rows["params"]], index=rows.index, dtype=object)
    rows = rows.assign(best=names)
    rows = rows[~names.isin(shown.controls) & rows["value"].notna()]  # a skipped row has no value
    rows = _preferred(shown, rows)
    compared = rows["checks"].map(_comparison)
    usable = (compared == "pass") | ((compared == "n/a") & rows["reason"].notna())
    margin = (rows["value"] - rows["control"]).where(usable)
    order = rows.assign(margin=margin.where(margin > 0)).sort_values("margin", na_position="first", kind="stable")
    best = order.drop_duplicates("model", keep="last").copy()
    best["compared"] = best["model"].map(rows.groupby("model")["best"].nunique())
    none = best["margin"].isna()
    best["status"] = none.map({True: "inconclusive", False: "ok"})
    best.loc[none, ["value", "lo", "hi"]] = float("nan")
    best.loc[none, "best"] = None
    best.loc[none, "reason"] = f"no {shown.best_of} beats the {RANDOM} control"
    return best


def _comparison(checks: str) -> str:
    """Return the result of the comparison with the random control; rows without one pass."""
    return str(json.loads(checks).get(f"beats_{RANDOM}", "pass"))


def _preferred(shown: BoardColumn, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the preferred params, or with those of the first row where no row has the preferred ones."""
    for name, value in shown.prefer.items():
        values = pd.Series([params.get(name) for params in rows["params"]], index=rows.index, dtype=object)
        if len(values):
            rows = rows[values == (value if values.eq(value).any() else values.iloc[0])]
    return rows
