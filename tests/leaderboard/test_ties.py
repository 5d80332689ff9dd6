"""Ties of metrics that are not shares of right answers: swaps of samples or groups, and why models are not compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from suite.leaderboard import Board, board
from suite.leaderboard.comparison import MOST_SWAPPED
from suite.leaderboard.margins import choice_optimism
from suite.leaderboard.text import footnotes
from suite.leaderboard.ties import _oddities
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.segmentation import MIOU
from suite.store import Store
from tests.reports import synthetic as s

N = 40


def record(model: str, metric: Metric, value: float, kind: str, **columns: Any) -> s.Record:
    """Return the clean record of a model with one metric and per-sample columns."""
    n = len(next(iter(columns.values())))
    measure = s.about(metric.name, value, n=n, unit=metric.unit, higher_is_better=metric.higher_is_better)
    return replace(
        s.clean(model, 0.9, ["0", "1"], n=n, kind=kind),
        measures=(measure,),
        catalogue=(metric,),
        columns=s.columns(id=s.ids(n), **columns),
    )


def made(root: Path, records: list[s.Record]) -> Board:
    store = Store(root)
    for one in records:
        store.put(one)
    return board(store, s.TASK)


def confusions(right: int, seed: int) -> np.ndarray:
    counts = np.random.default_rng(seed).poisson([[right, 100 - right], [100 - right, right]], (N, 2, 2))
    return counts.astype(np.int64)


def letters(result: Board, name: str) -> dict[str, str]:
    return dict(zip(result.frame["model"], result.frame[f"{name}_ties"], strict=True))


def test_mean_iou_is_compared_by_swapping_images(tmp_path: Path) -> None:
    rights = {"a": 90, "b": 90, "c": 70}
    models = [
        record(name, MIOU, right / 100, "segmentation", confusion=confusions(right, seed))
        for seed, (name, right) in enumerate(rights.items())
    ]
    result = made(tmp_path, models)
    assert letters(result, "miou") == {"a": "a", "b": "a", "c": "b"}
    assert "Tests: up to 999 random swaps of the samples of two models (mIoU)." in result.notes
    (power,) = [note for note in result.notes if "80 % power" in note]
    assert power.startswith("A single comparison of two models here finds a true difference of ")
    assert "With the adjustment for the 3 pairs of this column that takes a difference of up to " in power


def test_a_kind_that_is_not_installed_is_a_reason(tmp_path: Path) -> None:
    models = [record(name, MIOU, 0.9, "acme", confusion=confusions(90, 0)) for name in "ab"]
    result = made(tmp_path, models)
    assert result.frame["miou_ties"].isna().all()
    assert result.frame["miou_reason"].str.startswith("not compared: ").all()
    assert any("mIoU: not compared: " in note and "acme" in note for note in result.notes)


def test_accuracy_in_groups_swaps_whole_groups(tmp_path: Path) -> None:
    # One group of 30 samples makes all the difference: 30 independent samples would be plenty, one group says nothing.
    groups = np.array(["big"] * 30 + [f"g{k}" for k in range(19)])
    right = {"a": np.ones(49, bool), "b": groups != "big"}
    metric = s.declared([s.about("accuracy", 0.9)])[0]
    kinds = {
        name: [record(model, metric, r.mean(), "classification", correct=r, **more) for model, r in right.items()]
        for name, more in {"single": {}, "grouped": {"group": groups}}.items()
    }
    single, grouped = (made(tmp_path / name, models) for name, models in kinds.items())
    assert letters(single, "accuracy") == {"a": "a", "b": "b"}
    assert letters(grouped, "accuracy") == {"a": "a", "b": "a"}
    assert any("exact McNemar tests (accuracy)" in note for note in single.notes)
    assert any("random swaps of the groups of two models (accuracy)" in note for note in grouped.notes)


def test_shares_of_right_draws_are_compared_by_their_mean(tmp_path: Path) -> None:
    metric = s.declared([s.about("accuracy", 0.9)])[0]
    share = np.random.default_rng(0).choice([0.6, 0.7, 0.8], N)
    models = [
        record(name, metric, (share + x).mean(), "classification", correct=share + x)
        for name, x in (("a", 0.1), ("b", 0))
    ]
    assert letters(made(tmp_path, models), "accuracy") == {"a": "a", "b": "b"}, "no draw is always right"


def test_a_board_with_many_models_says_that_it_swaps_none(tmp_path: Path) -> None:
    metric = Metric("loss", "loss", "", "nats", False, columns=(BoardColumn("loss"),), outcome="loss")
    loss = np.random.default_rng(0).gamma(2, 1, N)
    models = [record(f"m{k}", metric, 1.0, "classification", loss=loss + k) for k in range(MOST_SWAPPED + 1)]
    result = made(tmp_path, models)
    assert result.frame["loss_ties"].isna().all()
    assert any(f"not compared: more than {MOST_SWAPPED} models" in note for note in result.notes)


def test_lower_is_better_orders_letters_and_ranks(tmp_path: Path) -> None:
    metric = Metric("loss", "loss", "", "nats", False, columns=(BoardColumn("loss"),), outcome="loss")
    loss = np.random.default_rng(0).gamma(2, 1, N)
    models = [
        record(name, metric, float(loss.mean() + x), "classification", loss=loss + x)
        for name, x in (("a", 1), ("b", 0))
    ]
    result = made(tmp_path, models)
    assert letters(result, "loss") == {"a": "b", "b": "a"}
    assert result.frame["model"].tolist() == ["b", "a"]


def test_a_range_of_ranks_against_the_order_is_explained() -> None:
    values = pd.Series({"x": 0.9, "y": 0.8, "z": 0.79})
    ranks = {"x": (1, 2), "y": (2, 3), "z": (1, 3)}  # letters a, b, ab
    (sentence,) = _oddities(values, ranks)
    assert sentence.startswith("z may rank 1-3 and y, whose value is better, 2-3: ")
    assert not list(_oddities(values, {"x": (1, 2), "y": (1, 3), "z": (2, 3)})), "letters a, ab, b follow the order"
    assert not list(_oddities(pd.Series({"x": 0.9, "y": 0.8, "z": 0.8}), ranks)), "equal values have no order"


def test_an_odd_range_stands_among_the_notes(tmp_path: Path) -> None:
    # b is wrong on 8 samples that a gets right; c is wrong on 19 and right on 10 others that a gets wrong.
    n, metric = 200, s.declared([s.about("accuracy", 0.9)])[0]
    a, b, c = (np.ones(n, bool) for _ in range(3))
    a[:10] = b[:18] = False
    c[20:39] = False
    models = [
        record(name, metric, float(r.mean()), "classification", correct=r)
        for name, r in zip("abc", (a, b, c), strict=True)
    ]
    result = made(tmp_path, models)
    assert letters(result, "accuracy")["a"] == "a"
    odd = [note for note in footnotes(result) if "whose value is better" in note]
    assert len(odd) == 1 and odd[0].startswith("accuracy: c may rank 1-3 and b, whose value is better, 2-3")


@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_the_margin_names_what_the_choice_of_a_method_adds(tmp_path: Path, gap: float) -> None:
    store = Store(tmp_path)
    plain = s.attribution("m")
    rng = np.random.default_rng(0)
    store.put(
        replace(
            plain,
            columns=[
                replace(
                    column,
                    values=rng.uniform(0.4, 0.6, len(column.values))
                    + gap * 0.3 * (column.params["method"] == "gradcam"),
                )
                if column.name == "insertion_auc" and column.params["method"] != "random"
                else column
                for column in plain.columns
            ],
        )
    )
    (note,) = [note for note in footnotes(board(store, s.TASK)) if "was chosen on these samples" in note]
    assert ("by less than a tenth of the interval" in note) == bool(gap)


def test_the_optimism_of_a_choice_is_that_of_the_largest_of_equal_means() -> None:
    rng, n = np.random.default_rng(0), 64
    expected = np.mean(rng.normal(size=(20_000, 7)).max(axis=1)) / np.sqrt(n)
    estimates = [choice_optimism(rng.normal(size=(n, 7))) for _ in range(100)]
    assert np.mean(estimates) == pytest.approx(expected, rel=0.1)
    clear = rng.normal(size=(n, 7)) + np.array([0, 0, 0, 0, 0, 0, 2])
    assert choice_optimism(clear) < expected / 5
    assert choice_optimism(clear[:, :1]) == 0
