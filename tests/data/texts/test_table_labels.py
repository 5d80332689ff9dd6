"""Labels of tables: names, numbers, and ambiguous columns, which are rejected."""

import pytest

from suite.data.formats.tables import read_table
from suite.errors import DataError
from tests.data.texts.files import csv, everything, jsonl


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 0, 1, 0], "1010"),
        ([1.0, 0.0, 1.0, 0.0], "1010"),
        (["1", "0", "1", "0"], "1010"),
        (["1", "0", 1, 0.0], "1010"),
        ([" 1", "0 ", "1.0", "0."], "1010"),
        ([True, False, True, False], ["True", "False", "True", "False"]),
        (["positive", " negative", "positive ", "negative"], ["positive", "negative", "positive", "negative"]),
        ([3, 10, -2, 5], ["3", "10", "-2", "5"]),
    ],
    ids=str,
)
def test_equal_numbers_in_different_forms_are_one_label(tmp_path, values, expected):
    rows, rejected = everything(jsonl(tmp_path / "a.jsonl", values))
    assert [label for _, label in rows] == list(expected) and not rejected


@pytest.mark.parametrize("values", [["positive", "1", "negative", "0"], ["pos", 1, "neg", 0], [True, False, 1, 0]])
def test_names_and_numbers_in_one_column_are_an_error(tmp_path, values):
    with pytest.raises(DataError, match=r"labels are names \('\w+'\) and numbers \('0'\) in one column"):
        everything(jsonl(tmp_path / "a.jsonl", values))


def test_names_in_one_part_and_numbers_in_another_are_an_error_in_every_split(tmp_path):
    csv(tmp_path / "train.csv", ["neg", "pos"] * 5), csv(tmp_path / "test.csv", [0, 1])
    for split in ("train", "validation", "test"):
        with pytest.raises(DataError, match=r"names .* and numbers"):
            list(read_table(str(tmp_path), split, seed=0))


def test_classes_map_numbers_to_names(tmp_path):
    file = jsonl(tmp_path / "a.jsonl", ["positive", "1", "negative", 0, 1.0, True, False])
    rows, rejected = everything(file, classes=("negative", "positive"))
    assert [label for _, label in rows] == [f"{x}itive" if x == "pos" else f"{x}ative" for x in
                                             ("pos", "pos", "neg", "neg", "pos", "pos", "neg")]  # fmt: skip
    assert not rejected


def test_numeric_class_names_are_matched_by_name(tmp_path):
    rows, rejected = everything(jsonl(tmp_path / "a.jsonl", [1, 2, 0, 2]), classes=("1", "2"))
    assert [label for _, label in rows] == ["1", "2", "2"]
    assert rejected == {"2": "label '0'; expected one of 1, 2"}


def test_a_label_outside_the_classes_is_rejected(tmp_path):
    rows, rejected = everything(jsonl(tmp_path / "a.jsonl", ["a", "b", "c", 1, 1.5]), classes=("a", "b"))
    assert [label for _, label in rows] == ["a", "b", "b"]
    assert rejected == {"2": "label 'c'; expected one of a, b", "4": "label 1.5; expected a name or an integer"}


def test_numbers_out_of_the_range_of_classes_are_an_error(tmp_path):
    """Otherwise the stars 1, 2, 3 would each map to the class above their own."""
    with pytest.raises(DataError, match=r"number 3, and the 3 classes \(bad, mid, good\) are numbered from 0 to 2"):
        everything(jsonl(tmp_path / "a.jsonl", [1, 2, 3]), classes=("bad", "mid", "good"))


def test_minus_one_can_be_declared_as_a_class(tmp_path):
    rows, rejected = everything(jsonl(tmp_path / "a.jsonl", [-1, 0, 1]), classes=("-1", "0", "1"))
    assert [label for _, label in rows] == ["-1", "0", "1"] and not rejected


def test_names_that_differ_only_in_case_are_an_error(tmp_path):
    with pytest.raises(DataError, match="'Positive' and 'positive' differ only in case"):
        everything(jsonl(tmp_path / "a.jsonl", ["positive", "negative", "Positive"]))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["a", "a"], "All labels are 'a'"),
        ([1, None, 1, None], "2 records were dropped, first: no label"),
        ([], "no column"),
    ],
)
def test_data_with_one_class_are_an_error(tmp_path, values, reason):
    with pytest.raises(DataError, match=reason):
        everything(jsonl(tmp_path / "a.jsonl", values))


def test_classes_may_mix_names_and_numbers(tmp_path):
    rows, rejected = everything(jsonl(tmp_path / "a.jsonl", [1, "good", 0]), classes=("1", "good"))
    assert [label for _, label in rows] == ["1", "good"] and rejected == {"2": "label '0'; expected one of 1, good"}
