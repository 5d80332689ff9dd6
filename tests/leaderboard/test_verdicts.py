"""How valid, suspect and invalid numbers affect a board: its order, tests, table, notes and published file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from suite.leaderboard import Board, board
from suite.leaderboard.publishing import publish
from suite.leaderboard.text import footnotes
from suite.store import Store
from tests.reports import synthetic as s

CLASSES = ["0", "1", "2"]
PGD = "robust pgd linf 0.05"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store of four models: the suspect one has the highest number, the invalid one has none."""
    made = Store(tmp_path)
    for model, accuracy in (("high", 0.8), ("low", 0.5), ("mask", 0.99), ("lost", 0.9)):
        made.put(s.clean(model, accuracy, CLASSES))
    made.put(s.robustness("high", "pgd", 0.8))
    made.put(s.robustness("low", "pgd", 0.5))
    made.put(s.robustness("mask", "pgd", 0.99, fails=True))
    made.put(s.undefined("lost"))
    return made


def lines(made: Board) -> pd.DataFrame:
    return made.frame.set_index("model")


def test_a_suspect_number_is_listed_below_every_valid_one_of_the_ranking_column(store: Store) -> None:
    made = board(store, s.TASK, rank_by=PGD)
    assert made.frame["model"].tolist() == ["high", "low", "mask", "lost"]
    assert made.frame["rank"].tolist()[:2] == ["1", "2"]
    assert made.frame["rank"].isna().tolist() == [False, False, True, True]
    assert lines(made).loc["mask", PGD] > lines(made).loc["high", PGD], "its value is the highest"


def test_a_suspect_robust_accuracy_does_not_change_the_order_by_accuracy(store: Store) -> None:
    made = board(store, s.TASK)
    assert made.frame["model"].tolist() == ["mask", "lost", "high", "low"]
    assert made.frame["rank"].tolist()[0] == "1"


def test_a_suspect_number_has_no_letter_and_enters_no_paired_test(store: Store, tmp_path: Path) -> None:
    made = lines(board(store, s.TASK))
    assert made.loc[["high", "low"], f"{PGD}_ties"].tolist() == ["a", "b"]
    assert made.loc[["mask", "lost"], f"{PGD}_ties"].isna().all()
    assert made.loc[["mask", "lost"], f"{PGD}_rank"].isna().all()
    without = Store(tmp_path / "without")
    for model, accuracy in (("high", 0.8), ("low", 0.5)):
        without.put(s.robustness(model, "pgd", accuracy))
    alone = lines(board(without, s.TASK))
    same = [f"{PGD}_ties", f"{PGD}_rank"]
    assert made.loc[["high", "low"], same].equals(alone.loc[["high", "low"], same])


def test_a_valid_and_a_suspect_model_are_not_compared(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.robustness("high", "pgd", 0.8))
    store.put(s.robustness("mask", "pgd", 0.8, fails=True))
    assert board(store, s.TASK).frame[f"{PGD}_ties"].isna().all()


def test_a_suspect_robust_accuracy_is_shown_as_an_upper_bound_with_its_reason(store: Store) -> None:
    made = board(store, s.TASK)
    value, hi = (100 * lines(made).loc["mask", name] for name in (PGD, f"{PGD}_hi"))
    assert f"≤ {value:.1f} ? [–, {hi:.1f}]" in s.printed(made, 200)
    notes = footnotes(made)
    assert f"pgd linf 0.05, mask: suspect, so an upper bound: {s.SUSPECT_REASON}." in notes
    assert [note for note in notes if note.startswith("?: suspect.") and "listed below every valid number" in note]


def test_only_a_robust_accuracy_is_an_upper_bound(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = s.clean("m", 0.9, CLASSES)
    first = replace(record.measures[0], checks={"sums": "fail", "other": "pass"})
    store.put(replace(record, measures=(first,)))
    made = board(store, s.TASK)
    assert "90.0 ? [" in s.printed(made, 200) and "≤" not in s.printed(made, 200).split("Version")[0]
    assert "accuracy, m: suspect: failed sums." in footnotes(made), "without a reason, the failed checks are named"


def test_an_invalid_number_is_shown_as_invalid_with_its_reason(store: Store) -> None:
    made = board(store, s.TASK)
    (row,) = [line for line in s.printed(made, 200).splitlines() if "│ lost " in line]
    assert row.split("│")[-2].strip() == "invalid"
    notes = footnotes(made)
    assert "pgd linf 0.05, lost: invalid: the outputs are NaN on 12 of 300 samples." in notes
    assert [note for note in notes if note.startswith("invalid: no usable number")]


def test_a_failed_cell_is_shown_as_invalid_and_failed(store: Store) -> None:
    spec = s.robustness("x", "pgd", 0.5).provenance.spec
    store.put(s.clean("broken", 0.4, CLASSES))
    store.put(s.failed("broken", spec, "ModelError: NaN", digests={"data": "d" * 64, "model": "m" * 64}))
    made = board(store, s.TASK)
    shown = s.printed(made, 200).splitlines()
    (place,) = [i for i, line in enumerate(shown) if "│ broken " in line]
    assert [shown[i].split("│")[-2].strip() for i in (place, place + 1)] == ["invalid", "failed"]
    assert any(note.startswith("broken: ") and "failed: ModelError: NaN" in note for note in footnotes(made))


def test_a_board_of_valid_numbers_does_not_explain_verdicts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.robustness("high", "pgd", 0.8))
    assert not [note for note in footnotes(board(store, s.TASK)) if "suspect" in note or "invalid" in note]


def test_a_model_has_the_worst_status_of_its_numbers(store: Store) -> None:
    assert lines(board(store, s.TASK))["status"].to_dict() == {
        "high": "ok", "low": "ok", "mask": "suspect", "lost": "inconclusive",
    }  # fmt: skip


def test_the_published_file_has_the_verdict_of_every_row(store: Store, tmp_path: Path) -> None:
    (path,) = publish(store, s.TASK, tmp_path / "out")
    rows = pd.read_csv(path)
    robust = rows[rows["metric"] == "robust_accuracy"].groupby("model")[["status", "verdict"]].agg(set)
    assert robust["status"].to_dict() == {"high": {"ok"}, "low": {"ok"}, "mask": {"suspect"}, "lost": {"inconclusive"}}
    assert robust["verdict"].to_dict() == {
        "high": {"valid"},
        "low": {"valid"},
        "mask": {"suspect"},
        "lost": {"invalid"},
    }


def test_an_unknown_status_does_not_break_the_board(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.put(s.robustness("m", "pgd", 0.9))
    (folder / "record.json").write_text(
        (folder / "record.json").read_text("utf-8").replace('"status": "ok"', '"status": "doubted"', 1), "utf-8"
    )
    store.put(s.robustness("n", "pgd", 0.5))
    assert np.isfinite(board(Store(tmp_path), s.TASK).frame[PGD]).any()
