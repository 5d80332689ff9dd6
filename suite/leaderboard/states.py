"""Which models on a board were measured by another state of the code than the newest records."""

from collections.abc import Iterator

import pandas as pd

from suite.errors import SuiteError
from suite.registry import REGISTRY
from suite.spec import parse


def outdated(rows: pd.DataFrame, shown: pd.DataFrame) -> Iterator[str]:
    """Name the models with numbers from another state of the code.

    A code digest covers the files of the axis and of the model besides the suite's own, so that digests only say
    something within one spec and one file of models. One run is one state: a run that has an old digest anywhere is
    old everywhere.

    Args:
        rows: every row of the task, with columns `code` and `moment`.
        shown: those of them on the board.
    """
    records = rows[rows["code"] != ""].drop_duplicates("record")
    if records.empty or records.groupby("spec")["code"].nunique().max() < 2:
        return
    homes = {model: _home(model) for model in records["model"].unique()}
    records = records.assign(home=records["model"].map(homes))
    records = records.sort_values(["moment", "record"], na_position="first")
    latest = records.groupby(["spec", "home"])["code"].transform("last")
    old = records.loc[records["code"] != latest, "run"].unique()
    models = sorted(shown.loc[shown["run"].isin(old), "model"].unique())
    if models:
        names = ", ".join(models)
        yield f"{names}: measured by another state of the code than the newest records; run again to compare."


def _home(model: str) -> str:
    """Return where a model comes from: its file, or what stands for it."""
    file, in_file, _ = model.rpartition(".py:")
    if in_file:
        return file
    try:
        return REGISTRY.get("model", parse(model).name).origin
    except SuiteError:  # it existed in memory only, or is not installed any more
        return model
