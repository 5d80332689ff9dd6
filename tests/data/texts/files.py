"""Helpers that write small text files and group the output of readers."""

import json

import pandas as pd

from suite.data.formats.table_columns import ColumnNames
from suite.data.formats.tables import read_table
from tests.data.formats.files import SPLITS, sorted_out


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def over_splits(read):
    """Return the samples of each split by id and the rejections of all; check that splits do not overlap."""
    kept, rejected = {}, {}
    for split in SPLITS:
        kept[split], reasons = sorted_out(read(split))
        assert not rejected.keys() & reasons.keys(), "reported in two splits"
        rejected |= reasons
    names = [name for samples in kept.values() for name in samples]
    assert len(names) == len(set(names)), "a sample in two splits"
    return kept, rejected


def labels(samples):
    return {name: sample.target for name, sample in samples.items()}


def everything(path, classes=(), missing=None, **columns):
    """Return every text with its label, and every rejection, of a table without splits."""
    options = {"columns": ColumnNames(**columns), "classes": classes, "missing": missing}
    kept, rejected = over_splits(lambda split: read_table(str(path), split, seed=0, **options))
    samples = {name: sample for split in kept.values() for name, sample in split.items()}
    return [(samples[name].input, samples[name].target) for name in sorted(samples, key=int)], rejected


def csv(file, targets, texts=None, **options):
    texts = texts or [f"text {number}" for number in range(len(targets))]
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"text": texts, "label": targets}).to_csv(file, index=False, **options)
    return file


def jsonl(file, targets):
    rows = (json.dumps({"text": f"text {number}", "label": label}) for number, label in enumerate(targets))
    return write(file, "\n".join(rows))
