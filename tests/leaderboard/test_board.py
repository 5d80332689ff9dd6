from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.errors import UnknownNameError
from suite.leaderboard import Board, board, select
from suite.leaderboard.text import footnotes, printable
from suite.store import Store
from tests.reports import synthetic as s

CLASSES = ["0", "1", "2"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return s.fill(tmp_path_factory.mktemp("store"))


def line(result: Board, model: str) -> dict:
    return result.frame.set_index("model").loc[model].to_dict()


def test_each_model_has_one_line_and_failed_models_come_last(store: Store) -> None:
    result = board(store, s.TASK)
    assert result.frame["model"].tolist() == [s.GOOD, s.WEAK, s.BROKEN]
    assert result.frame["status"].tolist() == ["ok", "inconclusive", "failed"]
    broken = line(result, s.BROKEN)
    assert np.isnan(broken["accuracy"])
    assert broken["accuracy_status"] == "failed"
    assert "TrainingError" in broken["reasons"][0]
    assert "skipped" in broken["reasons"][1]


def test_columns_cover_the_four_axes(store: Store) -> None:
    names = [column.name for column in board(store, s.TASK).columns]
    assert names[0] == "accuracy"
    assert {"robust pgd linf 0.05", "robust cw l2 0.05", "robust patch 10 % area", "ece", "ece scaled", "aurc"} < {
        *names
    }
    assert names[-1] == "insertion over random"


def test_models_with_similar_accuracy_are_tied(store: Store) -> None:
    good, weak = (line(board(store, s.TASK), model) for model in (s.GOOD, s.WEAK))
    assert (good["accuracy_ties"], weak["accuracy_ties"]) == ("a", "a")
    assert (good["rank"], weak["rank"]) == ("1-2", "1-2")
    assert (good["robust pgd linf 0.05_ties"], weak["robust pgd linf 0.05_ties"]) == ("a", "b")
    assert (good["robust pgd linf 0.05_rank"], weak["robust pgd linf 0.05_rank"]) == ("1", "2")


def test_a_suspect_number_is_not_ranked(store: Store) -> None:
    weak = line(board(store, s.TASK), s.WEAK)
    assert weak["robust fgsm linf 0.05_status"] == "suspect"
    assert weak["robust fgsm linf 0.05_ties"] != "a"
    assert weak["robust fgsm linf 0.05"] == pytest.approx(0.673, abs=1e-3)


def test_attribution_is_the_method_that_beats_random_by_most(store: Store) -> None:
    result = board(store, s.TASK)
    assert line(result, s.GOOD)["insertion over random_method"] == "gradcam"
    assert line(result, s.GOOD)["insertion over random"] == pytest.approx(0.25)
    weak = line(result, s.WEAK)
    assert np.isnan(weak["insertion over random"])
    assert weak["insertion over random_reason"] == "no method beats the random control"


def test_board_can_be_ranked_by_another_column(store: Store) -> None:
    assert board(store, s.TASK, rank_by="ece").frame["rank"].isna().all()
    assert board(store, s.TASK, rank_by="robust pgd linf 0.05").frame["rank"].tolist()[:2] == ["1", "2"]
    with pytest.raises(UnknownNameError, match=r"rank_by='acuracy'.*Did you mean 'accuracy'"):
        board(store, s.TASK, rank_by="acuracy")


def test_an_unknown_task_suggests_similar_names(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'digits"):
        board(store, "digits(size=9)")


def test_an_empty_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Nothing is stored"):
        board(Store(tmp_path / "none"), "digits")


def test_the_newest_record_of_a_model_and_spec_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.clean("m", 0.9, CLASSES, digests={"data": "d", "code": "new"}, time="2026-05-02T00:00:00+00:00"))
    store.put(s.clean("m", 0.5, CLASSES, digests={"data": "d", "code": "old"}, time="2026-05-01T00:00:00+00:00"))
    assert board(store, s.TASK).frame["accuracy"].tolist() == [pytest.approx(0.9)]


@pytest.mark.parametrize("change", [{"task_version": "2"}, {"digests": {"data": "other"}}, {"n": 200}])
def test_rows_that_cannot_be_compared_are_left_out_with_a_note(tmp_path: Path, change: dict) -> None:
    store = Store(tmp_path)
    store.put(s.clean("old", 0.5, CLASSES, **change, time="2026-04-01T00:00:00+00:00"))
    store.put(s.clean("new", 0.9, CLASSES))
    result = board(store, s.TASK)
    assert result.frame["model"].tolist() == ["new"]
    assert "Left out: 1 model(s)" in result.notes[0]
    assert (result.task_version, result.data, result.n) == ("1", "d" * 64, 300)


def test_a_model_that_failed_before_reading_data_is_on_the_board(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.clean("m", 0.9, CLASSES))
    store.put(s.failed("late", "clean", "no such file"))
    assert board(store, s.TASK).frame["model"].tolist() == ["m", "late"]


def test_only_failures_make_a_board_without_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.failed("m", "clean", "no such file"))
    result = board(store, s.TASK)
    assert (result.columns, result.frame["status"].tolist()) == ((), ["failed"])
    assert "m: clean failed: no such file" in s.printed(result)


