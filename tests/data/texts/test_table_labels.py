"""Labels of tables: names, numbers, and what is refused because it may be either."""

import pytest

from suite.data.formats.tables import read_table
from suite.errors import DataError
from tests.data.texts.files import csv, everything, jsonl


@pytest.mark.parametrize(
    ("answers", "expected"),
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
def test_numbers_have_one_form(tmp_path, answers, expected):
    found, rejected = everything(jsonl(tmp_path / "a.jsonl", answers))
    assert [label for _, label in found] == list(expected) and not rejected


@pytest.mark.parametrize("answers", [["positive", "1", "negative", "0"], ["pos", 1, "neg", 0], [True, False, 1, 0]])
def test_names_and_numbers_in_one_column_are_refused(tmp_path, answers):
    with pytest.raises(DataError, match=r"labels are names \('\w+'\) and numbers \('0'\) in one column"):
        everything(jsonl(tmp_path / "a.jsonl", answers))


def test_names_in_one_part_and_numbers_in_another_are_refused_in_every_split(tmp_path):
    csv(tmp_path / "train.csv", ["neg", "pos"] * 5), csv(tmp_path / "test.csv", [0, 1])
    for split in ("train", "validation", "test"):
        with pytest.raises(DataError, match=r"names .* and numbers"):
            list(read_table(str(tmp_path), split, seed=0))


def test_classes_say_which_number_is_which_name(tmp_path):
    file = jsonl(tmp_path / "a.jsonl", ["positive", "1", "negative", 0, 1.0, True, False])
    found, rejected = everything(file, classes=("negative", "positive"))
    assert [label for _, label in found] == [f"{x}itive" if x == "pos" else f"{x}ative" for x in
                                             ("pos", "pos", "neg", "neg", "pos", "pos", "neg")]  # fmt: skip
    assert not rejected


def test_classes_that_are_numbers_are_names_and_no_places(tmp_path):
    found, rejected = everything(jsonl(tmp_path / "a.jsonl", [1, 2, 0, 2]), classes=("1", "2"))
    assert [label for _, label in found] == ["1", "2", "2"]
    assert rejected == {"2": "label '0'; expected one of 1, 2"}


def test_a_label_that_is_no_class_is_rejected(tmp_path):
    found, rejected = everything(jsonl(tmp_path / "a.jsonl", ["a", "b", "c", 1, -1]), classes=("a", "b"))
    assert [label for _, label in found] == ["a", "b", "b"]
    assert rejected.pop("4").startswith("label -1")
    assert rejected == {"2": "label 'c'; expected one of a, b"}


def test_numbers_that_do_not_count_classes_from_zero_are_an_error(tmp_path):
    """Stars 1, 2, 3 would otherwise each stand for the class above their own."""
    with pytest.raises(DataError, match=r"number 3, and the 3 classes \(bad, mid, good\) are numbered from 0 to 2"):
        everything(jsonl(tmp_path / "a.jsonl", [1, 2, 3]), classes=("bad", "mid", "good"))


def test_minus_one_is_a_class_where_it_is_named(tmp_path):
    found, rejected = everything(jsonl(tmp_path / "a.jsonl", [-1, 0, 1]), classes=("-1", "0", "1"))
    assert [label for _, label in found] == ["-1", "0", "1"] and not rejected


def test_names_that_differ_by_case_are_refused(tmp_path):
    with pytest.raises(DataError, match="'Positive' and 'positive' differ only in case"):
        everything(jsonl(tmp_path / "a.jsonl", ["positive", "negative", "Positive"]))


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["a", "a"], "All labels are 'a'"),
        ([1, -1, 1, -1], "2 records were dropped, first: label -1"),
        ([], "no column"),
    ],
)
def test_data_of_one_class_are_refused(tmp_path, answers, reason):
    with pytest.raises(DataError, match=reason):
        everything(jsonl(tmp_path / "a.jsonl", answers))


def test_classes_may_be_names_and_numbers(tmp_path):
    found, rejected = everything(jsonl(tmp_path / "a.jsonl", [1, "good", 0]), classes=("1", "good"))
    assert [label for _, label in found] == ["1", "good"] and rejected == {"2": "label '0'; expected one of 1, good"}
