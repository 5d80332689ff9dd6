"""Tables of texts and labels: every format, every folder layout, and invalid rows and files."""

import json
import re

import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest

from suite.data.formats.table_columns import ColumnNames
from suite.data.formats.table_files import read_columns
from suite.data.formats.tables import read_table
from suite.errors import DataError
from suite.runner.preparation import prepare_task
from suite.types import Remark
from tests.data.texts.files import csv, everything, jsonl, labels, over_splits, sorted_out, write

TEXTS = ["good", 'a "quoted", one', "two\nlines", "naïve 🎈", "NA", "null"]
LABELS = ["pos", "neg", "pos", "neg", "pos", "neg"]
FEATURES = {"label": {"names": ["bad", "fine"], "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}


def read(path, split="test", **options):
    return sorted_out(read_table(str(path), split, seed=0, **options))


def arrow(file, texts, answers, stream=True, about=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"other": range(len(texts)), "text": texts, "label": answers}).replace_schema_metadata(about)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(file), table.schema) as writer:
        writer.write_table(table)


def saved(folder, *shards):
    """Write a folder like `save_to_disk` of the library datasets."""
    names = [f"data-{number:05d}-of-{len(shards):05d}.arrow" for number in range(len(shards))]
    for name, answers in zip(names, shards, strict=True):
        arrow(folder / name, [f"{folder.name} {name} {n}" for n in range(len(answers))], answers)
    write(folder / "state.json", json.dumps({"_data_files": [{"filename": name} for name in names]}))
    write(folder / "dataset_info.json", json.dumps({"features": FEATURES}))


FORMATS = {
    "a.csv": lambda file: pd.DataFrame({"label": LABELS, "text": TEXTS}).to_csv(file, index=False),
    "bom.csv": lambda file: pd.DataFrame({"text": TEXTS, "label": LABELS}).to_csv(
        file, index=False, encoding="utf-8-sig"
    ),
    "crlf.CSV": lambda file: pd.DataFrame({"text": TEXTS, "label": LABELS}).to_csv(
        file, index=False, lineterminator="\r\n"
    ),
    "a.jsonl": lambda file: pd.DataFrame({"text": TEXTS, "label": LABELS}).to_json(file, orient="records", lines=True),
    "a.parquet": lambda file: pd.DataFrame({"text": TEXTS, "label": LABELS}).to_parquet(file),
    "stream.arrow": lambda file: arrow(file, TEXTS, LABELS),
    "file.arrow": lambda file: arrow(file, TEXTS, LABELS, stream=False),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_round_trips(tmp_path, name):
    FORMATS[name](tmp_path / name)
    assert everything(tmp_path / name) == (list(zip(TEXTS, LABELS, strict=True)), {})


def test_quotation_marks_in_a_tsv_have_no_special_meaning(tmp_path):
    file = write(tmp_path / "a.tsv", 'text\tlabel\nan " unbalanced one\tpos\n"quoted"\tneg\nafter it\tpos\n')
    samples, _ = everything(file)
    assert samples == [('an " unbalanced one', "pos"), ('"quoted"', "neg"), ("after it", "pos")]


def test_a_record_without_a_text_or_a_label_is_rejected(tmp_path):
    rows = [
        {"text": None, "label": 1}, {"text": float("nan"), "label": 1}, {"label": 1}, {"text": 5, "label": 1},
        {"text": "a", "label": None}, {"text": "b", "label": float("nan")}, {"text": "c"}, {"text": "d", "label": "  "},
        {"text": "e", "label": {}}, {"text": "f", "label": 0.5}, {"text": "g", "label": [1, 2]},
        {"text": "h", "label": float("inf")}, {"text": "right", "label": 1}, {"text": "wrong", "label": 0},
        {"text": "", "label": 0},
    ]  # fmt: skip
    lines = [json.dumps(row) for row in rows] + ["{broken", "[1, 2]", ""]
    samples, rejected = everything(write(tmp_path / "a.jsonl", "\r\n".join(lines)))
    assert samples == [("right", "1"), ("wrong", "0"), ("", "0")]
    assert [rejected[str(row)] for row in range(3)] == ["no text"] * 3
    assert rejected["3"] == "a text of type int (5); expected a string"
    assert [rejected[str(row)] for row in range(4, 8)] == ["no label"] * 4
    assert rejected["8"].startswith("label of type dict") and rejected["9"].startswith("label 0.5; expected a name")
    assert rejected["10"] == "a list of 2 labels; expected one" and rejected["11"].startswith("label inf")
    assert rejected["15"].startswith("line 16 is not usable JSON: Expecting property name")
    assert rejected["16"] == "line 17 is JSON of type list, not an object"
    assert len(samples) + len(rejected) == 17


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet"])
def test_empty_cells_are_missing_values(tmp_path, name):
    if name.endswith("parquet"):
        table = pd.DataFrame({"text": ["a", None, "b", "c", None], "label": [1.0, 0.0, None, 0.0, None]})
        table.to_parquet(tmp_path / name)
    else:
        write(tmp_path / name, "text|label\na|1\n|0\nb|\nc|0\n|\n".replace("|", "," if name == "a.csv" else "\t"))
    samples, rejected = everything(tmp_path / name)
    assert samples == [("a", "1"), ("c", "0")] and rejected == {"1": "no text", "2": "no label", "4": "no label"}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_another_encoding_is_reported_with_its_first_invalid_byte(tmp_path, name):
    with pytest.raises(DataError, match=rf"{name} is not UTF-8 at byte 14 \(0xe9\); convert it"):
        everything(write(tmp_path / name, b"text,label\ncaf\xe9,1\n"))


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_rows_with_too_few_or_too_many_cells_are_rejected_by_line(tmp_path, ending):
    rows = "text,label\na,1\nb,c,0\n\nd\ne,0\n".replace(",", "," if ending == "csv" else "\t")
    samples, rejected = everything(write(tmp_path / f"a.{ending}", rows))
    assert samples == [("a", "1"), ("e", "0")]
    assert rejected == {
        "1": "line 3 has 3 cells; the first line names 2 columns",
        "2": "line 5 has 1 cell; the first line names 2 columns",
    }


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"PAR1 no table", b"ARROW1 no table"])
def test_files_that_are_not_tables_are_an_error(tmp_path, name, content):
    with pytest.raises(DataError, match=r"cannot be read as \w+"):
        everything(write(tmp_path / name, content))


