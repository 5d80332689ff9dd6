"""What a board says of the strength of attacks: the misses that their checks see, and seeds of trainings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from suite.leaderboard import board
from suite.records.record import Record
from suite.store import Store
from tests.reports import synthetic as s


def changed(record: Record, checks: dict[str, Any] | None = None, **params: Any) -> Record:
    """Return a record whose rows under attack have further params and checks."""
    measures = tuple(
        replace(one, params={**one.params, **params}, checks={**one.checks, **(checks or {})})
        if one.metric == "robust_accuracy"
        else one
        for one in record.measures
    )
    return replace(record, measures=measures)


def notes(tmp_path: Path, *records: Record) -> tuple[str, ...]:
    store = Store(tmp_path)
    for record in records:
        store.put(record)
    return board(store, s.TASK).notes


def pgd(model: str, **fields: Any) -> Record:
    return s.robustness(model, "pgd", 0.9, **fields)


def test_models_with_equal_audits_share_the_sentence(tmp_path: Path) -> None:
    seen = notes(
        tmp_path, *(changed(pgd(model), miss_seen=miss) for model, miss in (("a", 0.159), ("b", 0.159), ("c", 0.2)))
    )
    sentence = "points or more by the attack would have been seen nine times in ten."
    assert [note for note in seen if "a miss of" in note] == [
        f"pgd linf 0.05, a, b: a miss of 15.9 {sentence}",
        f"pgd linf 0.05, c: a miss of 20.0 {sentence}",
    ]


def test_what_no_check_sees_is_said_of_valid_numbers_only(tmp_path: Path) -> None:
    unseen = {"misses_seen": "n/a"}
    found = notes(tmp_path, changed(pgd("a"), unseen), changed(pgd("b", fails=True), unseen), pgd("old"))
    assert [note for note in found if "miss" in note] == [
        "pgd linf 0.05, a: no check would have seen a miss by the attack, however large."
    ]


def test_seeds_of_a_training_are_named(tmp_path: Path) -> None:
    records = (changed(s.patch("a", 0.4), seeds=1), changed(s.patch("b", 0.5), seeds=3, between_seeds=0.0214))
    assert [note.split(": ", 1) for note in notes(tmp_path, *records) if "seed" in note] == [
        [
            "patch 10 % area, a",
            "the attack was trained with one seed, and how far another one moves the number is not known.",
        ],
        [
            "patch 10 % area, b",
            "mean over 3 seeds of the attack's training, with a standard deviation of 2.1 points between them.",
        ],
    ]
