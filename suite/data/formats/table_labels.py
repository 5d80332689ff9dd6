"""One form for the labels of a table, which may be names, numbers, numbers as text, or booleans."""

import math
import re
from collections.abc import Sequence
from typing import Any

from suite.errors import DataError

HIDDEN = "-1"
"""What data sets with private test labels write in place of a label."""

NOT_GIVEN = "label -1, which means that there is none; if it is a class, name '-1' in classes="


class NoLabel(Exception):
    """A record cannot be used; the message says why."""


def plain(value: Any, names: Sequence[str] = ()) -> str:
    """Return a label as its name, or as the digits of an integer.

    Args:
        value: the cell of the table: 1, 1.0, "1", "1.0" and " 1 " are the same label; True and False are names.
        names: class names in the order of their numbers, if the table gives them.

    Raises:
        NoLabel: the cell is empty, is neither a name nor an integer, or has a number without a name.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN differs from itself
        raise NoLabel("no label")
    if isinstance(value, str):
        label = value.strip()
        integer = re.fullmatch(r"\+?(-?\d{1,18})(\.0*)?", label)
        return str(int(integer[1])) if integer else label
    if isinstance(value, bool):
        return str(value)
    if not isinstance(value, int | float):
        raise NoLabel(f"label of type {type(value).__name__}; expected a name or an integer")
    if not math.isfinite(value) or value != int(value):
        raise NoLabel(f"label {value}; expected a name or an integer")
    return _named(int(value), names) if names else str(int(value))


def _named(number: int, names: Sequence[str]) -> str:
    if str(number) == HIDDEN:
        raise NoLabel(NOT_GIVEN)
    if not 0 <= number < len(names):
        raise NoLabel(f"label {number}; the table names {len(names)} classes, from 0 to {len(names) - 1}")
    return names[number]


def is_number(label: str) -> bool:
    """Return whether a label, in the form that `plain` returns, is an integer."""
    return re.fullmatch(r"-?\d+", label) is not None


def of_classes(label: str, classes: Sequence[str]) -> str:
    """Return the class of a label: the class of this name, or the one with this number unless class names are numbers.

    Without classes, every label but -1 is a class.

    Raises:
        NoLabel: the label is none of the classes.
        DataError: it is a number out of range: the other numbers may then be off by one.
    """
    if label in classes or (not classes and label != HIDDEN):
        return label
    if label == HIDDEN:
        raise NoLabel(NOT_GIVEN)
    number = {"False": "0", "True": "1"}.get(label, label)
    if is_number(number) and not any(is_number(name) for name in classes):
        if int(number) not in range(len(classes)):
            raise DataError(
                f"A label is the number {label}, and the {len(classes)} classes ({', '.join(classes)}) are numbered "
                f"from 0 to {len(classes) - 1}. Number the labels like this, or give names; or leave classes= out."
            )
        return classes[int(number)]
    raise NoLabel(f"label {label!r}; expected one of {', '.join(classes)}")


def check_forms(labels: Sequence[str]) -> None:
    """Check that the labels of all parts, in the form that `plain` returns, are all names or all numbers.

    Raises:
        DataError: names are mixed with numbers, or differ only in case.
    """
    distinct = sorted(set(labels))
    named, numbered = [x for x in distinct if not is_number(x)], [x for x in distinct if is_number(x)]
    if named and numbered:
        raise DataError(
            f"The labels are names ({named[0]!r}) and numbers ({numbered[0]!r}) in one column; use one form, or give "
            "classes=[...] in the order of the numbers."
        )
    by_case: dict[str, str] = {}
    for name in named:
        if (other := by_case.setdefault(name.casefold(), name)) != name:
            raise DataError(f"The labels {other!r} and {name!r} differ only in case; use one of them.")
