"""Cells for spreadsheets, which compute a text that looks like a formula, such as a model's name ``=1+1``."""

import re
from typing import Any

import pandas as pd

from suite.escaping import escaped

FORMULA = re.compile("[=+\\-@\t\n\r\uff1d\uff0b\uff0d\uff20].", re.DOTALL)
"""Beginnings of texts that a spreadsheet may compute, also in full width; a single sign is no formula."""


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts are shown and not computed; numbers and missing values are unchanged."""
    return table.assign(
        **{
            str(name): pd.Series([as_text(value) for value in column], index=table.index, dtype=object)
            for name, column in table.items()
            if not pd.api.types.is_numeric_dtype(column)
        }
    )


def as_text(value: Any) -> Any:
    """Return a text as a cell that is shown and not computed, without control characters; other values unchanged.

    A leading apostrophe marks a cell as text, as OWASP recommends against CSV injection.
    """
    if not isinstance(value, str):
        return value
    text = escaped(value)
    return f"'{text}" if FORMULA.match(text) else text
