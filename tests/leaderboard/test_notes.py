"""What a board says about its numbers: margins over random, undefined intervals, controls, and footnotes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.errors import UnknownNameError
from suite.leaderboard import Board, board
from suite.leaderboard.text import footnotes
from suite.runner.harness import Harness, plan
from suite.store import Store
from tests.reports import synthetic as s

CLASSES = ["0", "1", "2"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, toy) -> Store:
    store = Store(tmp_path_factory.mktemp("real"))
    axes = ["clean", "robustness(attack=pgd(eps=[0.1], steps=2), audit=4)"]
    axes += ["calibration(members=2, dropout_samples=4)", "attribution(samples=27, steps=5)"]
    Harness(store).run(plan([toy("toy")], [toy("quick"), toy("quick(epochs=9)"), toy("dropping")], axes))
    return store


def board_with_dropped(tmp_path: Path, dropped: dict) -> Board:
    store = Store(tmp_path)
    record = s.clean("m", 0.9, CLASSES)
    store.put(replace(record, details={**record.details, "data": {"dropped": dropped}}))
    return board(store, s.TASK)


def test_dropped_samples_are_counted_by_reason_with_the_first_names(tmp_path: Path) -> None:
    dropped = {"duplicate": [["a.png", "of x"], ["b.png", "of y"]], "unreadable": [["c.png", "bad"]], "none": []}
    notes = footnotes(board_with_dropped(tmp_path / "few", dropped))
    assert "3 samples dropped: 2 duplicate (a.png, b.png), 1 unreadable (c.png)" in notes
    many = {"duplicate": [[f"{k}.png", ""] for k in range(1200)]}
    assert "1,200 samples dropped: 1,200 duplicate (0.png, 1.png, 2.png, ...)" in footnotes(
        board_with_dropped(tmp_path / "many", many)
    )
    assert not [note for note in footnotes(board_with_dropped(tmp_path / "no", {})) if "dropped" in note]


def test_attribution_is_the_margin_over_random_on_the_same_samples(real: Store) -> None:
    made = board(real, "toy.py:toy")
    column = next(column for column in made.columns if column.name == "insertion over random")
    assert column.title == "insertion over random"
    explained = made.frame[made.frame["insertion over random"].notna()]
    assert len(explained)
    for _, line in explained.iterrows():
        table = real.record(line["insertion over random_record"]).table
        method = line["insertion over random_method"]
        best, random = (table.at(method=name, baseline="mean")["insertion_auc"] for name in (method, "random"))
        best = best - random
        assert line["insertion over random"] == pytest.approx(best.mean())
        assert line["insertion over random_lo"] <= line["insertion over random"] <= line["insertion over random_hi"]
        assert line["insertion over random_n"] == 27
    assert any(
        "The best of 4 or 5 methods is shown" in note and "too high on average" in note for note in footnotes(made)
    )
    assert made.frame.equals(board(real, "toy.py:toy").frame), "the bootstrap has a fixed seed"


def test_a_confident_model_gains_nothing_from_its_higher_scores(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.attribution("varied"))
    sure = s.attribution("sure")
    more = {"random": 0.3}
    raised = [replace(c, values=c.values + more.get(c.params["method"], 0.2)) if c.params else c for c in sure.columns]
    measures = tuple(
        replace(m, value=m.value + 0.2, lo=m.lo + 0.2, hi=m.hi + 0.2, control=0.8)
        if m.metric == "insertion_auc" and m.value is not None
        else m
        for m in sure.measures
    )
    store.put(replace(sure, columns=raised, measures=measures))
    made = board(store, s.TASK)
    assert made.frame["model"].tolist() == ["varied", "sure"]
    assert made.frame["insertion over random"].tolist() == pytest.approx([0.25, 0.15])


def test_a_margin_without_samples_is_invalid_with_its_reason(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(replace(s.attribution("m"), columns=[]))
    made = board(store, s.TASK)
    assert np.isnan(made.frame["insertion over random"].iloc[0])
    assert "no margin over random: per-sample values were not stored" in "\n".join(footnotes(made))
    assert "invalid" in s.printed(made).split("Version")[0]


@pytest.mark.parametrize("method", ["none(constant sample)", "none(one sample)"])
def test_a_value_without_an_interval_says_so(tmp_path: Path, method: str) -> None:
    store = Store(tmp_path)
    record = s.clean("m", 0.9, CLASSES)
    store.put(replace(record, measures=(replace(record.measures[0], method=method, lo=None, hi=None),)))
    shown = s.printed(board(store, s.TASK))
    assert "90.0 [–]" in shown


def test_each_skipped_part_is_named_once_for_all_its_models(real: Store) -> None:
    notes = footnotes(board(real, "toy.py:toy"))
    both = "toy.py:quick, toy.py:quick(epochs=9)"
    both = both if any(note.startswith(both) for note in notes) else "toy.py:quick(epochs=9), toy.py:quick"
    for part in ("gradcam", "mc_dropout"):
        skips = [note for note in notes if f": {part} skipped" in note]
        assert len(skips) == 1 and skips[0].startswith(f"{both}: {part} skipped: "), notes
    assert not [note for note in notes if "gradcam: got" in note], "the method is named once"


def test_a_method_is_named_as_skipped_only_if_it_has_no_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = s.attribution("m")
    skipped = [
        s.Measure("infidelity", None, None, None, 0, "not-applicable", reason="r", params={"method": name})
        for name in ("gradcam", "occlusion", "other")
    ]
    store.put(replace(record, measures=(*record.measures, *skipped)))
    (reasons,) = board(store, s.TASK).frame["reasons"]
    assert reasons == ("other skipped: r",)


def test_the_random_control_is_shown_below_the_attack(real: Store) -> None:
    made = board(real, "toy.py:toy")
    control = made.frame["robust pgd linf 0.1_control"].iloc[0]
    for width in (80, 400):
        assert f"random {100 * control:.1f}" in s.printed(made, width)
    assert any(note.startswith("random: the same metric") for note in footnotes(made))


def test_part_of_a_column_name_suggests_the_column(real: Store) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'robust pgd linf 0.1'\?"):
        board(real, "toy.py:toy", rank_by="pgd")
