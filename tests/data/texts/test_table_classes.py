"""Classes of tables: what -1 means, and in which order the classes are."""

import json

import pytest

from suite.data.formats.table_columns import ColumnNames
from suite.data.formats.tables import read_table
from suite.errors import DataError
from suite.runner.preparation import prepare_task
from suite.types import ClassNames, Remark, Sample
from tests.data.texts.files import SPLITS, csv, everything, jsonl, labels, over_splits


def said(path, **options):
    """Return the class names and the remarks that every split yields, and whether all splits yield the same names."""
    items = {split: list(read_table(str(path), split, seed=0, **options)) for split in SPLITS}
    names = {split: [item for item in found if isinstance(item, ClassNames)] for split, found in items.items()}
    assert names["train"] == names["validation"] == names["test"]
    for found in items.values():
        kinds = [type(item) for item in found if not isinstance(item, Remark)]
        assert ClassNames not in kinds[1:], "class names come before the samples"
    return names["test"], list(
        dict.fromkeys(i.text for found in items.values() for i in found if isinstance(i, Remark))
    )


@pytest.mark.parametrize(
    ("values", "classes"),
    [([-1, 0, 1] * 20, ("-1", "0", "1")), ([-1, 1] * 20, ("-1", "1")), ([-1.0, 1.0] + [1.0] * 9, ("-1", "1"))],
)
def test_minus_one_is_a_class_beside_one_and_zero_and_is_said(tmp_path, values, classes):
    file = jsonl(tmp_path / "a.jsonl", values)
    samples, rejected = everything(file)
    assert [label for _, label in samples] == [str(int(value)) for value in values] and not rejected
    names, remarks = said(file)
    assert names == [ClassNames(classes, "label numbers, from low to high")]
    assert remarks[0] == "the label -1 is a class; if it means that there is no label, give missing='-1'"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [*range(10)] * 3 + [-1] * 2,
            "2 of 32 records have the label -1, beside 0 (3), 1 (3), 2 (3), 3 (3), 4 (3), 5 (3), .... If it is a "
            "class, name the classes as the labels do: classes=['-1', '0', '1', '2', '3', '4', '5', '6', '7', '8', "
            "'9']. If it means that there is no label, give missing='-1'.",
        ),
        ([0, -1] * 5, "5 of 10 records have the label -1, beside 0 (5). If it is a class, name the classes as the"),
        ([0, 1] * 11 + [-1], "1 of 23 records have the label -1, beside 0 (11), 1 (11). If"),
        (["pos", "neg", "-1"], "1 of 3 records have the label -1, beside neg (1), pos (1). If"),
    ],
)
def test_minus_one_beside_other_labels_is_asked_about(tmp_path, values, message):
    with pytest.raises(DataError) as error:
        everything(jsonl(tmp_path / "a.jsonl", values))
    assert str(error.value).startswith(message)


def test_minus_one_is_asked_about_also_where_classes_are_named_otherwise(tmp_path):
    file = jsonl(tmp_path / "a.jsonl", [-1, 0, 1] * 5)
    with pytest.raises(DataError, match=r"5 of 15 records have the label -1, beside 0 \(5\), 1 \(5\)"):
        everything(file, classes=("bad", "good"))


def test_both_ways_out_of_the_question_work(tmp_path):
    values = [-1] + [0, 1, 2] * 5
    file = jsonl(tmp_path / "a.jsonl", values)
    samples, rejected = everything(file, classes=("-1", "0", "1", "2"))
    assert [label for _, label in samples] == [str(value) for value in values] and not rejected
    for missing in ("-1", -1, -1.0):
        samples, rejected = everything(file, missing=missing)
        assert len(samples) == 15 and rejected == {"0": "label -1, which means that there is none (missing='-1')"}
    data = prepare_task(f"texttable(path='{file}', missing=-1)", 0).data
    assert (
        data.info.classes == ("0", "1", "2") and data.report.seen == 16 and len(data.report.dropped["unreadable"]) == 1
    )


def test_any_label_may_mean_that_there_is_none(tmp_path):
    file = jsonl(tmp_path / "a.jsonl", ["good", "unknown", "bad", "good"])
    samples, rejected = everything(file, missing="unknown")
    assert [label for _, label in samples] == ["good", "bad", "good"]
    assert rejected == {"1": "label unknown, which means that there is none (missing='unknown')"}
    with pytest.raises(DataError, match="missing='unkown' is the label of no record; correct it, or leave it out"):
        everything(file, missing="unkown")
    with pytest.raises(DataError, match="missing='': no label"):
        everything(file, missing="")


