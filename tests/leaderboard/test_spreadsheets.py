"""Published files: a spreadsheet shows their texts and computes none of them, and numbers stay numbers."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from suite.leaderboard import publishing
from suite.leaderboard.publishing import publish
from suite.leaderboard.spreadsheets import as_text, without_formulas
from suite.store import Store
from tests.stores import small_record

BOARDS = Path(__file__).parents[2] / "leaderboards"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-0.5", "'-0.5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        ("＝1+1", "'＝1+1"),
        ("\r=1", r"\x0d=1"),
        ("a=1", "a=1"),
        ("", ""),
        ("-", "-"),
        ("a\x1b[2J\udcff", r"a\x1b[2J\xff"),
        (-0.5, -0.5),
        (None, None),
        (True, True),
    ],
)
def test_only_texts_that_begin_like_a_formula_get_an_apostrophe(value: object, cell: object) -> None:
    assert as_text(value) == cell


def test_numbers_and_missing_values_of_a_table_are_unchanged() -> None:
    table = pd.DataFrame(
        {"value": [-0.5, np.nan], "n": [-1, 2], "ok": [True, False], "mixed": [-1, None], "text": ["-1", None]}
    )
    safe = without_formulas(table)
    numbers = ["value", "n", "ok"]
    pd.testing.assert_frame_equal(safe[numbers], table[numbers])
    assert safe.to_csv(index=False) == "value,n,ok,mixed,text\n-0.5,-1,True,-1.0,'-1\n,2,False,,\n"


NAMES = {
    "task": '=HYPERLINK("http://evil.invalid","x")',
    "model": '@a,b\n"c"\r\'',
    "spec": "+1\t;2",
    "device": "-2+3",
}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    record, store = small_record(value=-0.5), Store(tmp_path / "store")
    measure = replace(record.measures[0], reason="-cmd|'C calc'!A0")
    store.put(replace(record, provenance=replace(record.provenance, **NAMES), measures=(measure,)))
    failed = small_record("b" * 64, "failed")
    store.put(replace(failed, provenance=replace(failed.provenance, task=NAMES["task"], model="n")))
    (path,) = publish(store, NAMES["task"], tmp_path / "out")
    return path


def test_a_published_file_computes_nothing_and_is_read_back(published: Path) -> None:
    with published.open(encoding="utf-8", newline="") as file:
        first, failed = csv.DictReader(file)
    shown = {name: first[name] for name in NAMES}
    assert shown == {
        "task": '\'=HYPERLINK("http://evil.invalid","x")',
        "model": "'@a,b\n\"c\"\\x0d'",
        "spec": "'+1\t;2",
        "device": "'-2+3",
    }
    assert first["reason"] == "'-cmd|'C calc'!A0"
    assert (first["value"], float(first["value"])) == ("-0.5", -0.5), "a number has no apostrophe"
    assert failed["metric"] == "-", "the sign for no metric is no formula"
    table = pd.read_csv(published)
    assert table["value"].tolist()[0] == -0.5
    assert table["model"].tolist() == [shown["model"], "n"]


def test_published_results_of_harmless_names_are_what_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    store.put(small_record(value=-0.5))
    store.put(small_record("b" * 64, "failed"))
    (path,) = publish(store, "t", tmp_path / "out")
    monkeypatch.setattr(publishing, "without_formulas", lambda table: table)
    (raw,) = publish(store, "t", tmp_path / "raw")
    assert path.read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("path", sorted(BOARDS.glob("*.csv")), ids=lambda path: path.stem)
def test_the_published_boards_contain_no_formula(path: Path) -> None:
    table = pd.read_csv(path)
    assert without_formulas(table).to_csv(index=False) == table.to_csv(index=False)


@pytest.mark.parametrize(
    ("task", "name"),
    [("digits", "digits.csv"), ("../../a/..", ".._.._a_...csv"), ("acme.py:dots", "acme.py_dots.csv")],
)
def test_a_published_file_stays_in_its_folder(tmp_path: Path, task: str, name: str) -> None:
    record = small_record()
    store = Store(tmp_path / "store")
    store.put(replace(record, provenance=replace(record.provenance, task=task)))
    assert publish(store, task, tmp_path / "out") == [tmp_path / "out" / name]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_long_names_of_tasks_have_files_of_their_own(tmp_path: Path) -> None:
    record = small_record()
    store = Store(tmp_path / "store")
    paths = set()
    for place in range(2):
        task = f"{'ü' * 200}{place}"
        key = str(place) * 64
        store.put(replace(record, provenance=replace(record.provenance, key=key, task=task)))
        paths.update(publish(store, task, tmp_path / "out"))
    assert len(paths) == 2
    assert {len(pd.read_csv(path)) for path in paths} == {1}
