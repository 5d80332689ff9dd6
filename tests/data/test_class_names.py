"""Which classes a task has, in which order, and what the data report says of them."""

import pytest

from suite.errors import DataError
from suite.types import ClassNames, Rejected, Remark, Sample
from tests.data.test_loading import loaded, pixels

ORDER = ClassNames(("zebra", "unused", "ant"), "data.yaml")


def split_of(*labels, start=0):
    """Return a split with one image per label."""
    return [Sample(f"{start}-{place}", pixels(start + place), label) for place, label in enumerate(labels)]


def named(order=ORDER, other=None, classes=None):
    """Load a task whose splits name their classes."""
    parts = {"test": (order, split_of("ant", "zebra")), "train": (other or order, split_of("zebra", "ant", start=10))}
    return loaded({split: [names, *samples] for split, (names, samples) in parts.items()}, classes)


def test_the_order_of_the_files_numbers_the_classes_and_unused_ones_stay():
    data = named()
    assert data.info.classes == ("zebra", "unused", "ant")
    assert data.test.targets.tolist() == [2, 0] and data.train.targets.tolist() == [0, 2]
    assert data.report.remarks[0] == "classes in the order of data.yaml"


def test_declared_classes_come_before_the_order_of_the_files():
    data = named(classes=("ant", "zebra"))
    assert data.info.classes == ("ant", "zebra") and data.test.targets.tolist() == [0, 1]
    assert "data.yaml" not in data.report.sentence()


def test_splits_with_different_classes_are_refused():
    with pytest.raises(
        DataError, match=r"the train part has the classes 2: zebra, ant \(b.yaml\).*zebra, unused, ant.*clas"
    ):
        named(other=ClassNames(("zebra", "ant"), "b.yaml"))


def test_labels_that_the_files_do_not_name_are_rejected():
    data = loaded({"test": [ORDER, *split_of("ant", "cow", "zebra")]}, None)
    assert data.report.dropped["unusable"] == [("0-1", "the class 'cow' is not one of zebra, unused, ant")]


def test_classes_without_samples_are_said_for_each_split():
    remarks = named().report.remarks
    assert (
        "no test sample of 1 of 3 classes: unused" in remarks and "no train sample of 1 of 3 classes: unused" in remarks
    )
    many = tuple("abcdefghij")
    report = loaded({"test": split_of("a", "b")}, many).report
    assert report.remarks == ("no test sample of 8 of 10 classes: c, d, e, f, g, ...",)


def test_a_task_with_one_class_is_refused():
    for classes in (None, ("a",)):
        with pytest.raises(DataError, match=r"only the class 'a'; there is nothing to decide.*one level too deep"):
            loaded({"test": split_of("a", "a")}, classes)


def test_the_report_adds_up():
    test = [
        *split_of("a", "b"),
        Rejected("broken", "cut"),
        Sample("again", pixels(0), "a"),
        Sample("odd", pixels(9), "q"),
    ]
    report = loaded({"test": [Remark("once"), *test], "train": [Remark("once"), *split_of("a", start=20)]}).report
    assert report.seen == 6 and report.kept == {"train": 1, "validation": 0, "test": 2}
    assert {reason: [name for name, _ in records] for reason, records in report.dropped.items()} == {
        "unreadable": ["broken"],
        "unusable": ["odd"],
        "duplicate": ["again"],
    }
    assert report.remarks.count("once") == 1
    assert "1 of 6 dropped, unreadable (broken: cut)" in report.sentence()


def test_names_that_would_harm_a_terminal_are_escaped_in_ids_groups_and_reasons():
    byte = b"caf\xe9".decode("utf-8", "surrogateescape")
    test = [Sample(byte, pixels(1), "a", group="\x1b[1m"), Sample("y", pixels(2), "b"), Rejected("\r", "a\nb\x07")]
    data = loaded({"test": test})
    assert data.test.ids == (r"caf\xe9", "y") and data.test.groups == (r"\x1b[1m", None)
    assert data.report.dropped["unreadable"] == [(r"\x0d", r"a\nb\x07")]


@pytest.mark.parametrize("name", ["cut \ud83d", "\x1b[31mred", "a\nb"])
def test_class_names_that_cannot_be_printed_are_rejected(name):
    data = loaded({"test": [*split_of("a", "b"), Sample("odd", pixels(7), name)]}, None)
    assert data.info.classes == ("a", "b")
    [(_, reason)] = data.report.dropped["unusable"]
    assert "holds control characters or surrogates; rename it" in reason
