"""The classes of a table: what the user says about labels, -1 beside other labels, and the order of the classes."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from suite.data.formats.table_labels import HIDDEN, NOT_GIVEN, NoLabel, is_number, plain
from suite.errors import DataError
from suite.types import ClassNames, Remark

SIGNS = ({"-1", "1"}, {"-1", "0", "1"})
"""Labels among which -1 is usually a class: the negative one of two or three."""

UNSAID = frozenset(("nan", "none", "null", "na", "n/a", "<na>", "nil", "unknown", "?", "-"))
"""Labels, in lower case, that may mean that there is none: pandas and other tools write them."""

RARE = 10
"""How many times more records one of these labels has than another from which on the user is asked what -1 means."""


@dataclass(frozen=True)
class LabelRules:
    """What the user says about labels.

    Attributes:
        classes: class names, in the order of their numbers if labels are numbers; empty if the labels say them.
        missing: the label of records without one, in the form that `plain` returns; None if there is none.
        minus_one: whether -1 is a class although `classes` does not name it.
    """

    classes: tuple[str, ...] = ()
    missing: str | None = None
    minus_one: bool = False


def label_rules(classes: Sequence[Any], missing: Any) -> LabelRules:
    """Return rules from the arguments of a task, which may be numbers.

    Raises:
        DataError: `missing` is neither a name nor an integer.
    """
    try:
        return LabelRules(tuple(map(str, classes)), None if missing is None else plain(missing))
    except NoLabel as error:
        raise DataError(f"missing={missing!r}: {error}. Empty labels count as missing without it.") from error


def of_rules(label: str, rules: LabelRules) -> str:
    """Return the class of a label: the class of this name, or the one with this number unless class names are numbers.

    Without classes, every label but a missing one is a class; for -1 see `with_minus_one`.

    Raises:
        NoLabel: the label is none of the classes, or means that there is none.
        DataError: it is a number out of range: the other numbers may then be off by one.
    """
    classes = rules.classes
    if label == rules.missing:
        raise NoLabel(f"label {label}, which means that there is none (missing={label!r})")
    if label in classes or (not classes and label != HIDDEN) or (label == HIDDEN and rules.minus_one):
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
    raise NoLabel(f"label {label!r:.40}; expected one of {', '.join(classes[:12])}")


def with_minus_one(parts: Sequence[Sequence[str]], rules: LabelRules) -> LabelRules:
    """Return the rules with what the label -1 means; without any, a part in which all records have it is hidden.

    -1 is a class beside 1, or beside 0 and 1, if none of these labels is more than `RARE` times rarer than another.

    Args:
        parts: the labels of each part, in the form that `plain` returns.
        rules: what the user says; that comes first.

    Raises:
        DataError: it stands beside other labels, and nobody says what it means; or no record has the missing label.
    """
    if rules.missing not in (None, HIDDEN) and not any(rules.missing in labels for labels in parts):
        raise DataError(f"missing={rules.missing!r} is the label of no record; correct it, or leave it out.")
    counts = Counter(label for labels in parts if set(labels) != {HIDDEN} for label in labels)
    if HIDDEN not in counts or HIDDEN in (*rules.classes, rules.missing):
        return rules
    if not rules.classes and set(counts) in SIGNS and max(counts.values()) <= RARE * min(counts.values()):
        return replace(rules, minus_one=True)
    others = _in_order(set(counts) - {HIDDEN})
    listed = ", ".join(f"{label} ({counts[label]:,})" for label in others[:6]) + ", ..." * (len(others) > 6)
    names = ", ".join(map(repr, _in_order(set(counts))[:12])) + ", ..." * (len(others) > 11)
    raise DataError(
        f"{counts[HIDDEN]:,} of {counts.total():,} records have the label -1, beside {listed}. If it is a class, name "
        f"the classes as the labels do: classes=[{names}]. If it means that there is no label, give missing='-1'."
    )


def check_forms(labels: Iterable[str]) -> None:
    """Check that the labels of all parts, in the form that `plain` returns, are all names or all numbers.

    Raises:
        DataError: names are mixed with numbers, or differ only in case or in how their accents are encoded.
    """
    distinct = sorted(set(labels))
    named, numbered = [x for x in distinct if not is_number(x)], [x for x in distinct if is_number(x)]
    if named and numbered:
        raise DataError(
            f"The labels are names ({named[0]!r}) and numbers ({numbered[0]!r}) in one column; use one form, or give "
            "classes=[...] in the order of the numbers."
        )
    spellings: dict[str, str] = {}
    for name in named:
        if (other := spellings.setdefault(_visible(name), name)) != name:
            how = "case" if (other + name).isascii() else "case, in invisible characters, or in how accents are encoded"
            raise DataError(f"The labels {other!a} and {name!a} differ only in {how}; use one of them.")


def _visible(name: str) -> str:
    """Return a label as it is compared: without case, the encoding of accents, and characters such as U+200B."""
    letters = unicodedata.normalize("NFC", name.casefold())
    return "".join(letter for letter in letters if unicodedata.category(letter) != "Cf")


def class_order(labels: Iterable[str]) -> Iterator[ClassNames | Remark]:
    """Yield the classes of labels that nobody numbered, and a remark if they are numbers with another start or gaps."""
    names = _in_order(set(labels))
    for name in names:
        if name.casefold() in UNSAID:
            yield Remark(f"the label {name} is a class; if it means that there is no label, give missing={name!r}")
    are_numbers = all(map(is_number, names))
    yield ClassNames(names, "label numbers, from low to high" if are_numbers else "label names sorted as text")
    if are_numbers and names != tuple(map(str, range(len(names)))):
        listed = ", ".join(names[:6]) + ", ..." * (len(names) > 6)
        yield Remark(
            f"the labels are the numbers {listed}: outputs 0 to {len(names) - 1} of a model stand for them in this "
            "order; if some classes have no record, name all of them in classes=[...]"
        )


def _in_order(labels: set[str]) -> tuple[str, ...]:
    """Return numbers by their size, or names as text if some labels are names."""
    return tuple(sorted(labels, key=int) if all(map(is_number, labels)) else sorted(labels))