def test_a_part_in_which_all_labels_are_minus_one_is_hidden(tmp_path):
    csv(tmp_path / "train.csv", [0, 1] * 10, [f"train {n}" for n in range(20)])
    csv(tmp_path / "validation.csv", [0, 1] * 4, [f"validation {n}" for n in range(8)])
    csv(tmp_path / "test.csv", [-1] * 6)
    kept, rejected = over_splits(lambda split: read_table(str(tmp_path), split, seed=0))
    assert set(labels(kept["test"])) == {f"validation/{row}" for row in range(8)}
    assert set(rejected) == {f"test/{row}" for row in range(6)}
    assert set(rejected.values()) == {
        "label -1, which means that there is none; if it is a class, name '-1' in classes="
    }


def test_a_part_in_which_all_labels_are_minus_one_has_this_class_where_others_have_it(tmp_path):
    csv(tmp_path / "train.csv", [-1, 0, 1] * 10), csv(tmp_path / "test.csv", [-1] * 6)
    kept, rejected = over_splits(lambda split: read_table(str(tmp_path), split, seed=0))
    assert set(labels(kept["test"]).values()) == {"-1"} and not rejected


def test_numbers_are_in_the_order_of_their_size(tmp_path):
    names, remarks = said(jsonl(tmp_path / "a.jsonl", [*range(12)] * 2))
    assert names == [ClassNames(tuple(map(str, range(12))), "label numbers, from low to high")] and remarks == []
    data = prepare_task(f"texttable(path='{tmp_path}/a.jsonl')", 0).data
    assert data.info.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11")
    assert "classes in the order of label numbers, from low to high" in data.report.remarks


@pytest.mark.parametrize(
    ("values", "listed"), [([1, 2, 3], "1, 2, 3"), ([0, 1, 3], "0, 1, 3"), ([10, 9, -2], "-2, 9, 10")]
)
def test_numbers_with_another_start_or_gaps_are_said(tmp_path, values, listed):
    names, remarks = said(jsonl(tmp_path / "a.jsonl", values * 4))
    assert names == [ClassNames(tuple(listed.split(", ")), "label numbers, from low to high")]
    assert remarks == [
        f"the labels are the numbers {listed}: outputs 0 to 2 of a model stand for them in this order; if some classes "
        "have no record, name all of them in classes=[...]"
    ]


def test_names_are_in_the_order_of_texts_and_it_is_said(tmp_path):
    names, remarks = said(jsonl(tmp_path / "a.jsonl", ["neu", "pos", "neg", "class 10", "class 9"] * 4))
    assert names == [ClassNames(("class 10", "class 9", "neg", "neu", "pos"), "label names sorted as text")]
    assert remarks == []


def test_the_order_of_the_user_comes_first_and_needs_no_word(tmp_path):
    file = jsonl(tmp_path / "a.jsonl", ["neu", "pos", "neg"] * 8)
    assert said(file, classes=("pos", "neu", "neg")) == ([], [])
    assert prepare_task(f"texttable(path='{file}', classes=[pos, neu, neg])", 0).data.info.classes == (
        "pos",
        "neu",
        "neg",
    )


def test_classes_of_the_user_may_be_numbers(tmp_path):
    samples, _ = everything(jsonl(tmp_path / "a.jsonl", [0, 1, 3] * 4), classes=(0, 1, 2, 3))
    assert {label for _, label in samples} == {"0", "1", "3"}


def test_a_cut_emoji_in_a_label_or_a_group_is_rejected(tmp_path):
    rows = [{"text": f"t{n}", "label": "np"[n % 2], "doc": str(n)} for n in range(6)]
    rows[1]["label"], rows[2]["doc"] = "\ud83d", "a\ud83d"
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    samples, rejected = everything(file, group="doc")
    assert [text for text, _ in samples] == ["t0", "t3", "t4", "t5"]
    assert rejected == {
        "1": "label '\\ud83d' with control characters or an unpaired surrogate",
        "2": "group 'a\\ud83d' with control characters or an unpaired surrogate",
    }


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_group_that_is_no_name_is_rejected(tmp_path, value):
    rows = [{"text": f"t{n}", "label": n % 2, "doc": value if n == 2 else n} for n in range(6)]
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    _, rejected = everything(file, group="doc")
    kind = type(value).__name__
    assert rejected == {"2": f"a group of type {kind} ({value}); expected a name or a number"}


def test_labels_that_differ_only_in_how_accents_are_encoded_are_an_error(tmp_path):
    with pytest.raises(
        DataError, match="differ only in case, in invisible characters, or in how accents are encoded; use one of them"
    ):
        everything(jsonl(tmp_path / "a.jsonl", ["caf\u00e9", "cafe\u0301", "tea"]))


def test_a_label_of_many_digits_is_a_name(tmp_path):
    long = "7" * 5000
    samples, _ = everything(jsonl(tmp_path / "a.jsonl", [long, "other"]))
    assert samples[0][1] == long


def test_every_column_can_be_named(tmp_path):
    file = csv(tmp_path / "a.csv", [0, 1] * 4)
    found = list(read_table(str(file), "test", seed=0, columns=ColumnNames("label", "text")))
    assert all(item.input in "01" for item in found if isinstance(item, Sample))