@pytest.mark.parametrize("name", FORMATS)
def test_columns_can_be_chosen_and_unknown_names_get_suggestions(tmp_path, name):
    FORMATS[name](tmp_path / name)
    with pytest.raises(DataError, match=r"has no column 'labels'; set label=\.\.\. Did you mean 'label'"):
        everything(tmp_path / name, label="labels")
    with pytest.raises(DataError, match=r"has no column 'sentence'; set text=\.\.\. Known: .*label, .*text"):
        everything(tmp_path / name, text="sentence")
    assert everything(tmp_path / name, text="label", label="text")[0][0] == ("pos", "good")


def test_files_named_by_their_split_are_the_splits(tmp_path):
    for name, count in (("train", 10), ("dev", 4), ("test", 6)):
        csv(tmp_path / f"{name}.csv", [0, 1] * (count // 2), [f"{name} {n}" for n in range(count)])
    csv(tmp_path / "unsupervised.csv", [-1], ["x"]), write(tmp_path / "README.md", "x")
    kept, rejected = over_splits(lambda split: read_table(str(tmp_path), split, seed=0))
    assert [set(samples) for samples in kept.values()] == [
        {f"{part}/{n}" for n in range(count)} for part, count in (("train", 10), ("validation", 4), ("test", 6))
    ]
    assert not rejected and kept["validation"]["validation/3"].input == "dev 3"


def test_a_single_table_is_split_within_each_class(tmp_path):
    file = csv(tmp_path / "a.csv", ["a"] * 20 + ["b"] * 60 + ["c"] * 20)
    kept, _ = over_splits(lambda split: read_table(str(file), split, seed=5))
    counts = {split: [list(labels(samples).values()).count(name) for name in "abc"] for split, samples in kept.items()}
    assert [sum(column) for column in zip(*counts.values(), strict=True)] == [20, 60, 20]
    assert all(count > 0 for found in counts.values() for count in found)
    again, _ = over_splits(lambda split: read_table(str(file), split, seed=5))
    other, _ = over_splits(lambda split: read_table(str(file), split, seed=6))
    assert kept == again != other


def test_parquet_shards_of_the_hub_are_read_with_their_class_names(tmp_path):
    about = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    for name, answers in (
        ("train-00000-of-00002", [0, 1]),
        ("train-00001-of-00002", [1, 2]),
        ("test-00000-of-00001", [1]),
    ):
        table = pa.table({"text": [f"{name} {n}" for n in range(len(answers))], "label": answers})
        (tmp_path / "data").mkdir(exist_ok=True)
        pa.parquet.write_table(table.replace_schema_metadata(about), tmp_path / "data" / f"{name}.parquet")
    kept, rejected = over_splits(lambda split: read_table(str(tmp_path), split, seed=0))
    trained_on = labels({**kept["train"], **kept["validation"]})
    assert trained_on == {"train/0": "bad", "train/1": "fine", "train/2": "fine"}
    assert labels(kept["test"]) == {"test/0": "fine"}
    assert rejected == {"train/3": "label 2; the table names 2 classes, from 0 to 1"}


def test_the_splits_of_save_to_disk_are_read(tmp_path):
    saved(tmp_path / "train", [0, 1, 0], [1, 0])
    saved(tmp_path / "validation", [1, 0])
    saved(tmp_path / "test", [-1, -1, -1])
    saved(tmp_path / "unsupervised", [-1])
    write(tmp_path / "dataset_dict.json", "{}")
    kept, rejected = over_splits(lambda split: read_table(str(tmp_path), split, seed=0))
    trained_on = {**kept["train"], **kept["validation"]}
    assert labels(trained_on) == {
        f"train/{row}": name for row, name in enumerate(["bad", "fine", "bad", "fine", "bad"])
    }
    assert trained_on["train/3"].input == "train data-00001-of-00002.arrow 0"
    # The test labels are private: validation becomes the test split, and the dropped records are reported.
    assert labels(kept["test"]) == {"validation/0": "fine", "validation/1": "bad"}
    assert set(rejected) == {"test/0", "test/1", "test/2"}


def test_a_single_saved_table_is_split_by_seed(tmp_path):
    saved(tmp_path, [0, 1] * 5)
    samples, _ = everything(tmp_path)
    assert [label for _, label in samples] == ["bad", "fine"] * 5


def test_stored_class_names_may_be_numbers(tmp_path):
    saved(tmp_path, [0, 1, 0, 1])
    stars = {"features": {"label": {"names": ["1", "2"], "_type": "ClassLabel"}}}
    write(tmp_path / "dataset_info.json", json.dumps(stars))
    assert [label for _, label in everything(tmp_path)[0]] == ["1", "2", "1", "2"]


def test_a_saved_selection_of_rows_is_an_error(tmp_path):
    saved(tmp_path, [0, 1])
    state = json.loads((tmp_path / "state.json").read_text())
    write(tmp_path / "state.json", json.dumps(state | {"_indices_data_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match="call flatten_indices"):
        everything(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"_data_files": null}',
        '{"_data_files": []}',
        '{"_data_files": [1]}',
        '{"_data_files": [{}]}',
        "[" * 9999,
    ],
)
def test_a_malformed_state_file_is_an_error(tmp_path, content):
    saved(tmp_path, [0, 1])
    write(tmp_path / "state.json", content)
    with pytest.raises(DataError, match=r"state\.json (does not list the data files|cannot be read as JSON)"):
        everything(tmp_path)


def test_missing_unknown_and_ambiguous_files_are_errors(tmp_path):
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no tables named train, validation or test"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"ends in '\.xlsx'; expected one of \.arrow, \.csv"):
        read(write(tmp_path / "a.xlsx", "x"))
    csv(tmp_path / "train.csv", [0, 1]), jsonl(tmp_path / "train.jsonl", [0, 1])
    with pytest.raises(DataError, match=r"train\.csv and train\.jsonl both name the train part"):
        read(tmp_path)


GOOD = "text,label\n" + "".join(f"text {number},{number % 2}\n" for number in range(20))
EMPTY = {
    "cells": ("csv", "text,label\n,1\n,0\n", "2 of 2 dropped, unreadable (test/0: no text; test/1: no text)"),
    "spaces": (
        "csv",
        'text,label\n  ,1\n" ",0\n',
        "2 of 2 dropped, unusable (test/0: a text of 2 spaces and nothing else",
    ),
    "strings": (
        "jsonl",
        '{"text": "", "label": 1}\n{"text": " ", "label": 0}\n',
        "2 of 2 dropped, unusable (test/0: a text",
    ),
}


@pytest.mark.parametrize(("ending", "content", "reason"), EMPTY.values(), ids=EMPTY)
def test_a_test_part_with_only_empty_texts_is_an_error_that_names_them(tmp_path, ending, content, reason):
    write(tmp_path / "train.csv", GOOD), write(tmp_path / "validation.csv", GOOD.replace("text ", "other "))
    write(tmp_path / f"test.{ending}", content)
    with pytest.raises(DataError, match=r"has no usable test sample: " + re.escape(reason)):
        prepare_task(f"texttable(path='{tmp_path}')", 0)


def test_some_empty_texts_are_dropped_and_reported(tmp_path):
    write(tmp_path / "train.csv", GOOD)
    write(tmp_path / "test.csv", "text,label\n,1\nfine,1\n  ,0\npoor,0\n")
    data = prepare_task(f"texttable(path='{tmp_path}')", 0).data
    assert data.test.ids == ("test/1", "test/3") and data.report.kept["test"] == 2
    assert data.report.dropped == {
        "unreadable": [("test/0", "no text")],
        "unusable": [("test/2", "a text of 2 spaces and nothing else; there is nothing to read")],
    }


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_train_or_validation_part_with_only_empty_texts_is_empty_and_reported(tmp_path, part):
    other = {"train": "validation", "validation": "train"}[part]
    write(tmp_path / f"{part}.csv", "text,label\n,1\n,0\n"), write(tmp_path / f"{other}.csv", GOOD)
    write(tmp_path / "test.csv", GOOD.replace("text ", "other "))
    report = prepare_task(f"texttable(path='{tmp_path}')", 0).data.report
    assert report.kept == {part: 0, other: 20, "test": 20}
    assert report.dropped == {"unreadable": [(f"{part}/0", "no text"), (f"{part}/1", "no text")]}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("test.csv", "", "test.csv is empty; expected a first line that names the columns"),
        ("test.jsonl", "", "test.jsonl has no column 'text'"),
        ("test.jsonl", "\n\n", "test.jsonl has no column 'text'"),
        ("test.csv", "text,label\n", "test.csv has no rows"),
        ("validation.csv", "text,label\n", "validation.csv has no rows"),
    ],
)
def test_a_file_without_rows_is_an_error(tmp_path, name, content, reason):
    write(tmp_path / "train.csv", GOOD), write(tmp_path / name, content)
    with pytest.raises(DataError, match=reason):
        prepare_task(f"texttable(path='{tmp_path}')", 0)


def test_a_table_without_a_single_text_is_an_error(tmp_path):
    file = write(tmp_path / "a.csv", "text,label\n,1\n,0\n")
    with pytest.raises(DataError, match=r"No record has both a text and a label; first: no text"):
        prepare_task(f"texttable(path='{file}')", 0)


def test_two_columns_of_one_name_are_an_error(tmp_path):
    for ending, between in (("csv", ","), ("tsv", "\t")):
        file = write(tmp_path / f"a.{ending}", f"text{between}label{between}text\none{between}1{between}two\n")
        with pytest.raises(DataError, match="has 2 columns 'text'; rename all but one"):
            read_columns(file, ColumnNames())


def test_a_carriage_return_within_a_cell_does_not_end_the_row(tmp_path):
    table = write(tmp_path / "a.tsv", "text\tlabel\r\nI hate it\rgreat fun\t1\r\nfine\t0\r\n")
    samples = read_columns(table, ColumnNames())
    assert (samples.texts, samples.labels) == (["I hate it\rgreat fun", "fine"], ["1", "0"])


def test_a_table_with_another_separator_gets_a_hint(tmp_path):
    with pytest.raises(DataError, match=r"no column 'text'; set text=\.\.\. It has a single column: a .csv is"):
        read_columns(write(tmp_path / "a.csv", "text;label\ngood;1\n"), ColumnNames())


def lines_of(file, *lines):
    return write(file, "\n".join(lines))


GOOD_LINE = '{"text": "good %d", "label": %d}'


def test_a_line_that_is_not_usable_json_is_rejected_by_its_number(tmp_path):
    bad = {
        '{"text": "a", "label": 1': "line 3 is not usable JSON: Expecting ',' delimiter",
        '{"text": "a", "label": 1, "label": 0}': "line 3 is not usable JSON: 'label' stands twice in one object",
        '{"text": "a", "label": ' + "9" * 5000 + "}": "line 3 is not usable JSON: Exceeds the limit",
        "[" * 100_000: "line 3 is not usable JSON: maximum recursion depth",
        '["a", 1]': "line 3 is JSON of type list, not an object",
        '"a"': "line 3 is JSON of type str, not an object",
        "null": "line 3 is JSON of type NoneType, not an object",
    }
    for line, reason in bad.items():
        file = lines_of(tmp_path / "a.jsonl", GOOD_LINE % (0, 0), "", line, GOOD_LINE % (1, 1))
        samples, rejected = everything(file)
        assert samples == [("good 0", "0"), ("good 1", "1")]
        assert list(rejected) == ["1"] and rejected["1"].startswith(reason)


def test_only_line_feeds_end_lines_of_json(tmp_path):
    lines = ['{"text": "a\u2028b\x85c", "label": 1}\r', '{"text": "d\u2029", "label": 0}\r']
    samples, rejected = everything(lines_of(tmp_path / "a.jsonl", *lines))
    assert samples == [("a\u2028b\x85c", "1"), ("d\u2029", "0")] and not rejected


@pytest.mark.parametrize("content", ['[{"text": "a", "label": 1}]', '\n[\n  {"text": "a", "label": 1},\n  {}\n]\n'])
def test_a_json_array_is_an_error_that_says_so(tmp_path, content):
    with pytest.raises(
        DataError, match=r"a\.jsonl is one JSON array; expected JSON lines, which are one object per line"
    ):
        everything(write(tmp_path / "a.jsonl", content))


def parquet(file, columns, about=None):
    pa.parquet.write_table(pa.table(columns).replace_schema_metadata(about), file)
    return file


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["b", "a", "b", "a"]).dictionary_encode(), "baba"),
        (pa.array(["b", "a", "b", "a"], pa.large_string()), "baba"),
        (pa.array([True, False, True, False]), ["True", "False", "True", "False"]),
        (pa.array([1, 0, 1, 0], pa.decimal128(5, 2)), "1010"),
        (pa.array([1, 0, 1, 0], pa.uint8()), "1010"),
        (pa.array([1.0, 0.0, 1.0, 0.0], pa.float16()), "1010"),
    ],
    ids=str,
)
def test_labels_of_every_type_of_column_are_read(tmp_path, values, expected):
    file = parquet(tmp_path / "a.parquet", {"text": list("wxyz"), "label": values})
    samples, rejected = everything(file)
    assert [label for _, label in samples] == list(expected) and not rejected


