"""One form for a label of a table, which may be a name, a number, a number as text, or a boolean."""

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from suite.escaping import escaped_name

HIDDEN = "-1"
"""What data sets with private test labels write in place of a label."""

NOT_GIVEN = "label -1, which means that there is none; if it is a class, name '-1' in classes="

INTEGER = re.compile("-?[0-9]{1,18}")
"""A label that is a number; one with more digits is a name."""


class NoLabel(Exception):
    """A record cannot be used; the message says why."""


def plain(value: Any, names: Sequence[str] = ()) -> str:
    """Return a label as its name, or as the digits of an integer.

    Args:
        value: the cell of the table: 1, 1.0, "1", "1.0" and " 1 " are the same label; True and False are names.
        names: class names in the order of their numbers, if the table gives them.

    Raises:
        NoLabel: the cell is empty, is neither a name nor an integer, or is no class of the table.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN differs from itself
        raise NoLabel("no label")
    if isinstance(value, str | bool):
        return _named(_text(str(value)), names)
    if isinstance(value, list | tuple):
        raise NoLabel(f"a list of {len(value)} labels; expected one")
    if not isinstance(value, int | float | Decimal):
        raise NoLabel(f"label of type {type(value).__name__}; expected a name or an integer")
    if not math.isfinite(value) or value != int(value):
        raise NoLabel(f"label {value}; expected a name or an integer")
    return _numbered(int(value), names) if names else str(int(value))


def _text(value: str) -> str:
    label = value.strip()
    if escaped_name(label) != label:
        raise NoLabel(f"label {label!r:.40} with control characters or an unpaired surrogate")
    integer = re.fullmatch(r"\+?(-?[0-9]{1,18})(\.0*)?", label)
    return str(int(integer[1])) if integer else label


def _named(label: str, names: Sequence[str]) -> str:
    if names and label not in names:
        raise NoLabel(f"label {label!r:.40}; the table names the classes {', '.join(names[:12])}")
    return label


def _numbered(number: int, names: Sequence[str]) -> str:
    if str(number) == HIDDEN:
        raise NoLabel(NOT_GIVEN)
    if not 0 <= number < len(names):
        raise NoLabel(f"label {number}; the table names {len(names)} classes, from 0 to {len(names) - 1}")
    return names[number]


def is_number(label: str) -> bool:
    """Return whether a label, in the form that `plain` returns, is an integer."""
    return INTEGER.fullmatch(label) is not None
