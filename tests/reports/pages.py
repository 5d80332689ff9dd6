"""Helpers that read what a page of the report shows."""

from typing import Any

import pandas as pd

from suite.leaderboard import select
from suite.store import Store


def words(app: Any) -> str:
    """Return all text of a page."""
    kinds = (app.header, app.subheader, app.markdown, app.caption, app.text, app.error, app.warning, app.info, app.code)
    return "\n".join(str(element.value) for kind in (*kinds, app.success) for element in kind)


def captions(app: Any) -> str:
    """Return the captions of all images of a page."""
    return "".join(str(image.proto) for image in app.get("image"))


def rows_of(store: Store, task: str, axis: str, model: str | None = None) -> pd.DataFrame:
    """Return the rows of an axis of a task, of one model or of all."""
    rows = select(store.rows(), task).rows
    return rows[(rows["axis"] == axis) & (rows["model"].eq(model) if model else True)]
