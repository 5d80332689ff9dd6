"""Groups of samples that are not independent of each other, such as photographs of one patient."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from suite.data.splitting import PROTECTED_FIRST
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

Names = Sequence[str | None]
"""The group of each sample; None where it is unknown."""


@dataclass(frozen=True)
class Grouping:
    """How the ids of samples name their groups.

    Attributes:
        pattern: a regular expression that is searched in an id, with one pair of parentheses around the name of the
            group: ``(patient[0-9]+)_``; None if no group is known.

    Raises:
        DataError: not a regular expression, one with another number of parentheses, or one that may take forever.
    """

    pattern: str | None = None

    def __post_init__(self) -> None:
        try:
            count = re.compile("()" if self.pattern is None else self.pattern).groups
        except (re.error, OverflowError, RecursionError, TypeError) as error:
            raise DataError(f"group={self.pattern!r} is not a regular expression: {error}.") from error
        if count != 1:
            raise DataError(
                f"group={self.pattern!r} has {count} pairs of parentheses; expected one around the part of an id that "
                "names its group, for example '(patient[0-9]+)_'."
            )
        if self.pattern is not None and _repeats_repetition(self.pattern):
            raise DataError(
                f"group={self.pattern!r} repeats parentheses with a repetition inside, which can take forever on an "
                "id that it does not fit; repeat a single set of characters, for example '([a-z0-9]+)_'."
            )

    def of(self, name: str) -> str | None:
        """Return the group that an id names; None if it names none."""
        found = re.search(self.pattern, name) if self.pattern is not None else None
        return (found[1] or None) if found else None

    def of_all(self, names: Sequence[str]) -> list[str | None] | None:
        """Return the group of each id; None without a pattern.

        Raises:
            DataError: no id names a group.
        """
        if self.pattern is None:
            return None
        groups = [self.of(name) for name in names]
        if names and not any(groups):
            raise DataError(f"group={self.pattern!r} fits none of {len(names):,} ids, such as {names[0]!r}.")
        return groups

    def remarks(self, names: Sequence[str]) -> Iterator[Remark]:
        """Yield a remark if only some ids name a group."""
        if groups := self.of_all(names):
            yield from ungrouped(names, groups, f"group={self.pattern!r} fits")

    def applied(self, records: Iterator[Sample | Rejected]) -> Iterator[Sample | Rejected]:
        """Yield records, and samples with the groups that their ids name."""
        for record in records:
            yield replace(record, group=self.of(record.id)) if isinstance(record, Sample) else record


def _repeats_repetition(pattern: str) -> bool:
    """Return whether parentheses that hold a repetition are themselves repeated, as in ``(a+b?)*``."""
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern, flags=re.DOTALL)  # no escapes, no sets of characters
    holds_repetition = [False]
    for letter, following in zip(bare, f"{bare[1:]} ", strict=True):
        if letter == "(":
            holds_repetition.append(False)
        elif letter == ")":
            inside = holds_repetition.pop()
            if inside and following in "*+{":
                return True
            holds_repetition[-1] |= inside
        elif letter in "*+{":
            holds_repetition[-1] = True
    return False


def ungrouped(names: Sequence[str], groups: Names, what: str) -> Iterator[Remark]:
    """Yield a remark if some samples have a group and some do not; `what` says how groups are known."""
    without = [name for name, group in zip(names, groups, strict=True) if group is None]
    if 0 < len(without) < len(names):
        yield Remark(
            f"{what} {len(names) - len(without):,} of {len(names):,} samples; each other one, such as {without[0]!r}, "
            "is a group of its own"
        )


def in_two_splits(groups: Mapping[str, Names]) -> Iterator[str]:
    """Yield a sentence on each pair of splits that share a group; `groups` has the groups of each split's samples."""
    known = {split: {group for group in groups[split] if group is not None} for split in PROTECTED_FIRST}
    for first, second in combinations(PROTECTED_FIRST, 2):
        if both := sorted(known[first] & known[second]):
            yield (
                f"{len(both):,} of {len(known[first]):,} groups in {first} are also in {second} (for example "
                f"{both[0]}), so samples of {first} are not independent of {second}"
            )