def test_values_that_are_no_texts_or_labels_are_rejected_by_their_type(tmp_path):
    columns = {
        "text": pa.array([b"a", None], pa.binary()),
        "nothing": pa.nulls(2),
        "list": pa.array([[1, 2], []]),
        "time": pa.array([0, 1], pa.timestamp("s")),
        "day": pa.array([0, 1], pa.date32()),
        "words": pa.array(["a", "b"]),
        "label": pa.array([0, 1]),
    }
    file = parquet(tmp_path / "a.parquet", columns)
    reasons = {
        ("text", "label"): "a text of type bytes (b'a'); expected a string",
        ("list", "label"): "a text of type list ([1, 2]); expected a string",
        ("nothing", "label"): "no text",
        ("words", "nothing"): "no label",
        ("words", "list"): "a list of 2 labels; expected one",
        ("words", "text"): "label of type bytes; expected a name or an integer",
        ("words", "time"): "label of type datetime; expected a name or an integer",
        ("words", "day"): "label of type date; expected a name or an integer",
    }
    for (text, label), reason in reasons.items():
        with pytest.raises(DataError, match=re.escape(f"No record has both a text and a label; first: {reason}.")):
            everything(file, text=text, label=label)


def test_class_names_of_a_file_are_the_order_of_the_classes_with_unused_ones(tmp_path):
    names = ["zero", "two", "one", "unused"]
    about = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})}
    file = parquet(tmp_path / "a.parquet", {"text": [f"t{n}" for n in range(60)], "label": [0, 1, 2] * 20}, about)
    data = prepare_task(f"texttable(path='{file}')", 0).data
    assert data.info.classes == ("zero", "two", "one", "unused")
    assert "classes in the order of the class names in a.parquet" in data.report.remarks
    assert [data.info.classes[target] for target in data.test.targets[:3]] == [
        ["zero", "two", "one"][int(name) % 3] for name in data.test.ids[:3]
    ]


