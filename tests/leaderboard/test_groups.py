"""Selection of the records of a board: one line per model, only comparable rows, and a note for everything left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from suite.cli import main
from suite.errors import UnknownNameError
from suite.leaderboard import board, select
from suite.leaderboard.publishing import publish
from suite.leaderboard.text import footnotes
from suite.models.base import TorchClassifier
from suite.runner.harness import Harness, plan
from suite.store import Store
from tests.reports import synthetic as s

CLASSES = ["0", "1", "2"]
EARLY, LATE, LAST = (f"2026-05-0{day}T00:00:00+00:00" for day in (1, 2, 3))


def digests(**changes: str) -> dict[str, str]:
    return {"data": "d" * 64, "model": "m" * 64, "code": "c" * 64, **changes}


def robust(model: str, accuracy: float, *, time: str, run: str = "run-1", **changes) -> s.Record:
    record = s.robustness(model, "pgd", accuracy)
    when = replace(s.run_info(time), run=run)
    return replace(record, provenance=s.provenance(model, record.provenance.spec, **changes), run_info=when)


def clean(model: str, accuracy: float, *, time: str, run: str = "run-1", **changes) -> s.Record:
    record = s.clean(model, accuracy, CLASSES, **changes)
    return replace(record, run_info=replace(s.run_info(time), run=run))


def test_a_line_never_mixes_two_sets_of_weights(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(clean("cnn", 0.5, time=EARLY, digests=digests(model="old")))
    store.put(robust("cnn", 0.5, time=EARLY, digests=digests(model="old")))
    store.put(clean("cnn", 0.9, time=LATE, digests=digests(model="new")))
    made = board(store, s.TASK)
    assert made.frame["accuracy"].tolist() == [pytest.approx(0.9)]
    assert [column.name for column in made.columns] == ["accuracy"]
    assert "cnn: 2 records with other weights are not shown." in made.notes


def test_a_model_measured_with_new_weights_shows_only_these(tmp_path: Path, toy) -> None:
    store = Store(tmp_path)
    attack = "robustness(attack=pgd(eps=[0.1], steps=2), audit=4)"
    for seed, axes in ((0, ["clean", attack]), (1, ["clean"])):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        cells = plan([toy("toy")], ["mine"], axes, given=("mine",))
        Harness(store, given={"mine": TorchClassifier(network)}).run(cells)
    made = board(store, "toy.py:toy")
    assert set(select(store.rows(), "toy.py:toy").rows["axis"]) == {"clean"}
    assert [column.name for column in made.columns] == ["accuracy"]
    assert "mine: 2 records with other weights are not shown." in made.notes


def test_a_model_that_cannot_be_built_has_a_line(tmp_path: Path, toy) -> None:
    store = Store(tmp_path)
    Harness(store).run(plan([toy("toy")], [toy("quick"), toy("unbuildable")], ["clean"]))
    made = board(store, "toy.py:toy")
    assert made.frame["status"].tolist() == ["ok", "failed"]


def test_a_later_success_replaces_a_failed_build(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.failed("m", "calibration", "no such layer", time=EARLY, digests=digests(model="unknown")))
    store.put(clean("m", 0.9, time=LATE))
    made = board(store, s.TASK)
    assert made.frame["status"].tolist() == ["ok"]
    assert not [note for note in made.notes if "other weights" in note]
    store.put(s.failed("m", "calibration", "no such layer", time=LAST, digests=digests(model="unknown")))
    assert board(store, s.TASK).frame["status"].tolist() == ["failed"]


@pytest.mark.parametrize("data", ["", "unknown"])
def test_unreadable_data_does_not_hide_earlier_numbers(tmp_path: Path, data: str) -> None:
    store = Store(tmp_path)
    store.put(clean("m", 0.9, time=EARLY))
    lost = {"data": data, "model": "unknown"}
    store.put(s.failed("m", "clean", "the disk is gone", time=LAST, n=0, digests=lost))
    store.put(s.failed("other", "clean", "the disk is gone", time=LAST, n=0, digests=lost))
    made = board(store, s.TASK)
    assert (made.n, made.frame["model"].tolist()) == (300, ["m", "other"])
    assert made.frame["accuracy"].tolist()[0] == pytest.approx(0.9)
    assert "m: a later run failed, earlier numbers are shown: the disk is gone" in made.notes


def test_a_run_without_its_data_keeps_the_board(tmp_path: Path, toy) -> None:
    file = tmp_path / "toy.py"
    text = Path(toy("x").removesuffix(":x")).read_text("utf-8")
    gate = f'    if __import__("os").path.exists({str(tmp_path / "gone")!r}):\n        raise OSError("no such disk")\n'
    file.write_text(
        text.replace("    images, labels = load_digits", gate + "    images, labels = load_digits"), "utf-8"
    )
    store = Store(tmp_path / "store")
    Harness(store).run(plan([f"{file}:toy"], [f"{file}:quick"], ["clean"]))
    (tmp_path / "gone").touch()
    Harness(store).run(plan([f"{file}:toy"], [f"{file}:quick"], ["clean"]))
    assert len(store.rows()["record"].unique()) == 2
    made = board(store, "toy.py:toy")
    assert made.n > 0 and made.frame["accuracy"].notna().all()
    assert any("no such disk" in note for note in made.notes)


def test_seeds_are_on_separate_boards(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(clean("a", 0.9, time=EARLY, seed=1))
    store.put(clean("b", 0.8, time=LATE))
    made = board(store, s.TASK)
    assert (made.seed, made.frame["model"].tolist()) == (0, ["b"])
    assert f"seed 1, 300 samples. See them with: suite board '{s.TASK}' --seed 1 --n 300" in made.notes[0]
    assert board(store, s.TASK, seed=1).frame["model"].tolist() == ["a"]
    with pytest.raises(UnknownNameError, match=r"seed 7 .*stored: 0, 1"):
        board(store, s.TASK, seed=7)


def test_a_quick_run_does_not_hide_the_full_board(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(clean("m", 0.9, time=EARLY))
    store.put(clean("m", 0.5, time=LATE, n=20))
    made = board(store, s.TASK)
    assert made.n == 300
    assert any(f"suite board '{s.TASK}' --n 20" in note for note in made.notes)
    assert [board(store, s.TASK, n=n).n for n in (20, 300, 1000)] == [20, 300, 300]
    with pytest.raises(UnknownNameError, match=r"n=50 .*20, 300"):
        board(store, s.TASK, n=50)


def test_commands_take_a_number_of_samples(tmp_path: Path, toy, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", toy("toy"), "--model", toy("quick"), "--axis", "clean", "--store", str(tmp_path)]
    assert main(arguments) == 0
    everyone = capsys.readouterr().out
    assert main([*arguments, "--n", "5"]) == 0
    assert ", 5 test samples." in capsys.readouterr().out
    assert main(["board", "--store", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[:8] == everyone.splitlines()[:8]
    assert main(["board", "--n", "5", "--store", str(tmp_path)]) == 0
    assert ", 5 test samples." in capsys.readouterr().out
    for n in (None, 5):
        (path,) = publish(Store(tmp_path), "toy.py:toy", tmp_path / "boards", n=n)
        assert (",5,,fraction," in path.read_text("utf-8")) == (n == 5)
    assert (
        main(["publish", "toy.py:toy", "--n", "4", "--seed", "0", "--to", str(tmp_path), "--store", str(tmp_path)]) == 2
    )


def test_models_measured_with_a_different_code_version_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for model, code, time in (("toy.py:a", "old", EARLY), ("toy.py:b", "new", LATE), ("else.py:c", "own", EARLY)):
        store.put(clean(model, 0.9, time=time, run=code, digests=digests(code=code)))
    store.put(robust("toy.py:a", 0.9, time=EARLY, run="old", digests=digests(code="old attack")))
    made = board(store, s.TASK)
    assert len(made.frame) == 3
    assert [note.split(":")[0:2] for note in made.notes if "code version" in note] == [["toy.py", "a"]]
    store.put(clean("toy.py:a", 0.9, time=LAST, run="again", digests=digests(code="new")))
    assert any("code version" in note for note in board(store, s.TASK).notes), (
        "its attack was measured with the old code"
    )


def test_axes_of_one_run_count_as_one_code_version(tmp_path: Path, toy) -> None:
    attack = "robustness(attack=pgd(eps=[0.1], steps=2), audit=4)"
    Harness(Store(tmp_path)).run(plan([toy("toy")], [toy("quick"), toy("dropping")], ["clean", attack]))
    assert not [note for note in footnotes(board(Store(tmp_path), "toy.py:toy")) if "code version" in note]