def test_a_model_measured_on_other_samples_has_a_note_instead_of_a_letter(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.clean("a", 0.9, CLASSES))
    store.put(s.clean("b", 0.8, CLASSES))
    odd = s.clean("c", 0.7, CLASSES)
    other_ids = s.columns(id=[f"other/{i}" for i in range(300)])
    store.put(replace(odd, columns=[*other_ids, *(column for column in odd.columns if column.name != "id")]))
    result = board(store, s.TASK)
    assert result.frame["accuracy_ties"].tolist()[:2] == ["a", "b"]
    assert line(result, "c")["accuracy_reason"] == "not compared: measured on other samples"
    assert "accuracy, c: not compared: measured on other samples." in result.notes


def test_samples_are_joined_by_id_not_by_position(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.clean("a", 0.9, CLASSES))
    other = s.clean("b", 0.9, CLASSES)
    order = np.random.default_rng(0).permutation(300)
    shuffled = [replace(column, values=column.values[order]) for column in other.columns]
    store.put(replace(other, columns=shuffled))
    assert board(store, s.TASK).frame["accuracy_ties"].tolist() == ["a", "a"]


def test_missing_outcomes_have_a_reason(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for model in ("a", "b"):
        store.put(replace(s.clean(model, 0.9, CLASSES), columns=[]))
    reasons = board(store, s.TASK).frame["accuracy_reason"].tolist()
    assert reasons == ["not compared: per-sample values were not stored"] * 2


def test_specs_of_an_attack_never_share_a_column(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.robustness("a", "pgd", 0.9))
    other = s.robustness("b", "pgd", 0.8)
    store.put(replace(other, provenance=s.provenance("b", "robustness(attack=pgd(steps=99))")))
    assert len(board(store, s.TASK).columns) == 2


def test_damaged_records_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.clean("a", 0.9, CLASSES))
    folder = store.put(s.clean("b", 0.9, CLASSES))
    (folder / "record.json").write_text("{", "utf-8")
    assert any("1 damaged record(s)" in note for note in board(Store(tmp_path), s.TASK).notes)


def test_a_read_only_store_can_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.clean("a", 0.9, CLASSES))
    (tmp_path / "scratch").rmdir()
    (tmp_path / "scratch").write_text("in the way", "utf-8")
    assert len(board(Store(tmp_path), s.TASK).frame) == 1
    assert not (tmp_path / "index.parquet").exists()


def test_selection_has_one_record_per_model_and_spec(store: Store) -> None:
    chosen = select(store.rows(), s.TASK)
    assert chosen.rows.groupby(["model", "spec"])["record"].nunique().max() == 1
    assert chosen.n == 300


@pytest.mark.parametrize("width", [80, 120, 400])
def test_the_text_board_fits_and_shows_every_column(store: Store, width: int) -> None:
    shown = s.printed(board(store, s.TASK), width)
    assert max(len(row) for row in shown.splitlines()) <= width
    for word in ("97.0", "[94.4, 98.6]", "≤ 67.3 ?", "AURC", "gradcam", "failed"):
        assert word in shown


def test_a_wide_terminal_shows_value_and_interval_on_one_line(store: Store) -> None:
    assert "97.0 [94.4, 98.6] a" in s.printed(board(store, s.TASK), 400)


def test_footnotes_explain_the_board(store: Store) -> None:
    notes = "\n".join(footnotes(board(store, s.TASK)))
    for phrase in ("300 test samples", "share a letter", "more steps raised", "broken: clean failed", "not measured"):
        assert phrase in notes


def test_printable_escapes_control_characters() -> None:
    assert printable("a\x1b[2Jb\n\u202ec\u200bd\udcff") == r"a\x1b[2Jb\n\u202ec\u200bd\xff"


def test_a_size_given_as_a_fraction_keeps_its_spelling_and_is_compared(tmp_path, toy) -> None:
    from suite.runner.harness import Harness, plan

    axis = "robustness(attack=pgd(eps=[80/255], steps=2), audit=4)"
    Harness(Store(tmp_path)).run(plan([toy("toy")], [toy("quick"), toy("dropping")], ["clean", axis], n=12))
    made = board(Store(tmp_path), "toy.py:toy")
    assert "robust pgd linf 80/255" in made.frame
    assert made.frame["robust pgd linf 80/255_ties"].notna().all()
    assert not [note for note in made.notes if "not compared" in note]
