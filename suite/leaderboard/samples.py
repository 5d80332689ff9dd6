"""Per-sample columns of stored records, for comparisons between models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from suite.errors import StoreError
from suite.metrics.table import GROUP, TEST, Column
from suite.records.reading import StoredRecord

Array = npt.NDArray[Any]


def sample_values(record: StoredRecord, name: str, params: Mapping[str, Any]) -> pd.Series[Any]:
    """Return the column (n,) that belongs to a row, by sample id in the order of the ids; see `sample_columns`."""
    ids, (values,) = sample_columns(record, (name,), params)
    return pd.Series(values, index=pd.Index(ids))


def sample_columns(
    record: StoredRecord, names: tuple[str, ...], params: Mapping[str, Any]
) -> tuple[Array, list[Array]]:
    """Return the ids of a record's samples in order, and the columns that belong to a row, (n, ...) each.

    Of the columns of a name it is the one whose condition is contained in the params of the row, and the most specific
    of them.

    Raises:
        StoreError: one was not stored, or ids are not unique.
    """
    stored = _stored(record)
    ids = next((column.values for column in stored if column.name == "id"), None)
    fitting = [[c for c in stored if c.name == name and c.params.items() <= params.items()] for name in names]
    if ids is None or not all(fitting):
        raise StoreError("per-sample values were not stored")
    if len(np.unique(ids)) < len(ids):
        raise StoreError("sample ids are not unique")
    order = np.argsort(ids)
    chosen = [max(columns, key=lambda column: len(column.params)) for columns in fitting]
    return ids[order], [column.values[order] for column in chosen]


def sample_groups(record: StoredRecord) -> Array | None:
    """Return the number of the group of each sample in the order of the ids, (n,); None if they are independent.

    Raises:
        StoreError: ids are not unique.
    """
    if not any(column.name == GROUP for column in _stored(record)):
        return None
    _, (groups,) = sample_columns(record, (GROUP,), {})
    return np.unique(groups.astype(str), return_inverse=True)[1]


def conditions(record: StoredRecord, name: str, param: str, params: Mapping[str, Any]) -> list[Any]:
    """Return the values of a param for which a column is stored, the other params being those given."""
    others = {key: value for key, value in params.items() if key != param}
    return [
        column.params[param]
        for column in _stored(record)
        if column.name == name
        and param in column.params
        and {key: value for key, value in column.params.items() if key != param}.items() <= others.items()
    ]


def _stored(record: StoredRecord) -> list[Column]:
    return [column for column in record.columns if column.population == TEST]
