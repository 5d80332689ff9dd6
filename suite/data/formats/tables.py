"""Labeled texts: a table in one file, one file per split, or a folder written by the library `datasets`."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from suite.data.formats.table_classes import LabelRules, check_forms, class_order, label_rules, with_minus_one
from suite.data.formats.table_columns import ColumnNames
from suite.data.formats.table_folders import find_tables
from suite.data.formats.table_parts import Part, common_names, read_part
from suite.data.groups import ungrouped
from suite.data.split_files import portion, text_contents
from suite.data.splitting import SPLITS
from suite.errors import DataError
from suite.types import ClassNames, Rejected, Remark, Sample

TEXT_AND_LABEL = ColumnNames()
"""Names of columns that most tables use."""


def read_table(
    path: str,
    split: str,
    *,
    seed: int,
    columns: ColumnNames = TEXT_AND_LABEL,
    classes: Sequence[Any] = (),
    missing: Any = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Yield the texts of one split with their labels as class names.

    Labels may be names or integers (1, 1.0, "1"), but not both, unless ``classes`` says which number is which name.
    A record without a text or a label is rejected. A part in which no record has a label, or all have -1, has private
    labels and is not used. The classes are in the order that the files give, else numbers by size and names as text.

    Args:
        path: a .csv, .tsv, .jsonl, .parquet or .arrow file; a folder with such files, or a folder data/ of them,
            named train, validation (val, valid, dev) and test, also in shards (train-00000-of-00002.parquet); or what
            `save_to_disk` wrote. `split_files.portion` says which part a split takes.
        split: train, validation or test.
        seed: seed of the stratified split, if the data do not come with one.
        columns: names of the columns of texts, labels, and of what a record belongs to, such as the review that a
            sentence is from; an empty cell there is a group of its own. Records of one group are never in two splits
            that are drawn by seed.
        classes: class names, in the order of their numbers if labels are numbers.
        missing: the label of records that have none, such as -1.

    Raises:
        DataError: no such files or columns, not UTF-8, labels in two forms, -1 beside other labels and nobody says
            what it means, or only one class.
    """
    SPLITS.index(split)
    tables = find_tables(path)
    found = [read_part(name, files, columns) for name, files in tables.parts.items()]
    rules = with_minus_one([part.labels for part in found], label_rules(classes, missing))
    parts = {part.name: part.by_rules(rules) for part in found}
    yield from tables.remarks
    yield from _classes(parts.values(), rules)
    share = portion({name for name, part in parts.items() if part.is_labeled}, split)
    if split == "test":
        yield from (record for part in parts.values() if not part.is_labeled for record in part.rejected)
    yield from share.remarks
    if share.part is None or share.part not in parts:
        return
    part = parts[share.part]
    samples, groups = part.samples, [sample.group for sample in part.samples]
    if share.reports:
        yield from part.rejected
        yield from part.remarks
        yield from ungrouped([sample.id for sample in samples], groups, f"the column {columns.group!r} is given for")
    labels = [sample.target for sample in samples]
    yield from share.take(samples, split, seed=seed, contents=text_contents, labels=labels, groups=groups)


def _classes(parts: Collection[Part], rules: LabelRules) -> Iterator[ClassNames | Remark]:
    """Yield the classes in their order, unless the user gives it; check that the labels of all parts fit together."""
    labels = [sample.target for part in parts for sample in part.samples]
    rejected = [record for part in parts for record in part.rejected]
    if not labels:
        raise DataError(f"No record has both a text and a label; first: {rejected[0].reason}. Check the columns.")
    stored = common_names(part.names for part in parts if part.names)
    if not rules.classes and not stored:
        check_forms(labels)
    if len(set(labels)) < 2:
        hint = f" {len(rejected)} records were dropped, first: {rejected[0].reason}." if rejected else ""
        raise DataError(f"All labels are {labels[0]!r}; there is nothing to classify. Give at least two classes.{hint}")
    if rules.minus_one:
        yield Remark("the label -1 is a class; if it means that there is no label, give missing='-1'")
    if not rules.classes:
        yield from [stored] if stored else list(class_order(labels))
