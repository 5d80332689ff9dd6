"""What a task's data are, and what was dropped of them."""

from __future__ import annotations

from dataclasses import dataclass, field

PART = "part of a sample"
"""The reason in the data report for a sample that is kept although a part of it was dropped."""


@dataclass(frozen=True)
class TaskInfo:
    """What a model may know about a task before it is built.

    Attributes:
        input_shape: (channels, height, width) of images, or (characters,) of texts.
        words: the vocabulary of training texts, the most frequent word first; empty for anything but texts.
    """

    name: str
    kind: str
    version: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    source: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataReport:
    """How many samples each split kept, and the id and detail of every dropped record, by reason.

    Attributes:
        seen: number of records that the task offered; without listed splits, all of them are kept or dropped.
        remarks: sentences about the data as a whole, such as that they have no test part.
        listed: splits whose files were listed and not read; unreadable and repeated ones among them are not yet known.
    """

    kept: dict[str, int]
    dropped: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    listed: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    seen: int = 0

    def sentence(self) -> str:
        """Return the report as one line of text."""
        counts = [f"{count:,} {split}" + " (not read)" * (split in self.listed) for split, count in self.kept.items()]
        return "; ".join([", ".join(counts), self.dropped_sentence(), *self.remarks])

    def lines(self, most: int | None = None) -> list[str]:
        """Return the report as lines of text: counts, dropped records, at most so many of each reason, and remarks."""
        dropped = sum(len(records) for reason, records in self.dropped.items() if reason != PART)
        kept = ", ".join(f"{count:,} {split}" for split, count in self.kept.items())
        lines = [f"{self.seen:,} files or records seen: {kept}; {dropped:,} dropped"]
        for reason, records in sorted(self.dropped.items()):
            lines.append(f"{_count(reason, records):,} {_what(reason)}:")
            lines += [f"  {name}: {detail}" for name, detail in records[:most]]
            if most is not None and len(records) > most:
                lines.append(f"  and {len(records) - most:,} more (--all lists them)")
        return lines + [f"note: {remark}" for remark in self.remarks]

    def dropped_sentence(self) -> str:
        """Return what was dropped as one line of text."""
        lines = []
        for reason, records in sorted(self.dropped.items()):
            examples = "; ".join(f"{name}: {detail}" for name, detail in records[:3])
            more = f"; and {len(records) - 3:,} more" if len(records) > 3 else ""
            lines.append(f"{_count(reason, records):,} of {self.seen:,} {_what(reason)} ({examples}{more})")
        return "; ".join(lines) or "nothing dropped"


def _count(reason: str, records: list[tuple[str, str]]) -> int:
    """Return how many records a reason concerns; a sample without several parts is one."""
    return len({name for name, _ in records}) if reason == PART else len(records)


def _what(reason: str) -> str:
    return "kept without a part" if reason == PART else f"dropped, {reason}"
