"""One form for the labels of a table, which come as names, numbers, text that is a number, or truth values."""

import math
import re
from collections.abc import Sequence
from typing import Any

from suite.errors import DataError

HIDDEN = "-1"
"""What data sets with a secret test part write in place of a label."""

NOT_GIVEN = "label -1, which says that there is none; where it is a class, name '-1' in classes="


class NoLabel(Exception):
    """A record has no label that can be used; the message says why."""


def plain(value: Any, names: Sequence[str] = ()) -> str:
    """Return a label as its name, or as the digits of a whole number.

    Args:
        value: what stands in the table: 1, 1.0, "1", "1.0" and " 1 " are one label; True and False are names.
        names: class names in the order of the numbers that stand for them, where the table says them.

    Raises:
        NoLabel: nothing stands there, or what is neither a name nor a whole number, or has no name.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN differs from itself
        raise NoLabel("no label")
    if isinstance(value, str):
        label = value.strip()
        whole = re.fullmatch(r"\+?(-?\d{1,18})(\.0*)?", label)
        return str(int(whole[1])) if whole else label
    if isinstance(value, bool):
        return str(value)
    if not isinstance(value, int | float):
        raise NoLabel(f"label of type {type(value).__name__}; expected a name or a whole number")
    if not math.isfinite(value) or value != int(value):
        raise NoLabel(f"label {value}; expected a name or a whole number")
    return _named(int(value), names) if names else str(int(value))


def _named(number: int, names: Sequence[str]) -> str:
    if str(number) == HIDDEN:
        raise NoLabel(NOT_GIVEN)
    if not 0 <= number < len(names):
        raise NoLabel(f"label {number}; the table names {len(names)} classes, from 0 to {len(names) - 1}")
    return names[number]


def is_number(label: str) -> bool:
    """Return whether a label in its one form is a whole number."""
    return re.fullmatch(r"-?\d+", label) is not None


def of_classes(label: str, classes: Sequence[str]) -> str:
    """Return the class that a label stands for: its name, or the name at its number where no class is a number.

    Without classes every label is its own, but for -1.

    Raises:
        NoLabel: it stands for none of them.
        DataError: it is a number beyond them: all others may then stand for their neighbours.
    """
    if label in classes or (not classes and label != HIDDEN):
        return label
    if label == HIDDEN:
        raise NoLabel(NOT_GIVEN)
    place = {"False": "0", "True": "1"}.get(label, label)
    if is_number(place) and not any(is_number(name) for name in classes):
        if int(place) not in range(len(classes)):
            raise DataError(
                f"A label is the number {label}, and the {len(classes)} classes ({', '.join(classes)}) are numbered "
                f"from 0 to {len(classes) - 1}. Give labels so numbered, or their names; or leave classes= out."
            )
        return classes[int(place)]
    raise NoLabel(f"label {label!r}; expected one of {', '.join(classes)}")


def check_forms(labels: Sequence[str]) -> None:
    """Check that labels in their one form, of all parts together, are of one kind.

    Raises:
        DataError: names beside numbers, or names that differ by their case alone.
    """
    found = sorted(set(labels))
    named, numbered = [x for x in found if not is_number(x)], [x for x in found if is_number(x)]
    if named and numbered:
        raise DataError(
            f"The labels are names ({named[0]!r}) and numbers ({numbered[0]!r}) in one column; write one form, or give "
            "classes=[...] in the order of the numbers."
        )
    by_case: dict[str, str] = {}
    for name in named:
        if (twin := by_case.setdefault(name.casefold(), name)) != name:
            raise DataError(f"The labels {twin!r} and {name!r} differ by their case alone; write one of them.")
