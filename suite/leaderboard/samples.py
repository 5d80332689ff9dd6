"""Per-sample columns of stored records, for comparisons between models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from suite.errors import StoreError
from suite.store import Store


def sample_values(store: Store, record: str, name: str, params: Mapping[str, Any]) -> pd.Series[Any]:
    """Return the column that belongs to a row, by sample id in the order of the ids.

    Of the columns of this name it is the one whose condition is contained in the params of the row, and the most
    specific of them.

    Raises:
        StoreError: it cannot be read or was not stored, or ids are not unique.
    """
    stored = [column for column in store.record(record).columns if column.population == "test"]
    fitting = [c for c in stored if c.name == name and c.params.items() <= params.items()]
    ids = next((column.values for column in stored if column.name == "id"), None)
    if not fitting or ids is None:
        raise StoreError("per-sample values were not stored")
    best = max(fitting, key=lambda column: len(column.params))
    series = pd.Series(best.values, index=pd.Index(ids))
    if not series.index.is_unique:
        raise StoreError("sample ids are not unique")
    return series.sort_index()