def test_minus_one_has_no_label_where_the_file_names_classes(tmp_path):
    saved(tmp_path, [0, 1, -1, 0, 1, -1, 2, -2])
    _, rejected = everything(tmp_path)
    hidden = "label -1, which means that there is none; if it is a class, name '-1' in classes="
    assert rejected == {"2": hidden, "5": hidden} | {
        str(row): f"label {label}; the table names 2 classes, from 0 to 1" for row, label in ((6, 2), (7, -2))
    }


def test_files_with_different_class_names_are_an_error(tmp_path):
    for part, names in (("train", ["a", "b"]), ("test", ["b", "a"])):
        about = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names}}}})}
        parquet(tmp_path / f"{part}.parquet", {"text": list("xyz"), "label": [0, 1, 0]}, about)
    with pytest.raises(
        DataError, match=r"the class names in test\.parquet are b, a, and the class names in train\.parquet"
    ):
        everything(tmp_path)


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ("{", "cannot be read as Parquet: Expecting property name"),
        ("[" * 100_000, "cannot be read as Parquet: maximum recursion depth"),
        (b"\xff", "cannot be read as Parquet: 'utf-8' codec"),
        ('{"info": {"features": {"label": {"names": [0, 1]}}}}', r"gives \[0, 1\] as class names of 'label'; expected"),
        (
            '{"info": {"features": {"label": {"names": 7}}}}',
            "gives 7 as class names of 'label'; expected a list of texts",
        ),
        ('{"info": {"features": {"label": {"names": ["a", "a"]}}}}', "names a class of 'label' twice: a, a"),
        (
            r'{"info": {"features": {"label": {"names": ["a", "\ud83d"]}}}}',
            r"gives \['a', '\\ud83d'\] as class names of 'label'; expected a list of texts",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_damaged_class_names_are_an_error(tmp_path, about, reason):
    file = parquet(tmp_path / "a.parquet", {"text": ["a", "b"], "label": [0, 1]}, {"huggingface": about})
    with pytest.raises(DataError, match=rf"a\.parquet {reason}"):
        everything(file)


@pytest.mark.parametrize(
    "about", ["[]", "{}", '{"info": 3}', '{"info": {"features": [1]}}', '{"info": {"features": {"label": 1}}}']
)
def test_metadata_without_class_names_change_nothing(tmp_path, about):
    file = parquet(tmp_path / "a.parquet", {"text": ["a", "b"], "label": [0, 1]}, {"huggingface": about})
    assert everything(file)[0] == [("a", "0"), ("b", "1")]


def test_a_missing_shard_is_an_error(tmp_path):
    saved(tmp_path / "train", [0, 1], [0, 1])
    (tmp_path / "train" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow' cannot be read: No such file"):
        everything(tmp_path)
    for name in ("train-00000-of-00003", "train-00002-of-00003"):
        csv(tmp_path / "named" / f"{name}.csv", [0, 1])
    with pytest.raises(DataError, match=r"train has 2 of 3 shards, such as train-00000-of-00003\.csv; get the others"):
        everything(tmp_path / "named")


@pytest.mark.parametrize(("name", "reason"), [("a" * 300, "File name too long"), ("a\0b", "null"), ("", "a folder")])
def test_a_shard_whose_name_cannot_exist_is_an_error(tmp_path, name, reason):
    saved(tmp_path, [0, 1])
    write(tmp_path / "state.json", json.dumps({"_data_files": [{"filename": f"{name}.arrow" if name else ""}]}))
    with pytest.raises(DataError, match=f"cannot be read: .*{reason}"):
        everything(tmp_path)


def test_a_split_that_dataset_dict_lists_and_that_is_missing_is_an_error(tmp_path):
    saved(tmp_path / "train", [0, 1])
    write(tmp_path / "dataset_dict.json", '{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=r"lists the split 'test', and test/state\.json is missing; copy it, too"):
        everything(tmp_path)
    write(tmp_path / "dataset_dict.json", '{"splits": 3}')
    with pytest.raises(DataError, match=r"dataset_dict\.json does not list the splits"):
        everything(tmp_path)


def test_a_saved_split_of_another_name_is_said(tmp_path):
    for name in ("train", "test", "unsupervised"):
        saved(tmp_path / name, [0, 1])
    remarks = [item for item in read_table(str(tmp_path), "test", seed=0) if isinstance(item, Remark)]
    assert remarks == [Remark(f"1 of 3 files and folders in {tmp_path.name} is not read: unsupervised")]
